"""Every method for every kind of caller, over real connections: who may call what, and nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

from serving.access.caller import ROLES, current
from serving.access.door import Door, open_door
from serving.access.roles import METHOD_ROLE, role_of
from serving.access.settings import AccessSettings
from serving.interceptors import Interceptors
from serving.listen import SERVICE
from serving.pb import ranking_pb2 as pb

OURS = [
    f"/{service.full_name}/{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# Those that the port for callers answers.
METHODS = [method for method in OURS if method.startswith(f"/{SERVICE}/")]

# What a caller has, as roles in a token; or what is wrong with it.
HOLDERS: dict[str, Callable[[Any], str | None]] = {
    "rank": lambda issuer: issuer.token(["rank"]),
    "write": lambda issuer: issuer.token(["write"], kid="rsa"),
    "admin": lambda issuer: issuer.token(["admin"], kid="ec"),
    "rank write": lambda issuer: issuer.token("rank write"),
    "no role": lambda issuer: issuer.token([]),
    "roles of others": lambda issuer: issuer.token(["RANK", "root", "*"]),
    "no token": lambda _: None,
    "garbage": lambda _: "garbage",
    "expired": lambda issuer: issuer.token(list(ROLES), exp=int(time.time()) - 60),
    "other audience": lambda issuer: issuer.token(list(ROLES), aud="another"),
}
UNKNOWN = ("no token", "garbage", "expired", "other audience")


def expected(holder: str, role: str) -> StatusCode:
    if holder in UNKNOWN:
        return StatusCode.UNAUTHENTICATED
    return StatusCode.OK if role in holder.split() else StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", OURS)
def test_each_method_of_the_proto_needs_a_role(method: str) -> None:
    assert role_of(method) in ROLES


def test_each_method_for_callers_stands_in_the_table_by_its_name() -> None:
    assert len(METHODS) >= 6
    assert METHOD_ROLE.keys() >= set(METHODS)


@pytest.mark.parametrize(("holder", "method"), [*product(HOLDERS, METHODS)])
def test_a_method_is_answered_to_those_who_have_its_role(guarded: Any, holder: str, method: str) -> None:
    code, _ = guarded.code_of(method, HOLDERS[holder](guarded.issuer))

    assert code is expected(holder, METHOD_ROLE[method])


@pytest.mark.parametrize(("holder", "method"), [*product(["rank", "expired", "no token", "garbage"], METHODS)])
def test_a_token_counts_before_the_certificate(mutual: Any, holder: str, method: str) -> None:
    code, _ = mutual.code_of(method, HOLDERS[holder](mutual.issuer), mutual.authority.signs("loader"))

    # Without a token it is the certificate that counts; one that is not accepted is not made good by it.
    assert code is expected("write" if holder == "no token" else holder, METHOD_ROLE[method])


@pytest.mark.parametrize("method", METHODS)
def test_a_certificate_that_is_nobodys_may_nothing(mutual: Any, method: str) -> None:
    code, text = mutual.code_of(method, client=mutual.authority.signs("stranger"))

    assert code is StatusCode.PERMISSION_DENIED
    assert "no caller" in text
    assert "stranger" not in text


@pytest.mark.parametrize("method", METHODS)
def test_in_development_anybody_may_everything(running: Any, method: str) -> None:
    with grpc.insecure_channel(running.address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=20)
            code = StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()

    assert code in (StatusCode.OK, StatusCode.FAILED_PRECONDITION)  # this server keeps no events


def test_health_needs_no_token(guarded: Any) -> None:
    with guarded.channel() as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert health_pb2.HealthCheckResponse.FromString(check(b"")).status == health_pb2.HealthCheckResponse.SERVING


def test_a_production_server_does_not_describe_itself(guarded: Any) -> None:
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

    assert guarded.code_of(method, guarded.issuer.token(list(ROLES)))[0] is StatusCode.UNIMPLEMENTED


def test_what_does_not_exist_is_not_implemented(guarded: Any) -> None:
    code, _ = guarded.code_of("/recsys.v1.RankingService/Nothing", guarded.issuer.token(list(ROLES)))

    assert code is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        (["Basic dTpw"], "not one bearer token"),
        (["Bearer a", "Bearer b"], "not one bearer token"),
        (["Bearer"], "not accepted"),
        (["Bearer a.b.c"], "not accepted"),
    ],
)
def test_what_is_wrong_with_a_call_is_told_with_the_remedy(guarded: Any, authorization: list[str], text: str) -> None:
    with guarded.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHODS[0])(b"", metadata=[("authorization", each) for each in authorization])

    assert caught.value.code() is StatusCode.UNAUTHENTICATED
    assert text in caught.value.details()


def test_the_scheme_may_be_written_in_any_case(guarded: Any) -> None:
    with guarded.channel() as channel:
        channel.unary_unary(METHODS[0])(b"", metadata=[("authorization", f"bearer {guarded.issuer.token()}")])


def test_a_refused_call_is_one_line_in_the_log_that_says_why_without_its_token(guarded: Any) -> None:
    tokens = [guarded.issuer.token(["write"]), guarded.issuer.token(exp=1), guarded.issuer.token(aud="other")]
    with guarded.running.lines() as lines:
        for token in (None, *tokens):
            guarded.code_of(METHODS[0], token)

    assert [(line["method"], line["code"], line["log_level"], line.get("caller")) for line in lines] == [
        ("Rank", "UNAUTHENTICATED", "warning", None),
        ("Rank", "PERMISSION_DENIED", "warning", "shop"),
        ("Rank", "UNAUTHENTICATED", "warning", None),
        ("Rank", "UNAUTHENTICATED", "warning", None),
    ]
    assert [line["reason"].partition(";")[0] for line in lines] == [
        "the call has no token",
        "this needs the role rank, which the caller does not have",
        "the token has expired",
        "the token is for another audience",
    ]
    assert not any(token in str(lines) for token in tokens)


# Services that are not there yet: the same door before them.


async def name_of_caller(_data: bytes, _context: Any) -> bytes:
    return current().name.encode()


async def name_and_priority(_data: bytes, _context: Any) -> AsyncIterator[bytes]:
    for word in (current().name, current().priority):
        yield word.encode()


def answers_of(door: Door, method: str, client: Any, token: str | None, *, guard: bool = True) -> list[bytes] | Any:
    """Call a method that a server of the test's own has behind a door; returns its answers, or the code."""
    service, _, name = method.removeprefix("/").partition("/")
    handler = (
        grpc.unary_stream_rpc_method_handler(name_and_priority)
        if name == "Watch"
        else grpc.unary_unary_rpc_method_handler(name_of_caller)
    )

    async def ask() -> Any:
        server = aio.server(interceptors=[Interceptors(*([door.interceptor] if guard else []))])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        address = f"127.0.0.1:{door.listen(server, '127.0.0.1:0')}"
        await server.start()
        metadata = [] if token is None else [("authorization", f"Bearer {token}")]
        channel = aio.insecure_channel(address) if client is None else aio.secure_channel(address, client)
        try:
            async with channel:
                return [answer async for answer in channel.unary_stream(method)(b"", metadata=metadata)]
        except aio.AioRpcError as error:
            return error.code()
        finally:
            await server.stop(None)

    return asyncio.run(ask())


