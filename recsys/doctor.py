"""Says what this machine will use for ranking, and why not more: versions, processor, memory, GPU."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import onnxruntime as ort

from recsys.onnx_session import CUDA, cuda_usable, on_cuda, open_session

_CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")
_GIB = 1024**3
# A vector of the usual width, in float32.
_WIDTH = 256
_VECTOR_BYTES = 4 * _WIDTH

_LIBRARIES = (
    "recsys", "onnxruntime-gpu", "onnxruntime", "lightgbm", "numpy", "polars", "tokenizers", "grpcio", "protobuf",
    "torch", "transformers",
)  # fmt: skip
_OPTIONAL = {
    "torch": "not installed: needed to train, not to serve",
    "transformers": "not installed: needed to train, not to serve",
}

# The instructions that decide how fast an encoder runs on a processor, by their names in /proc/cpuinfo.
_FEATURES = {
    "avx2": "fp32 runs on 8 lanes",
    "avx512f": "fp32 runs on 16 lanes",
    "avx512_vnni": "int8 has dot products",
    "avx_vnni": "int8 has dot products on 8 lanes",
    "avx512_bf16": "bf16 has dot products",
    "amx_int8": "int8 uses matrix tiles",
    "amx_bf16": "bf16 uses matrix tiles",
    "asimddp": "int8 has dot products",
    "i8mm": "int8 has matrix products",
    "bf16": "bf16 has dot products",
}

# An ONNX model of one Identity node on float [1]: the smallest thing that shows whether a session opens and answers.
_IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02"
    "080142040a001011"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about this machine; ``remark`` says what follows from it."""

    name: str
    value: str
    remark: str = ""


def diagnose() -> list[Finding]:
    """Look at this machine and describe what ranking will use; nothing is changed."""
    return [
        Finding(name="python", value=platform.python_version(), remark=sys.executable),
        Finding(name="platform", value=platform.platform()),
        *_libraries(),
        *processor(_read(_CPUINFO)),
        _cores(),
        _memory(),
        *_scoring(),
    ]


def processor(cpuinfo: str) -> list[Finding]:
    """Describe the processor from the text of ``/proc/cpuinfo`` (empty where there is none)."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name") or platform.processor() or platform.machine()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    if not flags:
        return [
            Finding(name="processor", value=model),
            Finding(name="processor features", value="unknown", remark="the system does not list them here"),
        ]
    found = {name: effect for name, effect in _FEATURES.items() if name in flags}
    int8 = any(name in found for name in ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))
    return [
        Finding(name="processor", value=model),
        Finding(
            name="processor features",
            value=", ".join(found) or "none of those that matter here",
            remark="; ".join(found.values()),
        ),
        Finding(
            name="int8 encoder",
            value="worth using" if int8 else "of little use",
            remark="" if int8 else "the processor has no int8 dot products, so int8 is hardly faster than fp32",
        ),
    ]


def _libraries() -> list[Finding]:
    findings = []
    for name in _LIBRARIES:
        try:
            findings.append(Finding(name=name, value=metadata.version(name)))
        except metadata.PackageNotFoundError:
            if name in _OPTIONAL:
                findings.append(Finding(name=name, value="no", remark=_OPTIONAL[name]))
    return findings


def _cores() -> Finding:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    remarks = [] if usable == total else ["this process is bound to some of them"]
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit() and int(quota) < usable * int(period):
        remarks.append(f"the container may use the time of {int(quota) / int(period):.2g}")
    return Finding(name="cores", value=f"{usable} of {total}", remark="; ".join(remarks))


def _memory() -> Finding:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _read(_CGROUP / "memory.max").strip()
    remark = f"the container may use {int(limit) / _GIB:.1f} GiB" if limit.isdigit() and int(limit) < total else ""
    return Finding(name="memory", value=f"{total / _GIB:.1f} GiB", remark=remark)


def _scoring() -> list[Finding]:
    """Say which ONNX Runtime providers are built in, and which one a session really gets."""
    listed = ort.get_available_providers()
    try:
        session = open_session(_IDENTITY, threads=1)
        (answer,) = session.run(None, {"x": [1.5]})
        device = "GPU" if on_cuda(session) else "CPU"
        works = "a session opens and answers" if list(answer) == [1.5] else "a session opens and answers wrongly"
    except Exception as error:  # noqa: BLE001 whatever it is, it is the finding
        device, works = "none", f"no session opens: {error}"
    driver, used = _driver(), device == "GPU"
    return [
        Finding(name="onnxruntime providers", value=", ".join(listed), remark="built in; not all need be usable here"),
        gpu(driver=driver, listed=CUDA in listed, usable=cuda_usable(), used=used, name=_device_name()),
        Finding(name="text scoring", value=device, remark=works),
        item_vectors(used=used, memory=(driver or {}).get("memory", 0)),
    ]


def item_vectors(*, used: bool, memory: int) -> Finding:
    """Say where item vectors lie and in what precision; ``memory`` is the GPU's, in bytes, 0 where it is not known."""
    if not used:
        remark = f"a GPU would hold them: {_VECTOR_BYTES * 1e6 / _GIB:.1f} GiB for a million of {_WIDTH} numbers"
        return Finding(name="item vectors", value="host memory", remark=remark)
    # Half of it: growing takes the old room and the new one at once.
    room = f", room for {memory / 2 / _VECTOR_BYTES / 1e6:.0f} million of {_WIDTH} numbers" if memory else ""
    return Finding(
        name="item vectors",
        value="GPU memory",
        remark=f"fp32 without TF32, so that the order is the CPU's{room}; the CPU stands in where the GPU fails",
    )


def gpu(*, driver: Mapping[str, int] | None, listed: bool, usable: bool, used: bool, name: str = "") -> Finding:
    """Say whether the GPU will be used, and if not, what stands in the way.

    Args:
        driver: ``version`` (as CUDA numbers it, 12080 for 12.8) and ``devices``; None where there is no driver library.
        listed: ONNX Runtime was built with its CUDA provider.
        usable: the driver starts and finds a device.
        used: a session really got the CUDA provider.
        name: what the first device is called.
    """
    if driver is None:
        return Finding(name="gpu", value="not used", remark="no NVIDIA driver library (libcuda.so.1) on this machine")
    version = f"driver for CUDA {driver['version'] // 1000}.{driver['version'] % 1000 // 10}"
    if driver["devices"] == 0:
        return Finding(name="gpu", value="not used", remark=f"{version}, but no device that it can see")
    if not listed:
        remark = f"{version}, but this onnxruntime has no CUDA provider; install recsys[gpu]"
    elif not usable or not used:
        remark = (
            f"{version}, but the CUDA provider does not start; install recsys[gpu] for its CUDA and cuDNN libraries"
        )
    else:
        called = f", the first is {name}" if name else ""
        return Finding(name="gpu", value="used", remark=f"{version}, {driver['devices']} device(s){called}")
    return Finding(name="gpu", value="not used", remark=remark)


def _driver() -> dict[str, int] | None:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version, devices, memory = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_size_t(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if library.cuInit(0) == 0:
        library.cuDeviceGetCount(ctypes.byref(devices))
    if devices.value:
        library.cuDeviceTotalMem_v2(ctypes.byref(memory), 0)
    return {"version": version.value, "devices": devices.value, "memory": memory.value}


def _device_name() -> str:
    """Name the first GPU; empty without one."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    name = ctypes.create_string_buffer(128)
    known = library.cuInit(0) == 0 and library.cuDeviceGetName(name, len(name), 0) == 0
    return name.value.decode(errors="replace") if known else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
