"""A port is shared by who is to share it, and by nobody else."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from recsys.errors import ConfigError
from serving.port import held_port


def listener(port: int, *, shares: bool) -> socket.socket:
    """Listen as gRPC does."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def test_those_who_share_the_port_can_listen() -> None:
    with held_port("127.0.0.1", 0) as port, listener(port, shares=True), listener(port, shares=True):
        pass


def test_a_connection_goes_to_who_listens() -> None:
    with (
        held_port("127.0.0.1", 0) as port,
        listener(port, shares=True) as listening,
        socket.create_connection(("127.0.0.1", port), 5),
    ):
        listening.settimeout(5)
        listening.accept()[0].close()


@pytest.mark.parametrize(
    "intrude",
    [lambda port: listener(port, shares=False).close(), lambda port: held_port("127.0.0.1", port).__enter__()],
)
@pytest.mark.parametrize("served", [True, False])
def test_nobody_else_can_whether_or_not_anybody_listens(intrude: Callable[[int], object], *, served: bool) -> None:
    with held_port("127.0.0.1", 0) as port:
        ours = listener(port, shares=True) if served else None
        with pytest.raises((OSError, ConfigError), match=r"in use|cannot listen on"):
            intrude(port)
        if ours is not None:
            ours.close()


@pytest.mark.parametrize("shares", [True, False])
def test_a_port_on_which_somebody_listens_cannot_be_held(*, shares: bool) -> None:
    with listener(0, shares=shares) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}; free the port"),
            held_port("127.0.0.1", port),
        ):
            pass


def test_a_port_that_was_left_a_moment_ago_can_be_held() -> None:
    """Connections that the server ended are remembered for a minute, and are nobody."""
    with listener(0, shares=False) as left, socket.create_connection(left.getsockname(), 5) as caller:
        port = left.getsockname()[1]
        accepted, _ = left.accept()
        accepted.close()
        assert caller.recv(1) == b""
    with held_port("127.0.0.1", port) as held:
        assert held == port


def test_a_host_that_nobody_knows_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on nowhere\.invalid:1"), held_port("nowhere.invalid", 1):
        pass