@pytest.fixture
def door(guarded: Any) -> tuple[Door, Any]:
    said = {"token_issuer": "https://issuer.test", "token_audience": "recsys"}
    client = grpc.ssl_channel_credentials(guarded.authority.pem)
    return open_door(AccessSettings(mode="production", **said, **guarded.files)), client


@pytest.mark.parametrize("name", ["Reload", "Watch"])
def test_the_admin_service_to_come_needs_the_role_admin(door: Any, issuer: Any, name: str) -> None:
    method = f"/recsys.v1.AdminService/{name}"
    answered = [b"ops", b"batch"] if name == "Watch" else [b"ops"]

    assert answers_of(door[0], method, door[1], issuer.token(["admin"], sub="ops", priority="batch")) == answered
    assert answers_of(door[0], method, door[1], issuer.token(["rank", "write"])) is StatusCode.PERMISSION_DENIED
    assert answers_of(door[0], method, door[1], None) is StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", ["/recsys.v1.RankingService/New", "/recsys.v1.OtherService/New"])
def test_a_method_without_a_role_is_refused_to_everybody(door: Any, issuer: Any, method: str) -> None:
    assert role_of(method) is None
    assert answers_of(door[0], method, door[1], issuer.token(list(ROLES))) is StatusCode.PERMISSION_DENIED
    assert answers_of(open_door(AccessSettings()), method, None, None) is StatusCode.PERMISSION_DENIED


def test_without_the_interceptor_everybody_would_be_answered() -> None:
    """The control of this module: the server itself asks nobody, so the handler is reached and finds no caller."""
    method = "/recsys.v1.AdminService/Reload"

    assert answers_of(open_door(AccessSettings()), method, None, None) == [b"anybody"]
    assert answers_of(open_door(AccessSettings()), method, None, None, guard=False) is StatusCode.UNKNOWN
    with pytest.raises(LookupError):
        current()


def test_a_fault_of_the_door_itself_is_told_to_nobody(door: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_role: object, _caller: object) -> None:
        raise KeyError("the secret of user-7")

    monkeypatch.setattr("serving.access.interceptor._check_role", broken)
    with capture_logs() as lines:
        code = answers_of(door[0], METHODS[0], door[1], issuer.token())

    assert code is StatusCode.INTERNAL
    assert (lines[-1]["log_level"], lines[-1]["frames"][-1]) == ("error", "KeyError")
    assert "user-7" not in str(lines)
