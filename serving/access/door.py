"""From settings to a port that only lets in who may come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grpc import aio

from recsys.errors import ConfigError
from serving.access.certificates import Certificates, read_callers
from serving.access.interceptor import AccessInterceptor
from serving.access.renewed import Renewed
from serving.access.settings import AccessSettings
from serving.access.tls import ServerTls
from serving.access.token_keys import read_keys
from serving.access.tokens import Tokens

# Certificates are looked at when a connection is made; so one that is taken back is of no use after an hour.
_CONNECTION_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How a server's ports are guarded: the first of its interceptors, its options, and how it listens."""

    interceptor: AccessInterceptor
    tls: ServerTls | None
    options: tuple[tuple[str, int], ...]

    def listen(self, server: aio.Server, address: str) -> int:
        """Add a port, with TLS where there is a certificate; raises RuntimeError where it cannot be listened on."""
        if self.tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, self.tls.credentials())


def open_door(settings: AccessSettings) -> Door:
    """Read all files.

    Raises:
        ConfigError: settings contradict each other, are too few for production, or a file cannot be used.
    """
    if problems := list(_problems(settings)):
        raise ConfigError("; ".join(problems))
    tokens = certificates = tls = None
    if settings.token_keys is not None:
        tokens = Tokens(
            Renewed("the token keys", (settings.token_keys,), read_keys),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            leeway_s=settings.token_leeway_s,
        )
    if settings.callers is not None:
        certificates = Certificates(Renewed("the callers", (settings.callers,), read_callers))
    if settings.tls_certificate is not None and settings.tls_key is not None:
        tls = ServerTls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return Door(
        interceptor=AccessInterceptor(tokens, certificates),
        tls=tls,
        options=() if settings.tls_client_ca is None else (("grpc.max_connection_age_ms", _CONNECTION_MS),),
    )


def _problems(settings: AccessSettings) -> Iterator[str]:
    tls = settings.tls_certificate is not None
    tokens = settings.token_keys is not None
    if tls != (settings.tls_key is not None):
        yield "tls_certificate and tls_key go together; give both or none"
    if settings.tls_client_ca is not None and not tls:
        yield "tls_client_ca needs TLS; give tls_certificate and tls_key too"
    if settings.callers is not None and settings.tls_client_ca is None:
        yield "callers names client certificates, but none are asked for; give tls_client_ca too"
    if settings.tls_client_ca is not None and settings.callers is None and not tokens:
        yield "tls_client_ca alone gives nobody a role; give callers or token_keys too"
    if tokens != bool(settings.token_issuer) or tokens != bool(settings.token_audience):
        yield "token_keys, token_issuer and token_audience go together; give all or none"
    if tokens and not tls:
        yield "tokens would cross the network in the clear; give tls_certificate and tls_key too"
    if settings.mode == "production":
        if not tls:
            yield "production needs TLS; give tls_certificate and tls_key"
        if not tokens and settings.callers is None:
            yield "production needs to know its callers; give token_keys, or tls_client_ca and callers"
