"""Where the first server does not answer, a second one is asked the same, and the first answer wins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from recsys.errors import ConfigError, InvalidRequest, NotReady
from serving.client import P95, AsyncRankingClient, ServiceError
from serving.client.hedge_delay import RecentP95, hedge_delay

AWAY = (StatusCode.UNAVAILABLE, None)


def test_a_second_server_answers_where_the_first_one_hangs(client_of: Any, telling: Any) -> None:
    hangs, answers = telling("hang"), telling()
    client = client_of([hangs.address, answers.address], deadline_s=60, hedge_after_s=0.5)
    ranking = client.rank("u", ["a"])

    assert ranking.bundle_id == answers.address
    (asked,), (asked_too,) = hangs.arrivals, answers.arrivals
    assert asked.request == asked_too.request
    assert asked.request.request_id == ranking.request_id


def test_who_comes_too_late_is_told_to_stop(client_of: Any, telling: Any) -> None:
    hangs, answers = telling("hang"), telling()
    client_of([hangs.address, answers.address], deadline_s=3_600, hedge_after_s=0.5).rank("u", ["a"])

    assert hangs.left_alone.wait(30)


def test_without_a_hedge_the_hanging_server_is_waited_for(client_of: Any, telling: Any) -> None:
    hangs, answers = telling("hang"), telling()
    client = client_of([hangs.address, answers.address], deadline_s=0.3)
    with pytest.raises(ServiceError, match=r"no answer within 0\.3 s") as caught:
        client.rank("u", ["a"])

    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert answers.arrivals == []


def test_a_quick_answer_is_not_asked_for_twice(client_of: Any, telling: Any) -> None:
    first, second = telling(), telling()
    client = client_of([first.address, second.address], deadline_s=60, hedge_after_s=30)
    for _ in range(10):
        client.rank("u", ["a"])

    assert (len(first.arrivals), len(second.arrivals)) == (5, 5)


def test_two_servers_that_hang_do_not_hold_the_caller_beyond_the_deadline(client_of: Any, telling: Any) -> None:
    first, second = telling("hang"), telling("hang")
    client = client_of([first.address, second.address], deadline_s=1.5, hedge_after_s=0.05)
    with pytest.raises(ServiceError, match=r"no answer within 1\.5 s"):
        client.rank("u", ["a"])

    assert first.left_alone.wait(30)
    assert second.left_alone.wait(30)
    assert (len(first.arrivals), len(second.arrivals)) == (1, 1)


def test_hedges_end_with_their_allowance(client_of: Any, telling: Any) -> None:
    servers = [telling(0.02, forever=True) for _ in range(2)]
    client = client_of([server.address for server in servers], deadline_s=60, hedge_after_s=0.001)
    for _ in range(40):
        client.rank("u", ["a"])

    # Ten at first, and one for twenty answers; unlimited it would be eighty.
    assert 40 < sum(len(server.arrivals) for server in servers) <= 40 + 10 + 2


def test_only_rankings_are_asked_for_twice(client_of: Any, telling: Any) -> None:
    slow, other = telling(0.2, 0.2, 0.2, 0.2), telling(0.2, 0.2, 0.2, 0.2)
    client = client_of([slow.address, other.address], deadline_s=60, hedge_after_s=0.001)
    client.explain("u", ["a"])
    client.model_info()
    client.record([])
    client.delete_items(["a"])

    assert len(slow.arrivals) + len(other.arrivals) == 4


def test_the_second_server_that_is_away_does_not_end_the_call(client_of: Any, telling: Any) -> None:
    slow, away = telling(0.5), telling(AWAY, forever=True)
    client = client_of([slow.address, away.address], deadline_s=60, hedge_after_s=0.01)

    assert client.rank("u", ["a"]).bundle_id == slow.address
    assert len(slow.arrivals) == 1


def test_two_servers_that_are_away_are_tried_again(client_of: Any, telling: Any) -> None:
    first, second = telling(AWAY), telling(AWAY)
    client = client_of([first.address, second.address], deadline_s=60, hedge_after_s=30)

    assert client.rank("u", ["a"]).items
    with pytest.raises(NotReady):
        client_of([telling(AWAY).address, telling(AWAY).address], tries=1, hedge_after_s=30).rank("u", ["a"])


def test_a_refused_request_is_not_waited_for_elsewhere(client_of: Any, telling: Any) -> None:
    hangs, refuses = telling("hang"), telling((StatusCode.INVALID_ARGUMENT, None))
    client = client_of([hangs.address, refuses.address], deadline_s=3_600, hedge_after_s=0.01)
    with pytest.raises(InvalidRequest, match="because"):
        client.rank("u", ["a"])


def test_a_caller_that_leaves_takes_both_tries_along(telling: Any) -> None:
    first, second = telling("hang"), telling("hang")

    async def leave() -> None:
        addresses = [first.address, second.address]
        async with AsyncRankingClient(addresses, deadline_s=3_600, hedge_after_s=0.01) as client:
            call = asyncio.create_task(client.rank("u", ["a"]))
            assert await asyncio.to_thread(first.asked.wait, 30)
            assert await asyncio.to_thread(second.asked.wait, 30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(first.left_alone.wait, 30)
            assert await asyncio.to_thread(second.left_alone.wait, 30)

    asyncio.run(leave())


def test_the_delay_is_what_one_recent_call_in_twenty_exceeds() -> None:
    delay = RecentP95()
    for latency in range(19):
        delay.saw(latency)
    assert delay.seconds() is None

    for latency in range(19, 100):
        delay.saw(latency)
    assert delay.seconds() == 95

    for _ in range(256):
        delay.saw(1)
    assert delay.seconds() == 1


def test_until_the_usual_time_is_known_nothing_is_asked_for_twice(client_of: Any, telling: Any) -> None:
    first, second = telling(), telling()
    client = client_of([first.address, second.address], deadline_s=60, hedge_after_s=P95)
    for _ in range(20):
        client.rank("u", ["a"])
    assert len(first.arrivals) + len(second.arrivals) == 20

    first._does[:] = second._does[:] = ["hang"]
    with pytest.raises(ServiceError):
        client_of([first.address, second.address], deadline_s=0.3, hedge_after_s=P95).rank("u", ["a"])
    first._does[:], second._does[:] = ["hang"], []
    assert client.rank("u", ["a"]).bundle_id == second.address


def test_one_address_is_not_enough() -> None:
    assert hedge_delay(None, 1) is None
    with pytest.raises(ConfigError, match="needs a second address"):
        hedge_delay(P95, 1)
