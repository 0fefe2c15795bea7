"""The doctor says what a machine will use, and why not more."""

from __future__ import annotations

import platform
import subprocess
import sys

import onnxruntime as ort
import pytest

from recsys.doctor import diagnose, gpu, item_vectors, processor
from recsys.onnx_session import cuda_usable

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni avx512_bf16 amx_int8
processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n"
OLD = "model name : Old\nflags : fpu sse2 avx2\n"


def test_this_machine_is_described() -> None:
    findings = {finding.name: finding for finding in diagnose()}

    assert findings["python"].value == platform.python_version()
    assert {"recsys", "lightgbm", "numpy", "processor", "cores", "memory"} <= findings.keys()
    assert findings["onnxruntime providers"].value == ", ".join(ort.get_available_providers())
    assert findings["text scoring"].value == ("GPU" if cuda_usable() else "CPU")
    assert findings["text scoring"].remark == "a session opens and answers"
    assert findings["gpu"].value == ("used" if cuda_usable() else "not used")
    assert findings["gpu"].remark


def test_the_diagnosis_needs_no_torch() -> None:
    program = "import sys; from recsys.doctor import diagnose; diagnose(); sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("cpuinfo", "features", "int8"),
    [
        (XEON, "avx2, avx512f, avx512_vnni, avx512_bf16, amx_int8", "worth using"),
        (GRAVITON, "asimddp, i8mm, bf16", "worth using"),
        (OLD, "avx2", "of little use"),
        ("flags : fpu", "none of those that matter here", "of little use"),
    ],
)
def test_the_processor_features_that_matter_are_named(cpuinfo: str, features: str, int8: str) -> None:
    findings = {finding.name: finding for finding in processor(cpuinfo)}

    assert findings["processor features"].value == features
    assert findings["int8 encoder"].value == int8


def test_a_processor_is_named_by_its_first_core() -> None:
    assert processor(XEON)[0].value == "Intel(R) Xeon(R) Platinum 8488C"


def test_a_system_that_lists_no_features_gets_no_guess() -> None:
    assert [finding.value for finding in processor("")][1:] == ["unknown"]


@pytest.mark.parametrize(
    ("driver", "listed", "usable", "used", "remark"),
    [
        (None, True, False, False, "no NVIDIA driver library"),
        ({"version": 12080, "devices": 0}, True, False, False, "CUDA 12.8, but no device"),
        ({"version": 12080, "devices": 1}, False, False, False, "no CUDA provider; install recsys[gpu]"),
        ({"version": 12080, "devices": 1}, True, True, False, "does not start; install recsys[gpu]"),
        ({"version": 13000, "devices": 2}, True, True, True, "CUDA 13.0, 2 device(s)"),
    ],
)
def test_a_gpu_that_is_not_used_has_its_reason(
    driver: dict[str, int] | None, listed: bool, usable: bool, used: bool, remark: str
) -> None:
    finding = gpu(driver=driver, listed=listed, usable=usable, used=used)

    assert finding.value == ("used" if used else "not used")
    assert remark in finding.remark


def test_a_gpu_that_is_used_is_named() -> None:
    driver = {"version": 13000, "devices": 1, "memory": 80 << 30}

    assert "the first is H100" in gpu(driver=driver, listed=True, usable=True, used=True, name="H100").remark


def test_where_item_vectors_lie_is_told_and_how_many_there_is_room_for() -> None:
    on_gpu, elsewhere = item_vectors(used=True, memory=80 << 30), item_vectors(used=False, memory=0)

    assert (on_gpu.value, elsewhere.value) == ("GPU memory", "host memory")
    assert "room for 42 million of 256 numbers" in on_gpu.remark
    assert "1.0 GiB for a million" in elsewhere.remark
