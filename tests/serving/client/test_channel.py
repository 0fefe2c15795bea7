"""Every address has a connection of its own, and a name may stand for several servers."""

from __future__ import annotations

from typing import Any


def test_an_address_given_twice_is_connected_to_twice(client_of: Any, telling: Any) -> None:
    server = telling()
    client = client_of([server.address] * 2, deadline_s=30)
    for _ in range(4):
        client.rank("u", ["a"])

    assert len({arrival.peer for arrival in server.arrivals}) == 2


def test_a_name_of_several_servers_reaches_them_all(client_of: Any, telling: Any) -> None:
    first, second = telling(), telling()
    client = client_of(f"ipv4:{first.address},{second.address}", deadline_s=30)
    while not (first.arrivals and second.arrivals):
        client.rank("u", ["a"])
