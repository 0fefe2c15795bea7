"""What another try may mend is tried again, as often as the deadline, the server and the allowance have it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from recsys.errors import ConfigError, InvalidRequest, NotReady, RecsysError
from recsys.events import Click
from recsys.schema import Item, ItemText
from serving.client import RankingClient, ServiceError

AWAY, FULL = StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED
SCRIPT = Path(__file__).parents[1] / "length_model.py"

CALLS: dict[str, Callable[[Any], Any]] = {
    "rank": lambda client: client.rank("u", ["a"]),
    "explain": lambda client: client.explain("u", ["a"]),
    "model_info": lambda client: client.model_info(),
    "record": lambda client: client.record([Click(event_id="e", request_id="r", item_id="a", ts=1)]),
    "upsert_items": lambda client: client.upsert_items([Item(item_id="a", text=ItemText(title="A"))]),
    "delete_items": lambda client: client.delete_items(["a"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_is_tried_three_times(call: Callable[[Any], Any], client_of: Any, telling: Any) -> None:
    server = telling((AWAY, None), (AWAY, None))
    call(client_of(server.address, deadline_s=30))

    assert len(server.arrivals) == 3
    assert server.arrivals[0].request == server.arrivals[2].request


def test_after_the_third_try_the_failure_is_told(client_of: Any, telling: Any) -> None:
    server = telling((AWAY, None), forever=True)
    with pytest.raises(NotReady, match="because"):
        client_of(server.address, deadline_s=30).rank("u", ["a"])

    assert len(server.arrivals) == 3


def test_with_one_try_nothing_is_sent_twice(client_of: Any, telling: Any) -> None:
    server = telling((AWAY, None))
    with pytest.raises(NotReady):
        client_of(server.address, deadline_s=30, tries=1).rank("u", ["a"])

    assert len(server.arrivals) == 1


def test_a_large_message_is_retried_too(client_of: Any, telling: Any) -> None:
    """GRPC's own retries would not: they keep 256 KiB of a call, and give up beyond."""
    server = telling((AWAY, None))
    items = [Item(item_id=str(n), text=ItemText(title="x" * 8_000)) for n in range(100)]
    client_of(server.address, deadline_s=30).upsert_items(items)

    assert [len(arrival.request.items) for arrival in server.arrivals] == [100, 100]


@pytest.mark.parametrize(
    ("code", "arrivals"),
    [
        (StatusCode.CANCELLED, 2),
        (StatusCode.RESOURCE_EXHAUSTED, 1),
        (StatusCode.INVALID_ARGUMENT, 1),
        (StatusCode.FAILED_PRECONDITION, 1),
        (StatusCode.DEADLINE_EXCEEDED, 1),
        (StatusCode.INTERNAL, 1),
        (StatusCode.UNKNOWN, 1),
    ],
)
def test_only_a_server_that_does_not_serve_is_asked_again(
    code: StatusCode, arrivals: int, client_of: Any, telling: Any
) -> None:
    server = telling((code, None))
    client = client_of(server.address, deadline_s=30)
    if arrivals == 1:
        with pytest.raises((ServiceError, InvalidRequest)):
            client.rank("u", ["a"])
    else:
        client.rank("u", ["a"])

    assert len(server.arrivals) == arrivals


@pytest.mark.parametrize("code", [AWAY, FULL])
def test_the_server_says_how_long_to_wait(code: StatusCode, client_of: Any, telling: Any) -> None:
    server = telling((code, "400"))
    client_of(server.address, deadline_s=30).rank("u", ["a"])
    first, second = server.arrivals

    # A wait of our own would be over after a tenth of it; the server notes an arrival a little after it.
    assert second.at - first.at > 0.38


