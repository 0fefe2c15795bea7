"""The server's end of TLS, and of mutual TLS; renewed files are used from the next connection on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from serving.access.renewed import Renewed


class ServerTls:
    """What a server's ports show, and whom they let connect: with ``client_ca``, those with a certificate it signed.

    Raises:
        ConfigError: a file cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        paths = (certificate, key) if client_ca is None else (certificate, key, client_ca)
        self._renewed = Renewed("the TLS certificate", paths, _configuration)
        self._asks_clients = client_ca is not None

    def credentials(self) -> grpc.ServerCredentials:
        """Make the credentials of one port; gRPC hands over what they begin with only once."""
        served = self._renewed.get()

        def newer() -> grpc.ServerCertificateConfiguration | None:
            """Is asked by gRPC before each handshake; None is nothing new."""
            nonlocal served
            now = self._renewed.get()
            if now is served:
                return None
            served = now
            return now

        return grpc.dynamic_ssl_server_credentials(served, newer, self._asks_clients)  # type: ignore[arg-type] # may be None


def _configuration(
    certificate: bytes, key: bytes, client_ca: bytes | None = None
) -> grpc.ServerCertificateConfiguration:
    # Checked here because gRPC takes anything, and would fail at each handshake.
    (leaf, *_) = _certificates(certificate, "the certificate")
    if leaf.not_valid_after_utc <= datetime.now(UTC):
        raise ValueError("the certificate has expired")
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError):  # a TypeError where it needs a password
        raise ValueError("the key is no private key in PEM without a password") from None
    if _public(private.public_key()) != _public(leaf.public_key()):
        raise ValueError("the key is not that of the certificate")
    if client_ca is not None:
        _certificates(client_ca, "the client CA")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"{what} is no certificate in PEM") from None


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]
