"""Several processes answer on one port, and come, go and fail like one server."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from recsys.cli.commands import app
from recsys.errors import ConfigError, NotReady, RecsysError
from recsys.events import Interaction
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.workers import run_workers, worker_config


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    """Undo what is made of the log, or later tests could not look into it."""
    yield
    structlog.reset_defaults()


SEEN = Interaction(event_id="e", user_id="u", item_id="a", type="cart", ts=time.time_ns() // 1_000)


def refusal(client: RankingClient) -> str:
    with pytest.raises(RecsysError) as caught:
        client.record([SEEN])
    return str(caught.value)


def test_two_processes_answer_on_one_port(pair: Any, clients: Any) -> None:
    workers, address = pair
    with clients(address) as all_clients:
        answers = [client.rank("u", ["a", "bbb"]).items[0].item_id for client in all_clients]
    workers.wait_for("call", len(answers))

    assert answers == ["bbb"] * len(answers)
    assert workers.answered() == {1, 2}
    assert len({line["pid"] for line in workers.wait_for("worker serves", 2)}) == 2


def test_all_finish_what_they_accepted_after_the_signal(length_workers: Any, clients: Any) -> None:
    answers: list[str] = []

    def ask(client: RankingClient, request_id: str) -> None:
        answers.append(client.rank("u", ["a"], surface="slow", query="1", request_id=request_id).request_id)

    with length_workers(RECSYS_THREADS="9") as workers, clients(workers.serve(), 8) as all_clients:
        asking = [threading.Thread(target=ask, args=each) for each in zip(all_clients, "abcdefgh", strict=True)]
        for thread in asking:
            thread.start()
        workers.wait_for("computing", 8)
        workers.popen.send_signal(signal.SIGTERM)
        for thread in asking:
            thread.join(20)

        assert sorted(answers) == list("abcdefgh")
        assert workers.end() == 0
        assert [line["drained"] for line in workers.wait_for("stopped", 3)] == [True] * 3


def test_a_worker_that_dies_is_started_again_and_the_other_one_answers_meanwhile(length_workers: Any) -> None:
    with length_workers() as workers:
        address = workers.serve()
        first, second = sorted(workers.wait_for("worker serves", 2), key=lambda line: line["worker"])
        os.kill(first["pid"], signal.SIGKILL)
        workers.wait_for("worker died")
        with RankingClient(address, deadline_s=20, tries=1) as client:
            client.rank("u", ["a"])
            with pytest.raises(NotReady, match="the worker that records is not there; send it again"):
                client.record([SEEN])
            again = workers.wait_for("worker serves", 3)[-1]
            end = time.monotonic() + 20
            while "keeps no events" not in (said := refusal(client)):
                assert time.monotonic() < end, said

        assert again["worker"] == 1
        assert again["pid"] not in (first["pid"], second["pid"])
        assert workers.popen.poll() is None


def test_a_worker_that_does_not_drain_in_time_makes_the_status_1(length_workers: Any) -> None:
    with length_workers(RECSYS_GRACE_S="0.2") as workers:
        address = workers.serve()

        def ask() -> None:
            with RankingClient(address, deadline_s=60, tries=1) as client, pytest.raises(RecsysError):
                client.rank("u", ["a"], surface="slow", query="60")

        asking = threading.Thread(target=ask)
        asking.start()
        workers.wait_for("computing")
        workers.popen.terminate()
        asking.join(20)

        assert workers.end() == 1


def test_a_worker_that_cannot_start_ends_all_and_is_named(length_workers: Any) -> None:
    with length_workers(DIES="2") as workers:
        assert workers.end() == 1

    assert "NotReady: worker 2 ended with status 3 before it served; correct what it says above" in workers.said[-1]


def test_workers_do_not_outlive_who_started_them(length_workers: Any) -> None:
    with length_workers() as workers:
        workers.serve()
        workers.popen.kill()

        assert workers.end() == -signal.SIGKILL
        assert len(workers.wait_for("stopped", 2)) == 2


def test_a_signal_while_they_load_ends_them(length_workers: Any) -> None:
    with length_workers(LOAD_SECONDS="60") as workers:
        workers.wait_for("loading", 2)
        workers.popen.send_signal(signal.SIGINT)

        assert workers.end() == 0


def test_a_port_in_use_is_named_and_nothing_is_started(running: Any, length_workers: Any) -> None:
    port = running.address.rpartition(":")[2]

    with length_workers(RECSYS_PORT=port) as workers:
        assert workers.end() == 1

    assert f"ConfigError: cannot listen on 127.0.0.1:{port}; free the port" in workers.said[-1]
    assert workers.lines == []


def test_nobody_else_can_listen_where_workers_do(pair: Any, length_workers: Any) -> None:
    """Not even workers of another command, which the kernel would let share the port."""
    port = pair[1].rpartition(":")[2]

    with length_workers(RECSYS_PORT=port) as others:
        assert others.end() == 1

    assert f"cannot listen on 127.0.0.1:{port}; free the port" in others.said[-1]


def test_with_a_data_directory_workers_need_a_store(tmp_path: Path) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, workers=2, data=tmp_path)

    with pytest.raises(ConfigError, match=r"store that they share with --store .* --no-data, or serve with one worker"):
        run_workers(config, ["false"])


def test_the_command_says_so_where_a_registry_would_get_a_directory_by_itself(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()

    refused = CliRunner().invoke(app, ["serve", str(tmp_path), "--workers", "2"])

    assert isinstance(refused.exception, ConfigError)
    assert "--store" in str(refused.exception)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "bundles"]


def test_with_no_data_the_command_needs_no_store_and_makes_no_directory(tmp_path: Path, workers_of: Any) -> None:
    """The control of the test above; the bundle is not there, so all end when they look for it."""
    (tmp_path / "bundles").mkdir()
    command = [sys.executable, "-m", "recsys.cli", "serve", str(tmp_path), "--port", "0", "--workers", "2", "--no-data"]

    with workers_of(command) as workers:
        assert workers.end() == 1

    assert "RegistryError" in "".join(workers.said)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "bundles"]


def test_data_and_no_data_contradict_each_other(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["serve", str(tmp_path), "--no-data", "--data", str(tmp_path / "data")])

    assert refused.exit_code == 2
    assert "contradict each other" in refused.output


@pytest.mark.parametrize("more", [{"store": "redis://host:1/0"}, {"data": None}])
def test_with_a_store_or_without_a_directory_they_are_started(tmp_path: Path, more: dict[str, Any]) -> None:
    """The control of the test above."""
    config = ServerConfig(**{"registry": Path("unused"), "port": 0, "workers": 2, "data": tmp_path, **more})

    with pytest.raises(NotReady, match="ended with status 1 before it served"):
        run_workers(config, ["false"])


def test_each_worker_has_its_own_ports_threads_and_directory() -> None:
    config = ServerConfig(
        registry=Path("r"), workers=3, threads=4, metrics_port=9464, admin_port=0, data=Path("d"), store="redis://h"
    )

    settings = [worker_config(config, number, port=7, writer="unix:w") for number in (1, 2, 3)]

    assert [each.worker for each in settings] == [1, 2, 3]
    assert {each.port for each in settings} == {7}
    assert [each.metrics_port for each in settings] == [9464, 9465, 9466]
    assert [each.admin_port for each in settings] == [0, 0, 0]
    assert [each.threads for each in settings] == [4, 4, 4]
    assert [each.data for each in settings] == [Path("d"), Path("d/worker-2"), Path("d/worker-3")]


def test_where_nothing_is_said_workers_share_the_cores() -> None:
    alone = ServerConfig(registry=Path("r"), workers=2)

    assert worker_config(alone, 1, port=7, writer="").threads == max(1, alone.threads // 2)


def test_settings_reach_a_worker_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServerConfig(
        registry=Path("r"), reflection=False, variants="new=:0.5", store_limit_s=0.25, worker=2, quotas=Path("q.toml")
    )
    told = config.as_environment({"PATH": "p", "RECSYS_DATA": "somewhere", "recsys_mode": "production"})
    for name, value in told.items():
        monkeypatch.setenv(name, value)

    assert {name for name in told if not name.startswith("RECSYS_")} == {"PATH"}
    assert "RECSYS_DATA" not in told
    assert ServerConfig.read() == config
