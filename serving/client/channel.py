"""The client's end of a connection: in the clear, or by TLS with a token, a certificate, or both."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from recsys.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Files in PEM: ``ca`` signed the server's certificate (None: one of the system's), ``key`` is one's own.

    They are read once, when the client is made.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("certificate and key go together; give both or none")


_OPTIONS = (
    # Channels to one address would share one connection, and so one of the processes that listen on its port.
    ("grpc.use_local_subchannel_pool", 1),
    # A name may stand for several servers.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # gRPC would leave a server that was away for long alone for two minutes more.
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

# A token, or what gives one for each call, from whichever thread.
Token = str | Callable[[], str]


def open_channel(address: str, credentials: Credentials | None, token: Token | None) -> grpc.Channel:
    """Open a channel; raises ConfigError where a file cannot be read, or a token would be sent in the clear."""
    secure = _channel_credentials(credentials, token)
    if secure is None:
        return grpc.insecure_channel(address, options=_OPTIONS)
    return grpc.secure_channel(address, secure, options=_OPTIONS)


def open_aio_channel(address: str, credentials: Credentials | None, token: Token | None) -> aio.Channel:
    """Open a channel for asyncio, as ``open_channel``."""
    secure = _channel_credentials(credentials, token)
    if secure is None:
        return aio.insecure_channel(address, options=_OPTIONS)
    return aio.secure_channel(address, secure, options=_OPTIONS)


class _Bearer(grpc.AuthMetadataPlugin):
    def __init__(self, token: Token) -> None:
        self._token = token

    def __call__(self, context: Any, callback: Any) -> None:  # noqa: ARG002 - gRPC's signature
        token = self._token if isinstance(self._token, str) else self._token()
        callback((("authorization", f"Bearer {token}"),), None)


def _channel_credentials(credentials: Credentials | None, token: Token | None) -> grpc.ChannelCredentials | None:
    if credentials is None:
        if token is not None:
            raise ConfigError("a token would cross the network in the clear; give credentials too")
        return None
    files = (credentials.ca, "CERTIFICATE"), (credentials.key, "PRIVATE KEY"), (credentials.certificate, "CERTIFICATE")
    secure = grpc.ssl_channel_credentials(*(_pem(path, what) for path, what in files))
    if token is None:
        return secure
    return grpc.composite_channel_credentials(secure, grpc.metadata_call_credentials(_Bearer(token)))


def _pem(path: Path | None, what: str) -> bytes | None:
    """Read a file; gRPC would take one of anything, and connect to nobody with it."""
    try:
        data = None if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give a readable file in PEM") from None
    if data is not None and not re.search(rb"-----BEGIN [A-Z ]*" + what.encode() + b"-----", data):
        raise ConfigError(f"{path} holds no {what.lower()} in PEM; give one that does")
    return data
