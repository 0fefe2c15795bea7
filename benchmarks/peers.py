"""Peers in environments and processes of their own: sentence-transformers on torch, ONNX Runtime and OpenVINO.

Its ONNX and OpenVINO backends want libraries that this project does not, in versions that exclude each other. So each
has a virtual environment, made where ``--peers DIR`` says (minutes, about 2 GB in all), and answers through a pipe.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from figures import console

THREADS = 2
PACKAGES = {
    "onnx": (
        "torch==2.13.0",
        "sentence-transformers==5.7.0",  # the newest that optimum-onnx lets in
        "optimum-onnx==0.1.0",
        "transformers==4.57.6",
        "onnxruntime==1.32.0",
    ),
    "openvino": (
        "torch==2.13.0",
        "sentence-transformers==6.2.0",
        "transformers==5.5.4",
        "optimum-intel==2.2.0",
        "openvino==2026.4.1",
        "nncf==3.4.0",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run the model in sentence-transformers."""

    backend: str
    precision: str

    @property
    def name(self) -> str:
        """As the figures name it."""
        return f"{self.backend}_{self.precision}"


REFERENCE = Variant(backend="torch", precision="fp32")
VARIANTS = (
    REFERENCE,
    Variant(backend="torch", precision="bf16"),
    Variant(backend="onnx", precision="fp32"),
    Variant(backend="onnx", precision="int8"),
    Variant(backend="openvino", precision="fp32"),
    Variant(backend="openvino", precision="bf16"),
    Variant(backend="openvino", precision="int8"),
)
QUICK_VARIANTS = (REFERENCE, VARIANTS[2], VARIANTS[5])  # one a backend


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Add ``--peers`` to a benchmark's command line."""
    says = "keep the environments of the ONNX and OpenVINO backends here; they are made where missing (2 GB)"
    parser.add_argument("--peers", type=Path, metavar="DIR", help=says)


def interpreters(folder: Path | None) -> dict[str, Path]:
    """Return the Python of each backend that can be had, making environments below ``folder``; says what is missing.

    torch's is this one: what trains brings sentence-transformers along.
    """
    found = {"torch": Path(sys.executable)}
    for backend, packages in PACKAGES.items():
        if folder is None:
            console.print(f"skipped: the {backend} backend; give --peers DIR, and its environment is made there")
            continue
        try:
            found[backend] = environment(folder / backend, packages)
        except subprocess.CalledProcessError as error:
            console.print(f"skipped: the {backend} backend, its environment cannot be made: {error.stderr[-800:]}")
    return found


def environment(place: Path, packages: Sequence[str]) -> Path:
    """Return the Python of an environment that holds exactly these packages and what they need; made where it is not.

    Raises:
        subprocess.CalledProcessError: pip cannot install them.
    """
    python, made = place / "bin" / "python", place / "packages.txt"
    wanted = "\n".join(packages) + "\n"
    if made.is_file() and made.read_text(encoding="utf-8") == wanted:
        return python
    with console.status(f"making {place}: {', '.join(packages)} ..."):
        venv.create(place, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip"]
        subprocess.run([*pip, "install", "-q", *packages], check=True, capture_output=True, text=True)
        # optimum-intel asks for it, nothing here reads pictures, and its CUDA build breaks beside torch's CPU build.
        subprocess.run([*pip, "uninstall", "-q", "-y", "torchvision"], check=True, capture_output=True, text=True)
    made.write_text(wanted, encoding="utf-8")
    return python


class Peer:
    """A variant in a child process, warm and ready to be asked."""

    def __init__(self, variant: Variant, process: subprocess.Popen[str], log: IO[str]) -> None:
        self.variant, self._process, self._log = variant, process, log
        self.about = ""

    def ask(self, **asked: Any) -> dict[str, Any]:
        """Send one line and wait for the answer, whose ``seconds`` the child took itself, without the pipe.

        Raises:
            RuntimeError: the child has died; with the end of its log.
        """
        try:
            self._pipe(self._process.stdin).write(json.dumps(asked) + "\n")
            self._pipe(self._process.stdin).flush()
            line = self._pipe(self._process.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"the peer {self.variant.name} has died: {self._log.read()[-2_000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def quickest_batch(self, sizes: Sequence[int], **asked: Any) -> int:
        """Get warm on one question, and find the batch size in which it is answered soonest."""
        self.ask(**asked, batch=sizes[0])
        return min(sizes, key=lambda size: float(self.ask(**asked, batch=size)["seconds"]))

    @staticmethod
    def _pipe(end: IO[str] | None) -> IO[str]:
        if end is None:
            raise RuntimeError("the peer was started without its pipes")
        return end


@contextmanager
def peers(
    variants: Sequence[Variant], pythons: dict[str, Path], *, kind: str, model: Path, calibration: list[Any]
) -> Iterator[list[Peer]]:
    """Start every variant whose backend can be had; yields those that came up, and says why others did not.

    Args:
        variants: what to start.
        pythons: each backend's interpreter.
        kind: "cross_encoder" or "encoder".
        model: a folder that sentence-transformers saved.
        calibration: texts or pairs from which int8 may learn its ranges.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = []
        for variant in variants:
            if variant.backend not in pythons:
                continue
            copy = folder / variant.name  # exports are written beside the weights
            shutil.copytree(model, copy)
            peer = stack.enter_context(_started(variant, pythons[variant.backend]))
            order = {"kind": kind, "model": str(copy), "backend": variant.backend, "precision": variant.precision}
            try:
                with console.status(f"loading the peer {variant.name} ..."):
                    peer.about = peer.ask(**order, threads=THREADS, calibration=calibration)["about"]
            except RuntimeError as error:
                console.print(f"skipped: {error}")
                continue
            found.append(peer)
        yield found


@contextmanager
def _started(variant: Variant, python: Path) -> Iterator[Peer]:
    here = str(Path(__file__).parent)
    told = {
        "PYTHONPATH": here,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(THREADS),
        "TOKENIZERS_PARALLELISM": "true",
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(python), "-c", "from peer_child import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **told},
        )
        try:
            yield Peer(variant, process, log)
        finally:
            process.communicate()  # closes its stdin, which ends it


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the rank correlation of two series of the same things; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
