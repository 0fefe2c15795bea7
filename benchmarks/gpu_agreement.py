"""Whether GPU and CPU rank alike: click heads on drawn lists, and the rankings of a whole bundle."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from figures import Figure
from gpu_head import HeadCase
from gpu_scale import Device, Scale

from recsys.gpu import GPU
from recsys.text.grid import TEXT_GRID, on_grid

EACH, THREADS = 112, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAgreement:
    """Text outputs of the same lists [L, N, 5], from the CPU, from the device, and there with fp16 vectors."""

    cpu: Any
    device: Any
    fp16: Any

    @classmethod
    def measured(cls, device: Device, scale: Scale) -> Self:
        """Score drawn lists, 16 a call."""
        case = HeadCase.made(scale, device)
        halved = replace(
            case,
            known=replace(case.known, vectors=case.known.vectors.astype(np.float16).astype(np.float32)),
            resident=case.opened(device),
        )
        cpu, there, fp16 = [], [], []
        for seed in range(-(-scale.lists // 16)):
            asked = case.lists(16, EACH, seed)
            cpu.append(case.on_cpu(asked))
            there.append(case.on_device(asked))
            fp16.append(halved.on_device(asked))
        return cls(cpu=np.concatenate(cpu), device=np.concatenate(there), fp16=np.concatenate(fp16))

    def figures(self) -> dict[str, Figure]:
        """Say how far they agree."""
        known, found = (on_grid(part, TEXT_GRID) for part in (self.cpu, self.device))
        return {
            "head_largest_difference": Figure(
                value=float(np.abs(self.cpu - self.device).max()), unit="", says="of a text output, before the grid"
            ),
            "head_values_same": Figure(
                value=float(np.mean(known == found)), unit="share", says="of text outputs on the grid, to the bit"
            ),
            "head_raw_orders_alike": Figure(
                value=_same_orders(self.cpu, self.device),
                unit="share",
                says="of lists, by text alone, without the grid",
            ),
            "head_orders_same": Figure(
                value=_same_orders(known, found), unit="share", says="of lists in the same order, by text, on the grid"
            ),
            "head_fp16_orders_alike": Figure(
                value=_same_orders(known, on_grid(self.fp16, TEXT_GRID)),
                unit="share",
                says="the same with vectors in fp16: why they lie there in fp32",
            ),
        }


def together_figures(device: Device, scale: Scale) -> dict[str, Figure]:
    """Score lists of all sizes from several threads, while models are opened and let go of."""
    case = HeadCase.made(scale, device)
    rng = np.random.default_rng(0)
    sizes = [(int(lists), int(each)) for lists in (1, 2, 3, 7, 16) for each in rng.integers(1, 1_000, 6)]
    asked = [case.lists(lists, each, seed) for seed, (lists, each) in enumerate(sizes)]
    expected = [on_grid(case.on_cpu(one), TEXT_GRID) for one in asked]
    ended = threading.Event()

    def ask(thread: int) -> float:
        same = []
        for number in np.random.default_rng(thread).integers(0, len(asked), 5 * scale.calls):
            found = on_grid(case.on_device(asked[number]), TEXT_GRID)
            same.append(np.mean(np.abs(found - expected[number]) <= TEXT_GRID))
        return float(np.mean(same))

    def disturb() -> int:
        times = 0
        while not ended.is_set():
            case.opened(device).score(case.known, asked[times % len(asked)], None, lambda: case.on_cpu(asked[0]))
            times += 1
        return times

    with ThreadPoolExecutor(THREADS + 1) as threads:
        beside = threads.submit(disturb)
        try:
            shares = list(threads.map(ask, range(THREADS)))
        finally:
            ended.set()
        says = f"of text outputs within a step, {THREADS} threads, {beside.result()} models opened meanwhile"
    return {
        "together_same": Figure(value=float(np.mean(shares)), unit="share", says=says),
        "together_recorded": Figure(
            value=float(case.resident.recording), unit="", says="whether kernels were played as recorded to the end"
        ),
        "together_faults": Figure(
            value=float(sum(GPU.faults.values())), unit="", says="of the GPU, meanwhile and before"
        ),
    }


def whole_bundle(path: Path, scale: Scale) -> dict[str, Figure]:
    """Rank the same requests by a whole bundle on the GPU and on the CPU; needs every package of the server."""
    from recsys.pipeline import RankingPipeline  # noqa: PLC0415  # its libraries are on few bare machines
    from recsys.registry import resolve  # noqa: PLC0415
    from recsys.schema import Candidate  # noqa: PLC0415

    cpu, gpu = (RankingPipeline.load(resolve(path), cuda=cuda) for cuda in (False, None))
    rng, golden = np.random.default_rng(0), cpu.manifest.golden
    orders, scores, count = 0, 0, scale.lists
    for number in range(count):
        drawn = rng.choice(len(cpu.catalog), min(100, len(cpu.catalog)), replace=False)
        candidates = tuple(Candidate(item_id=cpu.catalog.ids[row]) for row in drawn)
        asked = replace(golden[number % len(golden)].request, candidates=candidates)
        ours, theirs = cpu.rank(asked).items, gpu.rank(asked).items
        orders += [item.item_id for item in ours] == [item.item_id for item in theirs]
        scores += ours == theirs
    return {
        "bundle_orders_same": Figure(value=orders / count, unit="share", says="of the bundle's rankings"),
        "bundle_scores_same": Figure(value=scores / count, unit="share", says="all scores the same, to the bit"),
    }


def _same_orders(one: Any, other: Any) -> float:
    """Return the share of lists [L, N, 5] in the same order by text logit, equal ones by their number."""
    orders = [np.argsort(-part[..., 0], axis=1, kind="stable") for part in (one, other)]
    return float(np.mean((orders[0] == orders[1]).all(axis=1)))
