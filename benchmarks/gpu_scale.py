"""How much is measured on which device, and the floor: what the device multiplies a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from figures import Figure

from recsys.onnx_session import cuda_usable

DIMENSIONS, HISTORY = 256, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much there is of everything; ``layers`` and ``width`` are the BERT's, ``matrix`` the side of a square one."""

    items: int
    lists: int
    calls: int
    texts: int
    pairs: tuple[int, ...]
    batches: tuple[tuple[int, int], ...]
    matrix: int
    layers: int = 6
    width: int = 384


FULL = Scale(
    items=1_000_000,
    lists=1_000,
    calls=200,
    texts=32_768,
    pairs=(100, 1_000),
    batches=((1, 100), (1, 1_000), (16, 100), (16, 1_000), (64, 100)),
    matrix=8_192,
)
QUICK = Scale(items=5_000, lists=48, calls=5, texts=32, pairs=(8,), batches=((1, 100), (4, 100)), matrix=512, layers=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where torch and ONNX Runtime compute."""

    name: str
    said: str

    @classmethod
    def found(cls) -> Self:
        """Choose the GPU where both can use it."""
        for_torch, for_onnx = torch.cuda.is_available(), cuda_usable()
        if for_torch and for_onnx:
            return cls(name="cuda", said=f"on {torch.cuda.get_device_name()}")
        lacking = [who for who, can in (("torch", for_torch), ("ONNX Runtime", for_onnx)) if not can]
        return cls(
            name="cpu",
            said=f"no GPU that {' and '.join(lacking)} can use: all of this ran on the CPU, and says nothing of a GPU",
        )

    def synchronize(self) -> None:
        """Wait for what torch has asked of the GPU."""
        if self.name == "cuda":
            torch.cuda.synchronize()


def milliseconds(device: Device, work: Callable[[], object], calls: int) -> np.ndarray:
    """Return how long each of some calls took [calls], after a tenth as many that do not count."""
    took = []
    for number in range(-max(2, calls // 10), calls):
        device.synchronize()
        began = time.perf_counter()
        work()
        device.synchronize()
        if number >= 0:
            took.append(1e3 * (time.perf_counter() - began))
    return np.array(took)


def latencies(name: str, took: np.ndarray, says: str) -> dict[str, Figure]:
    """Tell half and 99 of 100 of some calls."""
    return {
        f"{name}_p50_ms": Figure(value=float(np.median(took)), unit="ms", says=says),
        f"{name}_p99_ms": Figure(value=float(np.quantile(took, 0.99)), unit="ms", says=says, shown=False),
    }


def rate_figures(device: Device, scale: Scale) -> dict[str, Figure]:
    """Measure the bf16 matrix rate: two square matrices, multiplied."""
    side = scale.matrix
    one, other = (torch.randn(side, side, device=device.name, dtype=torch.bfloat16) for _ in range(2))
    best = float(milliseconds(device, lambda: one @ other, 20).min()) / 1e3
    tflops = 2 * side**3 / best / 1e12
    return {"matrix_tflops": Figure(value=tflops, unit="TFLOP/s", says=f"the floor: bf16, {side} x {side} x {side}")}
