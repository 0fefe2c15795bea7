"""How a process that serves ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.gpu import Gpu, GpuState
from serving.config import ServerConfig
from serving.process import run_server


class Server:
    """Serves for no time, and was drained."""

    computing = 0

    def give_way(self) -> None: ...

    async def run(self) -> bool:
        return True


@pytest.mark.parametrize(("lost", "left"), [(True, [0]), (False, [])])
def test_a_server_whose_gpu_is_lost_leaves_at_once_when_it_has_stopped(
    monkeypatch: pytest.MonkeyPatch, lost: bool, left: list[int]
) -> None:
    gpu, exits = Gpu(), list[int]()
    gpu.use()
    if lost:
        gpu.answer(_fail, cpu=lambda: None)
        assert gpu.state is GpuState.LOST
    monkeypatch.setattr("serving.process.GPU", gpu)
    monkeypatch.setattr("serving.process.RankingServer", lambda *_: Server())
    monkeypatch.setattr("serving.process.configure_logging", lambda *_, **__: None)
    monkeypatch.setattr("os._exit", exits.append)

    run_server(ServerConfig(registry=Path("unused"), port=0))

    assert exits == left


def _fail() -> None:
    raise RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0")
