"""How much memory this process may still take, by what the system and the container say."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def spare_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Return the bytes that can be taken without anything being swapped out or killed; None where nothing says."""
    available = [_available(meminfo), _below_the_limit(cgroup)]
    known = [each for each in available if each is not None]
    return min(known) if known else None


def _available(meminfo: Path) -> int | None:
    for line in _read(meminfo).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _below_the_limit(cgroup: Path) -> int | None:
    """Return what the container may still take; what it holds of files can be given up at any time."""
    limit, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if not (limit.isdigit() and used.isdigit()):
        return None
    files = sum(
        int(line.split()[1])
        for line in _read(cgroup / "memory.stat").splitlines()
        if line.startswith(("inactive_file ", "active_file "))
    )
    return int(limit) - int(used) + files


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
