"""The click head on a device that holds the item vectors, beside the same head with vectors sent, and on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from figures import Figure
from gpu_scale import DIMENSIONS, HISTORY, Device, Scale, latencies, milliseconds

from recsys.gpu import GPU
from recsys.onnx_session import open_session
from recsys.text.head import CANDIDATE_BLOCK, ClickHead
from recsys.text.resident_head import ListRows, ResidentHead
from recsys.text.vectors import Vectors
from training.click_model import ClickHead as TorchHead
from training.click_model import ClickModelConfig
from training.export import export_head


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadCase:
    """A head of full size with drawn weights, a catalog of drawn unit vectors, and the head on device and CPU."""

    graph: bytes
    known: Vectors
    cpu: ClickHead
    resident: ResidentHead

    @classmethod
    def made(cls, scale: Scale, device: Device) -> Self:
        """Draw weights and vectors as large as trained ones."""
        torch.manual_seed(0)
        config = ClickModelConfig(dimensions=DIMENSIONS, history_length=HISTORY)
        head = TorchHead(config)
        with torch.no_grad():
            for part in head.parameters():
                part.add_(torch.randn(part.shape) * 0.05)
        graph = export_head(head, config)
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((scale.items, DIMENSIONS), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        logits = rng.standard_normal(scale.items, np.float32)
        return cls(
            graph=graph,
            known=Vectors(vectors=vectors, item_logits=logits),
            cpu=ClickHead(graph, cuda=False),
            resident=_opened(graph, device),
        )

    def opened(self, device: Device) -> ResidentHead:
        """Open the head once more, for other vectors."""
        return _opened(self.graph, device)

    def lists(self, lists: int, each: int, seed: int) -> ListRows:
        """Draw lists of so many candidates, padded to whole blocks, each user with 30 entries of history."""
        rng = np.random.default_rng(seed)
        actions = rng.integers(1, 8, (lists, HISTORY)).astype(np.int8)
        actions[:, 30:] = 0
        rows = rng.integers(0, len(self.known), (lists, -(-each // CANDIDATE_BLOCK) * CANDIDATE_BLOCK))
        history = rng.integers(0, len(self.known), actions.shape)
        ages = rng.uniform(0, 500, actions.shape).astype(np.float32)
        return ListRows(candidates=rows, history=history, actions=actions, ages=ages)

    def on_device(self, asked: ListRows) -> Any:
        """Score by rows; a GPU that fails here is an error, not a reason to compute elsewhere."""
        return self.resident.score(self.known, asked, None, _nobody)

    def on_cpu(self, asked: ListRows) -> Any:
        """Score by vectors that are gathered for it."""
        return self.cpu.score(**self.gathered(asked), actions=asked.actions, ages=asked.ages)

    def gathered(self, asked: ListRows) -> dict[str, Any]:
        """Gather the vectors on the host."""
        return {
            "candidates": self.known.vectors[asked.candidates],
            "item_logits": self.known.item_logits[asked.candidates],
            "history": self.known.vectors[asked.history],
        }


def head_figures(device: Device, scale: Scale) -> dict[str, Figure]:
    """Measure calls of several sizes: on the device by rows, on it with vectors sent each time, and on the CPU."""
    case = HeadCase.made(scale, device)
    sent = open_session(case.graph, cuda=device.name == "cuda")
    figures: dict[str, Figure] = {}
    for lists, each in scale.batches:
        asked = case.lists(lists, each, seed=1)
        name = f"head_{lists}x{each}"

        def with_vectors(asked: ListRows = asked) -> Any:
            feeds = {**case.gathered(asked), "actions": asked.actions.astype(np.int64), "ages": asked.ages}
            return sent.run(None, feeds)

        ways = {
            "rows": (lambda asked=asked: case.on_device(asked), "resident vectors, gathered inside"),
            "sent": (with_vectors, "vectors gathered on the host and sent"),
            "cpu": (lambda asked=asked: case.on_cpu(asked), "the CPU, all its threads"),
        }
        for way, (work, says) in ways.items():
            took = milliseconds(device, work, scale.calls)
            figures |= latencies(f"{name}_{way}", took, f"{lists} list(s) of {each}: {says}")
        rows = figures[f"{name}_rows_p50_ms"].value
        figures[f"{name}_per_s"] = Figure(
            value=1e3 * lists * each / rows, unit="candidates/s", says="one call at a time, resident"
        )
    return figures


def _opened(graph: bytes, device: Device) -> ResidentHead:
    head = ResidentHead.open(graph, device=device.name, gpu=GPU)
    if head is None:
        raise RuntimeError("ONNX Runtime gave the session to the CPU: look at its warnings, and at `recsys doctor`")
    return head


def _nobody() -> Any:
    raise RuntimeError(f"the GPU failed: {dict(GPU.faults)}; see the log line above")
