"""A throw-away certificate authority and issuer of tokens, for a server that knows its callers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import OKPAlgorithm

_ISSUER, _AUDIENCE = "https://issuer.example", "recsys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a server needs to know its callers, and what they need: its certificate, and a token for each priority."""

    settings: dict[str, Any]
    certificate: bytes
    tokens: dict[str, str]


def make_access(folder: Path) -> Access:
    """Make a server's certificate that is its own authority, and tokens of an hour for two callers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    signing = ed25519.Ed25519PrivateKey.generate()
    public = {**OKPAlgorithm.to_jwk(signing.public_key(), as_dict=True), "kid": "1", "use": "sig"}
    files = {
        "tls_certificate": certificate,
        "tls_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "token_keys": json.dumps({"keys": [public]}).encode(),
    }
    for file, content in files.items():
        (folder / file).write_bytes(content)

    def token(priority: str) -> str:
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": priority,
            "exp": int(time.time()) + 3_600,
            "roles": ["rank"],
            "priority": priority,
        }
        return jwt.encode(claims, signing, algorithm="EdDSA", headers={"kid": "1"})

    settings = {name: folder / name for name in files} | {"token_issuer": _ISSUER, "token_audience": _AUDIENCE}
    return Access(
        settings=settings, certificate=certificate, tokens={each: token(each) for each in ("interactive", "batch")}
    )
