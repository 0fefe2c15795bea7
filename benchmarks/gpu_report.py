"""Runs all parts of ``gpu.py`` one after the other, and judges whether the GPU may serve."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from figures import Figure, console, tell
from gpu_agreement import HeadAgreement, together_figures, whole_bundle
from gpu_faults import fault_figures
from gpu_head import head_figures
from gpu_reading import reading_figures
from gpu_scale import FULL, QUICK, Device, rate_figures

# Below this share the two are not the same; near-ties between two steps remain. What is seen or not counts as 1 or 0.
SAME_ORDERS = 0.995
JUDGED = (
    *("_orders_same", "together_same", "healthy_same", "out_of_memory_same", "lost_same"),
    *("together_recorded", "out_of_memory_seen", "recovered", "lost_seen", "survived"),
)


def run(*, quick: bool, bundle: Path | None, file: Path | None) -> int:
    """Measure everything and tell it; returns 1 where GPU and CPU do not agree, or a part failed."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device, scale = Device.found(), QUICK if quick else FULL
    console.print(f"[bold]{device.said}[/]")
    figures: dict[str, Figure] = dict(rate_figures(device, scale))
    rate = figures["matrix_tflops"].value * 1e12
    failed = []
    folder = Path(tempfile.mkdtemp())
    parts: dict[str, Callable[[], dict[str, Figure]]] = {
        "agreement": lambda: HeadAgreement.measured(device, scale).figures(),
        "together": lambda: together_figures(device, scale),
        "bundle": lambda: {} if bundle is None else whole_bundle(bundle, scale),
        "head": lambda: head_figures(device, scale),
        "reading": lambda: reading_figures(device, scale, rate, folder),
        "faults": lambda: fault_figures(device, scale),
    }
    try:
        for name, part in parts.items():
            try:
                with torch.inference_mode():
                    figures |= part()
            except Exception:  # noqa: BLE001  # an hour on a GPU is dear: the other parts are told all the same
                failed.append(name)
                console.print_exception()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell("gpu", figures, file)
    judged = {name: figure.value for name, figure in figures.items() if name.endswith(JUDGED)}
    for name, share in judged.items():
        if share < SAME_ORDERS:
            console.print(
                f"[red]{name} is {share:.4f}, below {SAME_ORDERS}: do not serve from this GPU; report this[/]"
            )
    for name in failed:
        console.print(f"[red]the part {name} failed, see above; its figures are missing[/]")
    return int(bool(failed) or min(judged.values(), default=1.0) < SAME_ORDERS)
