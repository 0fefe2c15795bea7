"""TLS and mutual TLS, whose files are renewed while the server serves."""

from __future__ import annotations

import os
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc import StatusCode
from structlog.testing import capture_logs

from recsys.errors import ConfigError
from serving.access.certificates import read_callers
from serving.access.tls import ServerTls

RANK, UPSERT = "/recsys.v1.RankingService/Rank", "/recsys.v1.RankingService/UpsertItems"


def shown_by(address: str) -> bytes:
    """Return the certificate that a server shows to a new connection, in PEM."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain) as secure:
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"").encode()


def replace(path: Path, data: bytes) -> None:
    """Renew a file as certificate tools do."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)  # noqa: PTH105 - the call that is meant


@pytest.fixture
def own(serve_guarded: Any, tmp_path: Path) -> Any:
    """A server whose files the test may change."""
    with serve_guarded(tmp_path) as own:
        yield own


@pytest.fixture
def own_mutual(serve_guarded: Any, tmp_path: Path) -> Any:
    with serve_guarded(tmp_path, tokens=False, certificates=True) as own:
        yield own


def renew(own: Any, pair: Any) -> None:
    replace(own.files["tls_certificate"], pair.certificate)
    replace(own.files["tls_key"], pair.key)


def test_a_renewed_certificate_is_shown_without_a_restart_and_no_call_fails(own: Any) -> None:
    token, before = own.issuer.token(), shown_by(own.address)
    renewed = own.authority.signs_server("renewed")
    with own.channel() as channel, ThreadPoolExecutor(1) as pool:
        rank = channel.unary_unary(RANK)
        rank(b"", metadata=[("authorization", f"Bearer {token}")])
        calls = pool.submit(
            lambda: [rank(b"", metadata=[("authorization", f"Bearer {token}")], timeout=20) for _ in range(200)]
        )
        renew(own, renewed)
        assert own.code_of(RANK, token)[0] is StatusCode.OK
        assert len(calls.result(60)) == 200

    assert before != renewed.certificate
    assert shown_by(own.address) == renewed.certificate


def test_a_certificate_that_is_read_once_stays(tmp_path: Path, authority: Any) -> None:
    """The control of the test above: gRPC's plain credentials know nothing of the files."""
    pair = authority.signs_server()
    certificate, key = pair.write(tmp_path, "server")
    server = grpc.server(ThreadPoolExecutor(1))
    plain = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', plain)}"
    server.start()
    replace(certificate, authority.signs_server("renewed").certificate)

    assert shown_by(address) == pair.certificate
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda own: replace(own.files["tls_certificate"], b""), "no certificate in PEM"),
        (lambda own: replace(own.files["tls_key"], b"-----BEGIN PRIVATE KEY-----\nAAAA"), "no private key in PEM"),
        (lambda own: replace(own.files["tls_key"], own.authority.signs_server().key), "not that of the certificate"),
        (lambda own: renew(own, own.authority.signs_server(days=-1)), "has expired"),
        (lambda own: own.files["tls_key"].unlink(), "No such file"),
    ],
    ids=["no certificate", "no key", "another key", "expired", "gone"],
)
def test_a_broken_renewal_is_logged_and_the_old_certificate_stays(own: Any, broken: Any, reason: str) -> None:
    before, token = shown_by(own.address), own.issuer.token()
    broken(own)
    with capture_logs() as lines:
        codes = {own.code_of(RANK, token)[0] for _ in range(3)}

    assert codes == {StatusCode.OK}
    assert shown_by(own.address) == before
    (line,) = [line for line in lines if line["event"] == "not renewed"]
    assert line["log_level"] == "error"
    assert reason in line["reason"]

    renewed = own.authority.signs_server("mended")
    renew(own, renewed)
    assert shown_by(own.address) == renewed.certificate


