"""With a fallback the caller always gets a list, and can tell that nobody ranked it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from grpc import StatusCode

from recsys.errors import InvalidRequest, NotReady
from recsys.schema import CLIENT_FALLBACK, Ranking
from serving.client import SHOWN_ORDER, RankingClient, ServiceError

NOWHERE = ["127.0.0.1:1", "127.0.0.1:2"]


def order(ranking: Ranking) -> list[str]:
    return [item.item_id for item in ranking.items]


def test_when_all_servers_are_gone_the_shown_order_is_answered(client_of: Any) -> None:
    ranking = client_of(NOWHERE, fallback=SHOWN_ORDER).rank("u", ["b", "c", "a"], request_id="r")

    assert order(ranking) == ["b", "c", "a"]
    assert ranking.degraded == (CLIENT_FALLBACK,) == ("client_fallback",)
    assert (ranking.request_id, ranking.bundle_id, ranking.text_coverage) == ("r", "", 0.0)


def test_a_fallback_invents_no_probability_and_its_scores_fall(client_of: Any) -> None:
    items = client_of(NOWHERE, fallback=SHOWN_ORDER).rank("u", ["b", "c", "a"]).items

    assert [item.score for item in items] == [3.0, 2.0, 1.0]
    assert all(math.isnan(item.click_probability) for item in items)


def test_without_a_fallback_the_failure_is_raised(client_of: Any) -> None:
    with pytest.raises(NotReady):
        client_of(NOWHERE).rank("u", ["a"])


def test_a_server_that_hangs_is_fallen_back_from_at_the_deadline(client_of: Any, telling: Any) -> None:
    client = client_of([telling("hang").address, telling("hang").address], deadline_s=0.3, hedge_after_s=0.05)

    assert client.rank("u", ["b", "a"], fallback=SHOWN_ORDER).degraded == (CLIENT_FALLBACK,)


def test_servers_that_die_are_fallen_back_from(client_of: Any, another: Any) -> None:
    with another() as first, another() as second:
        client = client_of([first.address, second.address], deadline_s=30, fallback=SHOWN_ORDER)
        assert [client.rank("u", ["a", "bb"]).degraded for _ in range(2)] == [(), ()]

    assert [client.rank("u", ["a", "bb"]).degraded for _ in range(2)] == [(CLIENT_FALLBACK,)] * 2


def test_an_answer_is_not_replaced(client_of: Any, telling: Any) -> None:
    server = telling()

    assert client_of(server.address, fallback=SHOWN_ORDER).rank("u", ["a"]).bundle_id == server.address


def test_popular_items_come_first_and_those_without_a_number_last(client_of: Any) -> None:
    client = client_of(NOWHERE, fallback={"a": 1.0, "b": 7.0, "gone": 9.0, "d": 1.0})

    assert order(client.rank("u", ["x", "a", "y", "b", "d"])) == ["b", "a", "d", "x", "y"]


def test_an_order_of_ones_own_wins_over_that_of_the_client(client_of: Any) -> None:
    client = client_of(NOWHERE, fallback=SHOWN_ORDER)
    ranking = client.rank("u", ["a", "b"], fallback=lambda request: [each.item_id for each in request.candidates][::-1])

    assert order(ranking) == ["b", "a"]


def test_only_as_many_are_given_as_were_asked_for(client_of: Any) -> None:
    assert order(client_of(NOWHERE, fallback=SHOWN_ORDER).rank("u", ["c", "b", "a"], top_k=2)) == ["c", "b"]


@pytest.mark.parametrize("given", [["a"], ["a", "a"], ["a", "z"], ["a", "b", "z"]])
def test_a_fallback_that_gives_other_items_is_refused(given: list[str], client_of: Any) -> None:
    with pytest.raises(ValueError, match="each candidate once"):
        client_of(NOWHERE).rank("u", ["a", "b"], fallback=lambda _: given)


@pytest.mark.parametrize(
    "code", [StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.RESOURCE_EXHAUSTED, StatusCode.DEADLINE_EXCEEDED]
)
def test_a_fault_of_the_service_is_fallen_back_from(code: StatusCode, client_of: Any, telling: Any) -> None:
    ranking = client_of(telling((code, None)).address, fallback=SHOWN_ORDER).rank("u", ["a"])

    assert ranking.degraded == (CLIENT_FALLBACK,)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.INVALID_ARGUMENT, InvalidRequest),
        (StatusCode.UNAUTHENTICATED, ServiceError),
        (StatusCode.PERMISSION_DENIED, ServiceError),
        (StatusCode.UNIMPLEMENTED, ServiceError),
    ],
)
def test_a_fault_of_the_caller_is_never_hidden(
    code: StatusCode, kind: type[Exception], client_of: Any, telling: Any
) -> None:
    with pytest.raises(kind, match="because"):
        client_of(telling((code, None)).address, fallback=SHOWN_ORDER).rank("u", ["a"])


def test_a_request_that_nobody_would_answer_is_refused_in_spite_of_the_fallback() -> None:
    with RankingClient(NOWHERE, fallback=SHOWN_ORDER) as client, pytest.raises(InvalidRequest, match="occurs twice"):
        client.rank("u", ["a", "a"])
