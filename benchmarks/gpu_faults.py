"""What becomes of scores when a GPU has no memory left, and when CUDA is lost: in a process of its own, the victim."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from figures import Figure
from gpu_head import HeadCase
from gpu_scale import Device, Scale

from recsys.gpu import Gpu, GpuState
from recsys.text.grid import TEXT_GRID
from recsys.text.head import ClickHead

# Lists of one call, and the candidates of each: memory for few is there already, that for many does not fit in.
LISTS, FEW, EACH = 64, 16, 1_024
LEFT_BYTES, REST_S, PATIENCE_S = 32 * 2**20, 1.0, 120
# As in a server it is there to the end: what is on it stays for good once it is lost.
RESTING = Gpu(rest_s=REST_S)


def fault_figures(device: Device, scale: Scale) -> dict[str, Figure]:
    """Take the memory, give it back, and break CUDA, while the click head is asked; nothing without a GPU."""
    if device.name != "cuda":
        return {}
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_suffer, args=(device, replace(scale, items=5_000), theirs))
    child.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_S):
            child.kill()
            raise RuntimeError(f"the process whose GPU was broken said nothing for {PATIENCE_S} s")
        told: dict[str, tuple[float, str]] = ours.recv()
    except EOFError:
        raise RuntimeError("the process whose GPU was broken died of it; see its words above") from None
    finally:
        child.join(30)
    return {name: Figure(value=value, unit="share", says=says) for name, (value, says) in told.items()}


def _suffer(device: Device, scale: Scale, pipe: Any) -> None:
    told = _suffered(device, scale)
    gc.collect()
    told["survived"] = 1.0, "the process, when the bundle went after that"
    pipe.send(told)
    pipe.close()
    os._exit(0)  # as a server does whose GPU is lost


def _suffered(device: Device, scale: Scale) -> dict[str, tuple[float, str]]:
    case, gpu = HeadCase.made(scale, device), RESTING
    head = ClickHead(case.graph, cuda=True, grid=TEXT_GRID, gpu=gpu)

    def same(each: int) -> float:
        asked = case.lists(LISTS, each, seed=1)
        beside = {"actions": asked.actions, "ages": asked.ages}
        found = head.score_rows(case.known, asked, None, lambda: head.score(**case.gathered(asked), **beside))
        return float(np.mean(np.abs(found - case.on_cpu(asked)) <= TEXT_GRID))

    told = {"healthy_same": (same(FEW), "of text outputs within a step of the CPU's, by a GPU that is well")}
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(free - LEFT_BYTES, dtype=torch.uint8, device="cuda")
    told["out_of_memory_same"] = same(EACH), "the same with 32 MiB of memory left"
    told["out_of_memory_seen"] = float(gpu.state is GpuState.RESTING), "it rests"
    del hog
    torch.cuda.empty_cache()
    time.sleep(REST_S)
    missed = gpu.instead
    told["recovered"] = float(same(EACH) > 0 and gpu.instead == missed), "with its memory back it computes again"
    try:
        torch.zeros(1, device="cuda")[torch.tensor([5], device="cuda")].item()
    except RuntimeError:
        told["lost_same"] = same(EACH), "after an error that CUDA does not get over"
        told["lost_seen"] = float(gpu.state is GpuState.LOST), "it is given up"
        return told
    raise RuntimeError("CUDA took an index beyond all bounds: nothing was broken, so nothing is known of a loss")
