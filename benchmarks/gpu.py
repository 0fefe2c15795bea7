"""What a GPU does for texts: the same order as a CPU, and how fast click head, item encoder and cross-encoder run.

For a machine that has a GPU and little else: Python, torch, and a directory of wheels. Without a GPU everything is run
on the CPU, which shows that the script works and says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Unpack what is not installed, then measure and tell."""
    parser = argparse.ArgumentParser(description="Agreement and speed of a GPU.")  # figures.py is not importable yet
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="packages that are not installed, see README.md")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="compare the rankings of this bundle or registry too"
    )
    options = parser.parse_args()
    sys.path.insert(1, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        if options.wheels is not None:
            unpack(options.wheels, Path(folder))
            sys.path.insert(0, folder)  # before what is installed: its onnxruntime may know no GPU
        importlib.import_module("torch")  # first: it loads the CUDA libraries that ONNX Runtime looks for
        report = importlib.import_module("gpu_report")
        sys.exit(report.run(quick=options.quick, bundle=options.bundle, file=options.json))


def unpack(wheels: Path, folder: Path) -> None:
    """Unpack wheels, and packages in tar files, side by side into a folder.

    Nothing is installed: no scripts, no compilation, no questions about versions.
    """
    for path in sorted(wheels.iterdir()):
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                wheel.extractall(folder)  # noqa: S202  # wheels that one has brought along oneself
            for library in folder.glob("*.data/*lib/*"):
                target = folder / library.name
                if not target.exists():
                    library.rename(target)
        elif ".tar" in path.name:
            with tarfile.open(path) as package:
                package.extractall(folder, filter="data")


if __name__ == "__main__":
    main()
