"""A port that several processes of ours share, and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from recsys.errors import ConfigError


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Hold a port within the block, for whoever listens on it with SO_REUSEPORT; 0 lets the system choose.

    The port is bound as by a server that shares it with nobody, so that anybody who listens on it already is found,
    with or without SO_REUSEPORT. Only then is it shared. Nothing listens on it here, so no connection comes here.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        held = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error}); choose another host or port") from None
    with held:
        # Connections that were closed a moment ago do not count as somebody who listens.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            held.bind(address)
        except OSError:
            raise ConfigError(
                f"cannot listen on {host}:{port}; free the port, or choose another host or port"
            ) from None
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield int(held.getsockname()[1])
