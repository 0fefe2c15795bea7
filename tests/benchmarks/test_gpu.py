"""The GPU's benchmark runs from end to end, here without a GPU, and finds the packages that are brought along."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wheels_and_packages_in_tar_files_are_unpacked_side_by_side(script: Any, tmp_path: Path) -> None:
    wheels, folder = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    folder.mkdir()
    with zipfile.ZipFile(wheels / "one-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one/__init__.py", "")
        wheel.writestr("one-1.0.data/purelib/beside.py", "")
    with tarfile.open(wheels / "two.tar.xz", "w:xz") as package:
        package.addfile(tarfile.TarInfo("two/__init__.py"), io.BytesIO())
    (wheels / "README").write_text("nothing to unpack")

    script.unpack(wheels, folder)

    assert {"one/__init__.py", "beside.py", "two/__init__.py"} <= {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.py")
    }


def test_a_package_that_leads_out_of_the_folder_is_refused(script: Any, tmp_path: Path) -> None:
    wheels, folder = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    folder.mkdir()
    with tarfile.open(wheels / "bad.tar", "w") as package:
        package.addfile(tarfile.TarInfo("../outside.py"), io.BytesIO())

    with pytest.raises(tarfile.OutsideDestinationError):
        script.unpack(wheels, folder)


@pytest.mark.slow
def test_every_part_runs_and_tells_its_figures(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert figures["head_orders_same"]["value"] >= 0.995
    assert figures["head_fp16_orders_alike"]["value"] < 1
    for name in ("matrix_tflops", "head_1x100_rows_p50_ms", "encoder_fp32_per_s", "encoder_torch_share"):
        assert figures[name]["value"] > 0
