"""A GPU that fails while it serves: the same rankings, and everybody who looks can see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.gpu import Gpu, GpuState
from recsys.onnx_session import open_session
from recsys.pipeline import RankingPipeline
from recsys.schema import Ranking
from recsys.text.gather_graph import identity_graph, with_gather
from recsys.text.resident import ResidentVectors
from recsys.text.resident_head import ResidentHead
from serving.admin_client import AdminClient
from serving.client import RankingClient
from serving.config import ServerConfig

NO_MEMORY = "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal Failed to allocate memory for requested"
LOST = "CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=h ; expr=cudaStreamSynchronize(stream);"


class Failing:
    """A session on the CPU that passes for one on a GPU and fails as that would, then works."""

    def __init__(self, session: Any, errors: list[str]) -> None:
        self.session, self.errors = session, errors

    def io_binding(self) -> Any:
        return self.session.io_binding()

    def run_with_iobinding(self, binding: Any) -> None:
        if self.errors:
            raise RuntimeError(self.errors.pop(0))
        self.session.run_with_iobinding(binding)


@pytest.mark.parametrize(
    ("errors", "state", "faults", "missed"),
    [
        ([], GpuState.USED, 0, 0),
        ([NO_MEMORY], GpuState.USED, 1, 0),
        ([NO_MEMORY, NO_MEMORY], GpuState.RESTING, 2, 2),
        ([LOST], GpuState.LOST, 1, 2),
    ],
)
def test_the_same_requests_are_answered_and_it_is_seen(
    serve: Any,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[str],
    state: GpuState,
    faults: int,
    missed: int,
) -> None:
    gpu = Gpu()
    monkeypatch.setattr("serving.watch.GPU", gpu)
    bundle = RankingPipeline.load(tiny_bundle, cuda=False)
    requests = [golden.request for golden in bundle.manifest.golden[:2]]
    config = ServerConfig(
        registry=tiny_bundle, data=tmp_path / "live", port=0, threads=1, metrics_port=0, admin_port=0, drift=0
    )
    with (
        serve(bundle, config) as running,
        RankingClient(running.address, deadline_s=30) as client,
        AdminClient(running.admin) as admin,
    ):
        assert admin.status().gpu is GpuState.NONE
        wrapped = open_session(with_gather((tiny_bundle / "click_head.onnx").read_bytes()), threads=1, cuda=False)
        vectors = ResidentVectors(open_session(identity_graph(), threads=1, cuda=False), "cpu")
        gpu.use()
        bundle.text.head.resident = ResidentHead(Failing(wrapped, list(errors)), vectors, device="cpu", gpu=gpu)

        answers = [client.rank_request(request) for request in requests]
        report = admin.status()

    expected = RankingPipeline.load(tiny_bundle, cuda=False)
    assert [_scores(answer) for answer in answers] == [_scores(expected.rank(request)) for request in requests]
    assert [answer.degraded for answer in answers] == [(), ()]
    assert (report.gpu, report.gpu_faults) == (state, faults)
    assert gpu.instead == missed


def _scores(ranking: Ranking) -> list[tuple[str, float]]:
    return [(item.item_id, item.score) for item in ranking.items]
