"""What a server in production has switched on, made for a benchmark: TLS, tokens, events, metrics, receipts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from grpc import aio
from jwt.algorithms import OKPAlgorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """Settings of a server that is closed to strangers, and what its callers need; ``None`` is an open door."""

    settings: dict[str, Any]
    root: bytes | None = None
    token: str = ""

    def channel(self, address: str) -> grpc.Channel:
        """Open a channel."""
        if self.root is None:
            return grpc.insecure_channel(address)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(self.root))

    def aio_channel(self, address: str) -> aio.Channel:
        """Open a channel for asyncio."""
        if self.root is None:
            return aio.insecure_channel(address)
        return aio.secure_channel(address, grpc.ssl_channel_credentials(self.root))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


OPEN = Production(settings={})


def in_production(folder: Path) -> Production:
    """Make a certificate, a key that signs tokens, and a token; keeps what the server reads in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = _certificate()
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    signs = ed25519.Ed25519PrivateKey.generate()
    public = OKPAlgorithm.to_jwk(signs.public_key(), as_dict=True)
    (folder / "keys.json").write_text(json.dumps({"keys": [{**public, "kid": "a", "use": "sig", "alg": "EdDSA"}]}))
    said = {"iss": "benchmark", "aud": "recsys", "sub": "shop", "roles": ["rank"], "exp": int(time.time()) + 86_400}
    return Production(
        settings={
            "mode": "production",
            "tls_certificate": folder / "server.crt",
            "tls_key": folder / "server.key",
            "token_keys": folder / "keys.json",
            "token_issuer": "benchmark",
            "token_audience": "recsys",
            "data": folder / "live",
            "metrics_port": 0,
            "receipts": 0.01,
            "drift": 0.01,
        },
        root=certificate,
        token=jwt.encode(said, signs, algorithm="EdDSA", headers={"kid": "a"}),
    )


def _certificate() -> tuple[bytes, bytes]:
    """Make a certificate for this machine that vouches for itself, and its key, in PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC)
    local = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(local, critical=False)
        .sign(private, hashes.SHA256())
    )
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), key
