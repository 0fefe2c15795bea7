"""No damaged bundle is served, and none kills the server that is to load it, whatever its manifest says.

A hundred damaged ones here and eight whose manifest was made again to fit; `make fuzz` sets DAMAGED to 1,000 and
RESEALED to 300. DAMAGE_SEED repeats a run.

Golden requests see what they reach: of the second kind, some are loaded that answer them as ever and differ elsewhere,
in the vector of an item that none of them asks for, say. They are counted and shown.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import BundleError, RegistryError
from recsys.verification import TOLERANCE
from serving.load import load_current

DAMAGED = int(os.environ.get("DAMAGED", "100"))
RESEALED = int(os.environ.get("RESEALED", "8"))
FRESH = random.SystemRandom().randrange(1, 2**31) if {"DAMAGED", "RESEALED"} & os.environ.keys() else 1
SEED = int(os.environ.get("DAMAGE_SEED", "0")) or FRESH


# Longer than a child process is given to verify one.
HANGS_S = 180


@pytest.fixture
def damage(beside: Any) -> Any:
    return beside("damage")


@pytest.mark.slow
def test_no_damaged_bundle_is_loaded(
    tiny_bundle: Path, tmp_path: Path, damage: Any, say: Callable[[str], None]
) -> None:
    accepted = []
    for number in range(DAMAGED):
        bundle = damage.copied(tiny_bundle, tmp_path / "registry")
        what = damage.damage(bundle, random.Random(f"{SEED} {number}"))
        try:
            load_current(tmp_path / "registry")
        except (BundleError, RegistryError):
            continue
        accepted.append(f"{number}: {what}")
    say(f"DAMAGE_SEED={SEED}: {DAMAGED:,} damaged, {len(accepted)} loaded")

    assert accepted == [], f"DAMAGE_SEED={SEED}"
    damage.copied(tiny_bundle, tmp_path / "registry")
    assert load_current(tmp_path / "registry").bundle_id == tiny_bundle.name


class Loader:
    """A process that loads one bundle after the other."""

    def __init__(self, script: Path, tiny_bundle: Path) -> None:
        import polars as pl

        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._items = pl.read_parquet(tiny_bundle / "items.parquet")["item_id"].to_list()
        self._good = str(tiny_bundle)
        self._users = [f"user-{n}" for n in range(20)]

    def load(self, registry: Path) -> dict[str, Any]:
        """Have a registry's current bundle loaded; what it says is empty where it has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"registry": str(registry), "good": self._good, "items": self._items, "users": self._users}
        try:
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], HANGS_S)
            assert ready, f"the server hangs of {registry}"
            line = self._process.stdout.readline()
        except BrokenPipeError:
            return {}
        return dict(json.loads(line)) if line else {}

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def loader(beside: Any, tiny_bundle: Path) -> Iterator[Loader]:
    loader = Loader(Path(beside("loading").__file__), tiny_bundle)
    yield loader
    loader.close()


def differs(found: list[dict[str, list[float]]], expected: list[dict[str, list[float]]]) -> bool:
    return any(
        one.keys() != other.keys()
        or any(not abs(a - b) <= TOLERANCE for name in other for a, b in zip(one[name], other[name], strict=True))
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.slow
def test_no_bundle_that_was_resealed_kills_a_server_or_is_loaded_to_answer_otherwise(
    tiny_bundle: Path, tmp_path: Path, damage: Any, loader: Loader, say: Callable[[str], None]
) -> None:
    damage.copied(tiny_bundle, tmp_path / "registry")
    expected = loader.load(tmp_path / "registry")
    assert expected["golden"] == ""
    ends: Counter[str] = Counter()
    accepted: list[str] = []
    otherwise: list[str] = []
    elsewhere: list[str] = []
    for number in range(RESEALED):
        bundle = damage.copied(tiny_bundle, tmp_path / "registry")
        what = damage.damage_and_reseal(bundle, random.Random(f"{SEED} {number}"))
        found = loader.load(tmp_path / "registry")
        assert found, f"the server died of {what}; DAMAGE_SEED={SEED}, number {number}"
        if number % 20 == 19:
            say(f"{number + 1} resealed, refused {dict(ends)}, loaded {len(accepted)}, elsewhere {len(elsewhere)}")
        if "refused" in found:
            ends[_reason(found["refused"])] += 1
            continue
        accepted.append(what)
        if found["golden"]:
            otherwise.append(f"{number}: {what}: {found['golden']}")
        elif differs(found["answers"], expected["answers"]):
            elsewhere.append(what)
    say(f"DAMAGE_SEED={SEED}: {RESEALED} resealed, refused {dict(ends)}, loaded {len(accepted)}: {Counter(accepted)}")
    say(f"of those {len(elsewhere)} differ where no golden request looks: {Counter(elsewhere)}")

    assert otherwise == [], f"DAMAGE_SEED={SEED}"


def _reason(refusal: str) -> str:
    """Say which guard it was."""
    for words in ("killed by", "no answer", "golden requests", "load:", "files:", "answered otherwise"):
        if words in refusal:
            return words.rstrip(":")
    return refusal[:40]
