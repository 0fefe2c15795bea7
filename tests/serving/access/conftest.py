"""Certificates, keys, tokens and servers that ask for them; all of it real, and made for the test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://issuer.test", "recsys"

CALLERS = """
[[caller]]
name = "shop"
certificates = ["shop.internal", "spiffe://shop.test/backend"]
roles = ["rank"]
priority = "prefetch"

[[caller]]
name = "loader"
certificates = ["loader"]
roles = ["write"]
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes
    private: Any
    parsed: x509.Certificate

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        return certificate, key


class Authority:
    """A certificate authority of one's own."""

    def __init__(self, name: str = "test CA") -> None:
        self.root = _signed(name, (), None, days=10)
        self.pem = self.root.certificate

    def signs(self, common_name: str, *also: x509.GeneralName, days: int = 5) -> Pair:
        return _signed(common_name, also, self.root, days=days)

    def signs_server(self, common_name: str = "server", *, days: int = 5) -> Pair:
        return self.signs(common_name, x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1")), days=days)


def _signed(common_name: str, also: tuple[x509.GeneralName, ...], by: Pair | None, *, days: int) -> Pair:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.parsed.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if also:
        builder = builder.add_extension(x509.SubjectAlternativeName(also), critical=False)
    parsed = builder.sign(private if by is None else by.private, hashes.SHA256())
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(parsed.public_bytes(Encoding.PEM), key, private, parsed)


@dataclass
class Issuer:
    """Signs tokens; ``jwks`` is what it publishes."""

    keys: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def new_key(self, kid: str, algorithm: str = "EdDSA") -> None:
        make: dict[str, Callable[[], Any]] = {
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "RS256": lambda: rsa.generate_private_key(65_537, 2_048),
        }
        self.keys[kid] = make[algorithm](), algorithm

    def jwks(self, *kids: str) -> str:
        listed = []
        for kid in kids or self.keys:
            key, algorithm = self.keys[kid]
            write: Any = {"EdDSA": OKPAlgorithm, "ES256": ECAlgorithm, "RS256": RSAAlgorithm}[algorithm]
            listed.append({**write.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"})
        return json.dumps({"keys": listed})

    def token(self, roles: object = ("rank",), *, kid: str = "", **claims: object) -> str:
        """Sign a token of an hour; a claim of None is left out."""
        kid = kid or next(iter(self.keys))
        key, algorithm = self.keys[kid]
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "shop",
            "exp": int(time.time()) + 3_600,
            "roles": roles,
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            key,
            algorithm=algorithm,
            headers={"kid": kid},
        )


@dataclass(frozen=True)
class Guarded:
    """A production server and what its callers need."""

    address: str
    authority: Authority
    issuer: Issuer
    files: Mapping[str, Path]
    running: Any

    def channel(self, client: Pair | None = None) -> grpc.Channel:
        own = (None, None) if client is None else (client.key, client.certificate)
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(self.authority.pem, *own))

    def code_of(
        self, method: str, token: str | None = None, client: Pair | None = None, data: bytes = b""
    ) -> tuple[grpc.StatusCode, str]:
        """Call a method by its full name, once, over a connection of its own."""
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        with self.channel(client) as channel:
            try:
                channel.unary_unary(method)(data, metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                return error.code(), error.details()
        return grpc.StatusCode.OK, ""


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.new_key("ed")
    issuer.new_key("ec", "ES256")
    issuer.new_key("rsa", "RS256")
    return issuer


@pytest.fixture(scope="session")
def serve_guarded(
    length_model: Any, serve: Any, authority: Authority, issuer: Issuer
) -> Callable[..., AbstractContextManager[Guarded]]:
    """Return what serves in production mode from files in a folder: by tokens, by certificates, or by both."""
    from contextlib import contextmanager

    from serving.config import ServerConfig

    @contextmanager
    def guarded(folder: Path, *, tokens: bool = True, certificates: bool = False, **more: Any) -> Iterator[Guarded]:
        certificate, key = authority.signs_server().write(folder, "server")
        files = {"tls_certificate": certificate, "tls_key": key}
        said: dict[str, Any] = {}
        if tokens:
            files["token_keys"] = folder / "keys.json"
            files["token_keys"].write_text(issuer.jwks())
            said = {"token_issuer": ISSUER, "token_audience": AUDIENCE}
        if certificates:
            files |= {"tls_client_ca": folder / "ca.crt", "callers": folder / "callers.toml"}
            files["tls_client_ca"].write_bytes(authority.pem)
            files["callers"].write_text(CALLERS)
        config = ServerConfig(
            registry=Path("unused"), port=0, threads=2, mode="production", data=folder / "live", **said, **files, **more
        )
        with serve(length_model.LengthModel(), config) as running:
            yield Guarded(running.address, authority, issuer, files, running)

    return guarded


@pytest.fixture(scope="module")
def guarded(serve_guarded: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A production server that takes tokens."""
    with serve_guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


@pytest.fixture(scope="module")
def mutual(serve_guarded: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A production server that takes tokens and client certificates."""
    with serve_guarded(tmp_path_factory.mktemp("mutual"), certificates=True) as guarded:
        yield guarded