@pytest.mark.parametrize(("code", "pushback"), [(AWAY, "-1"), (AWAY, "soon"), (FULL, "-1"), (FULL, None)])
def test_the_server_says_not_to_come_back(code: StatusCode, pushback: str | None, client_of: Any, telling: Any) -> None:
    server = telling((code, pushback))
    with pytest.raises(RecsysError, match="because"):
        client_of(server.address, deadline_s=30).rank("u", ["a"])

    assert len(server.arrivals) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(client_of: Any, telling: Any) -> None:
    """Waiting in vain would only hide the cause, and keep the caller from doing without."""
    server = telling((FULL, "60000"))
    with pytest.raises(ServiceError, match="because") as caught:
        client_of(server.address, deadline_s=30).rank("u", ["a"])

    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert len(server.arrivals) == 1


def test_all_tries_share_one_deadline(client_of: Any, telling: Any) -> None:
    server = telling((FULL, "1000"), (FULL, "1000"))
    client_of(server.address, deadline_s=8).rank("u", ["a"])

    # gRPC rounds up what it tells the server, by a hundredth of a second here.
    assert [arrival.left_s < 8.1 - tried for tried, arrival in enumerate(server.arrivals)] == [True] * 3


def test_a_failing_fleet_is_not_stormed(client_of: Any, telling: Any) -> None:
    server = telling((AWAY, None), forever=True)
    client = client_of(server.address, deadline_s=30)
    for _ in range(30):
        with pytest.raises(NotReady):
            client.rank("u", ["a"])

    assert len(server.arrivals) == 30 + 10


def test_a_stream_of_events_is_sent_once(telling: Any) -> None:
    server = telling((AWAY, None))
    events = [Click(event_id="e", request_id="r", item_id="a", ts=1)]
    with RankingClient(server.address) as client, pytest.raises(NotReady, match="because"):
        client.stream(events)

    assert len(server.arrivals) == 1


def test_all_tries_are_one_request(client_of: Any, telling: Any) -> None:
    server = telling((AWAY, None))
    ranking = client_of(server.address, deadline_s=30).rank("u", ["a"])

    assert [arrival.request.request_id for arrival in server.arrivals] == [ranking.request_id] * 2
    assert ranking.request_id


def test_the_next_try_goes_to_another_server(client_of: Any, telling: Any) -> None:
    away, there = telling((AWAY, None), forever=True), telling()
    client = client_of([away.address, there.address], deadline_s=30)

    assert client.rank("u", ["a"]).bundle_id == there.address
    assert len(away.arrivals) == 1


def test_a_server_that_stops_is_left_without_a_failure(client_of: Any, running: Any, another: Any) -> None:
    with ExitStack() as stops:
        leaves = stops.enter_context(another())
        client = client_of([leaves.address, running.address], deadline_s=30)
        hasty = client_of([leaves.address, running.address], deadline_s=30, tries=1)
        for asked in (client, hasty, client, hasty):
            asked.rank("u", ["a"])

    assert [client.rank("u", ["a"]).items for _ in range(10)]
    with pytest.raises(NotReady):
        [hasty.rank("u", ["a"]) for _ in range(2)]


def test_a_request_that_dies_with_its_server_is_answered_by_another(client_of: Any, telling: Any) -> None:
    there, answers = telling(), []
    with subprocess.Popen([sys.executable, SCRIPT], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        serving = json.loads(next(line for line in process.stderr if '"serving"' in line))
        client = client_of([serving["address"], there.address], deadline_s=60)
        caller = threading.Thread(target=lambda: answers.append(client.rank("u", ["a"], surface="slow", query="50")))
        caller.start()
        assert next(line for line in process.stderr if '"computing"' in line)
        process.kill()
        caller.join(30)

    assert [answer.bundle_id for answer in answers] == [there.address]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": []}, "no address to call"),
        ({"tries": 0}, "tries is 0; give 1"),
        ({"hedge_after_s": 0.1}, "needs a second address"),
        ({"address": ["a:1", "b:1"], "hedge_after_s": -1.0}, "give seconds, 0 or more"),
        ({"address": ["a:1", "b:1"], "hedge_after_s": "p99"}, "is 'p99'; give seconds, or 'p95'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: Any, message: str, client_of: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        client_of(**{"address": "a:1", **settings})