def test_who_connects_needs_a_certificate_that_the_client_ca_signed(own_mutual: Any) -> None:
    other = type(own_mutual.authority)("other CA")

    assert own_mutual.code_of(RANK, client=own_mutual.authority.signs("loader"))[0] is StatusCode.PERMISSION_DENIED
    assert own_mutual.code_of(UPSERT, client=own_mutual.authority.signs("loader"))[0] is StatusCode.OK
    assert own_mutual.code_of(UPSERT, client=other.signs("loader"))[0] is StatusCode.UNAVAILABLE
    assert own_mutual.code_of(UPSERT)[0] is StatusCode.UNAVAILABLE


def test_without_a_client_ca_any_certificate_is_as_good_as_none(own: Any) -> None:
    """The control of the test above."""
    assert own.code_of(RANK, own.issuer.token(), type(own.authority)("other CA").signs("x"))[0] is StatusCode.OK


@pytest.mark.parametrize(
    ("name", "also", "code"),
    [
        ("x", [x509.DNSName("shop.internal")], StatusCode.OK),
        ("x", [x509.UniformResourceIdentifier("spiffe://shop.test/backend")], StatusCode.OK),
        ("shop.internal", [], StatusCode.OK),
        # The common name does not count beside other names.
        ("shop.internal", [x509.DNSName("x")], StatusCode.PERMISSION_DENIED),
        ("x", [x509.DNSName("shop.internal"), x509.DNSName("loader")], StatusCode.PERMISSION_DENIED),
        ("shop.internal.evil", [], StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_certificate_is_a_caller_by_its_names(own_mutual: Any, name: str, also: list[Any], code: StatusCode) -> None:
    assert own_mutual.code_of(RANK, client=own_mutual.authority.signs(name, *also))[0] is code


def test_a_new_client_ca_holds_from_the_next_connection_on(own_mutual: Any) -> None:
    old, new = own_mutual.authority.signs("loader"), type(own_mutual.authority)("new CA")
    replace(own_mutual.files["tls_client_ca"], new.pem)

    assert own_mutual.code_of(UPSERT, client=old)[0] is StatusCode.UNAVAILABLE
    assert own_mutual.code_of(UPSERT, client=new.signs("loader"))[0] is StatusCode.OK


def test_callers_change_while_it_runs(own_mutual: Any) -> None:
    loader = own_mutual.authority.signs("loader")
    own_mutual.files["callers"].write_text('[[caller]]\nname = "l"\ncertificates = ["loader"]\nroles = ["rank"]')

    assert own_mutual.code_of(RANK, client=loader)[0] is StatusCode.OK
    assert own_mutual.code_of(UPSERT, client=loader)[0] is StatusCode.PERMISSION_DENIED


GOOD = '[[caller]]\nname = "a"\ncertificates = ["x"]\nroles = ["rank"]\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "[[caller]] tables"),
        ("caller = ", "no TOML"),
        ("caller = 5", "no TOML"),
        ("caller = [7]", "caller 1 needs name"),
        (GOOD + "rolls = 1", "caller 1 needs name"),
        (GOOD.replace('["x"]', '"x"'), "certificates of caller 1"),
        (GOOD.replace('["x"]', "[]"), "certificates of caller 1"),
        (GOOD.replace('["x"]', '[""]'), "certificates of caller 1"),
        (GOOD.replace('"rank"', '"root"'), "roles of caller 1"),
        (GOOD + 'priority = "first"', "priority of caller 1"),
        (GOOD.replace('"a"', '""'), "name of caller 1"),
        (GOOD + GOOD.replace('"a"', '"b"'), "caller 2 has a certificate name"),
    ],
)
def test_a_file_of_callers_is_refused_with_the_place(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_callers(text.encode())


def test_what_cannot_be_used_at_the_start_is_named(tmp_path: Path, authority: Any) -> None:
    certificate, key = authority.signs_server(days=-1).write(tmp_path, "old")

    with pytest.raises(ConfigError, match=r"old\.crt.*old\.key cannot be used: the certificate has expired"):
        ServerTls(certificate, key, None)
    with pytest.raises(ConfigError, match=r"gone\.crt.*No such file"):
        ServerTls(tmp_path / "gone.crt", key, None)
