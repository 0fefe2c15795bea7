"""Runs all parts of ``gpu.py`` one after the other, and judges whether the GPU may serve."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from figures import Figure, console, tell
from gpu_agreement import HeadAgreement, whole_bundle
from gpu_head import head_figures
from gpu_reading import reading_figures
from gpu_scale import FULL, QUICK, Device, rate_figures

# Below this share of lists in the same order the two are not the same; near-ties between two steps remain.
SAME_ORDERS = 0.995


def run(*, quick: bool, bundle: Path | None, file: Path | None) -> int:
    """Measure everything and tell it; returns 1 where GPU and CPU do not agree."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device, scale = Device.found(), QUICK if quick else FULL
    console.print(f"[bold]{device.said}[/]")
    figures: dict[str, Figure] = dict(rate_figures(device, scale))
    rate = figures["matrix_tflops"].value * 1e12
    folder = Path(tempfile.mkdtemp())
    try:
        agreement = HeadAgreement.measured(device, scale)
        figures |= agreement.figures()
        if bundle is not None:
            figures |= whole_bundle(bundle, scale)
        figures |= head_figures(device, scale)
        with torch.inference_mode():
            figures |= reading_figures(device, scale, rate, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell("gpu", figures, file)
    orders = {name: figure.value for name, figure in figures.items() if name.endswith("_orders_same")}
    for name, share in orders.items():
        if share < SAME_ORDERS:
            console.print(
                f"[red]{name} is {share:.4f}, below {SAME_ORDERS}: do not serve from this GPU; report this[/]"
            )
    return int(min(orders.values()) < SAME_ORDERS)
