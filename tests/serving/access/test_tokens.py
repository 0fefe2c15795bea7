"""Which tokens are accepted, whatever an attacker writes into one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError, Unauthenticated
from serving.access import tokens as tokens_module
from serving.access.renewed import Renewed
from serving.access.token_keys import read_keys
from serving.access.tokens import Tokens


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def published(issuer: Any, tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(issuer.jwks())
    return path


@pytest.fixture
def tokens(published: Path, clock: Clock) -> Tokens:
    keys = Renewed("the token keys", (published,), read_keys)
    return Tokens(keys, issuer="https://issuer.test", audience="recsys", leeway_s=30, now=clock)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refusal_of(tokens: Tokens, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        tokens.caller_of(token)
    return str(caught.value)


@pytest.mark.parametrize("kid", ["ed", "ec", "rsa"])
def test_a_token_of_each_algorithm_says_who_calls(tokens: Tokens, issuer: Any, kid: str) -> None:
    token = issuer.token(["rank", "write", "of-another-service"], kid=kid, sub="shop", priority="prefetch")

    for _ in range(2):  # verified, then remembered
        caller = tokens.caller_of(token)
        assert (caller.name, caller.roles, caller.priority) == ("shop", {"rank", "write"}, "prefetch")


def test_roles_may_be_one_text_and_priority_is_interactive_unless_said(tokens: Tokens, issuer: Any) -> None:
    caller = tokens.caller_of(issuer.token("admin rank"))

    assert (caller.roles, caller.priority) == ({"admin", "rank"}, "interactive")
    assert tokens.caller_of(issuer.token(None)).roles == frozenset()


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"exp": 1_000}, "has expired; get a new one"),
        ({"exp": None}, "not accepted"),
        ({"exp": "soon"}, "not accepted"),
        ({"exp": float("nan")}, "not accepted"),
        ({"nbf": 33_000_000_000}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": ["another", "third"]}, "another audience"),
        ({"aud": None}, "not accepted"),
        ({"iss": "https://issuer.test.evil"}, "not accepted"),
        ({"iss": None}, "not accepted"),
        ({"sub": None}, "not accepted"),
        ({"sub": ""}, 'claim "sub"'),
        ({"sub": "x" * 129}, 'claim "sub"'),
        ({"priority": "first"}, 'claim "priority"'),
        ({"priority": ["batch"]}, 'claim "priority"'),
    ],
)
def test_a_signed_token_with_wrong_claims_is_refused(
    tokens: Tokens, issuer: Any, claims: dict[str, object], text: str
) -> None:
    assert text in refusal_of(tokens, issuer.token(**claims))


@pytest.mark.parametrize("roles", [7, {"rank": True}, [7], True])
def test_roles_that_are_no_texts_are_refused(tokens: Tokens, issuer: Any, roles: object) -> None:
    assert 'claim "roles"' in refusal_of(tokens, issuer.token(roles))


def test_one_of_several_audiences_suffices(tokens: Tokens, issuer: Any) -> None:
    assert tokens.caller_of(issuer.token(aud=["another", "recsys"])).name == "shop"


def test_a_clock_may_differ_by_the_leeway_and_not_by_more(tokens: Tokens, issuer: Any) -> None:
    assert tokens.caller_of(issuer.token(exp=int(time.time()) - 15))
    assert "expired" in refusal_of(tokens, issuer.token(exp=int(time.time()) - 60))


def test_a_remembered_token_expires_all_the_same(tokens: Tokens, issuer: Any, clock: Clock) -> None:
    token = issuer.token()
    assert tokens.caller_of(token)
    clock.ahead = 3_640

    assert "expired" in refusal_of(tokens, token)
    assert not tokens._verified


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_a_token_without_a_signature_is_refused(tokens: Tokens, issuer: Any, algorithm: str) -> None:
    claims = issuer.token().split(".")[1]
    token = f"{encoded({'alg': algorithm, 'kid': 'ed', 'typ': 'JWT'})}.{claims}."

    assert "not accepted" in refusal_of(tokens, token)
    # The control: nothing else is wrong with it.
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "shop"


def test_a_public_key_is_no_secret_to_sign_with(tokens: Tokens, issuer: Any) -> None:
    public = issuer.keys["rsa"][0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{issuer.token().split('.')[1]}"
    signature = hmac.digest(public, signed.encode(), hashlib.sha256)
    token = f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    assert "not accepted" in refusal_of(tokens, token)
    # The control: who takes the algorithm from the token, and the key for a secret, finds the signature right.
    head, claims, written = token.split(".")
    naive = hmac.digest(public, f"{head}.{claims}".encode(), hashlib.sha256)
    assert naive == base64.urlsafe_b64decode(written + "=")


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "ES256"])
def test_a_key_is_for_one_algorithm(tokens: Tokens, issuer: Any, algorithm: str) -> None:
    key = issuer.keys["ec" if algorithm == "ES256" else "rsa"][0]
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})

    assert "not accepted" in refusal_of(tokens, jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "rsa"}))


@pytest.mark.parametrize("headers", [{"kid": "nobody's"}, {}, {"kid": "../ed"}])
def test_an_unknown_key_is_refused_without_saying_which(tokens: Tokens, issuer: Any, headers: dict[str, str]) -> None:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    text = refusal_of(tokens, jwt.encode(claims, issuer.keys["ed"][0], algorithm="EdDSA", headers=headers))

    assert text == refusal_of(tokens, "garbage")


def test_a_token_signed_by_somebody_else_is_refused(tokens: Tokens, issuer: Any) -> None:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    other = type(issuer)()
    other.new_key("ed")

    assert "not accepted" in refusal_of(
        tokens, jwt.encode(claims, other.keys["ed"][0], algorithm="EdDSA", headers={"kid": "ed"})
    )


def test_one_changed_character_makes_a_token_another_one(tokens: Tokens, issuer: Any) -> None:
    token = issuer.token(["rank"])
    assert tokens.caller_of(token)
    head, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))

    assert "not accepted" in refusal_of(tokens, f"{head}.{encoded({**said, 'roles': ['admin']})}.{signature}")


def test_keys_rotate_while_it_runs(tokens: Tokens, published: Path, issuer: Any) -> None:
    rotating = type(issuer)()
    rotating.new_key("old")
    rotating.new_key("new", "ES256")
    old, new = rotating.token(kid="old"), rotating.token(kid="new")
    published.write_text(rotating.jwks("old"))
    assert tokens.caller_of(old)
    assert "not accepted" in refusal_of(tokens, new)

    published.write_text(rotating.jwks("old", "new"))
    assert tokens.caller_of(old)
    assert tokens.caller_of(new)

    published.write_text(rotating.jwks("new"))
    assert tokens.caller_of(new)
    assert "not accepted" in refusal_of(tokens, old)  # though it was remembered


def test_only_so_many_tokens_are_remembered(tokens: Tokens, issuer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "_REMEMBERED", 2)
    first, second, third = (issuer.token(sub=name) for name in ("first", "second", "third"))
    for token in (first, second, first, third):
        tokens.caller_of(token)

    assert [caller.name for caller, _ in tokens._verified.values()] == ["first", "third"]


def test_a_remembered_token_is_not_verified_again(tokens: Tokens, issuer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issuer.token()
    tokens.caller_of(token)
    monkeypatch.setattr(jwt, "decode", None)

    assert tokens.caller_of(token).name == "shop"


@given(token=st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_refused_and_nothing_else_happens(any_tokens: Tokens, token: str) -> None:
    assert "not accepted" in refusal_of(any_tokens, token)


@given(
    head=st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda more: st.lists(more) | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), more),
    )
)
def test_any_header_is_refused_and_nothing_else_happens(any_tokens: Tokens, head: object) -> None:
    assert "not accepted" in refusal_of(any_tokens, f"{encoded(head)}.e30.e30")


@pytest.fixture(scope="module")
def any_tokens(issuer: Any, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(issuer.jwks())
    return Tokens(Renewed("keys", (path,), read_keys), issuer="i", audience="a", leeway_s=0)


OTHER_USE = {"kty": "RSA", "kid": "e", "use": "enc", "n": "AQAB", "e": "AQAB"}
SYMMETRIC = {"kty": "oct", "kid": "s", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}


def test_keys_of_other_uses_are_passed_over(issuer: Any) -> None:
    listed = [OTHER_USE, SYMMETRIC, {"kty": "unheard", "kid": "u"}, *json.loads(issuer.jwks("ed"))["keys"]]

    assert read_keys(json.dumps({"keys": listed}).encode()).keys() == {"ed"}


def private_key(issuer: Any) -> dict[str, str]:
    return {**jwt.algorithms.OKPAlgorithm.to_jwk(issuer.keys["ed"][0], as_dict=True), "kid": "ed"}


def short_key() -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65_537, 1_024).public_key()  # noqa: S505 - that is the point
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True), "kid": "short"}


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (lambda _: [], "no public key"),
        (lambda _: [SYMMETRIC], "no public key"),
        (lambda _: [7], "no JWKS"),
        (lambda issuer: [{**key, "kid": 7} for key in json.loads(issuer.jwks("ed"))["keys"]], '"kid" of its own'),
        (lambda issuer: json.loads(issuer.jwks("ed"))["keys"] * 2, '"kid" of its own'),
        (lambda issuer: [private_key(issuer)], "key 1 is private"),
        (lambda _: [short_key()], "too short"),
    ],
)
def test_a_file_of_keys_that_is_not_safe_is_refused(issuer: Any, tmp_path: Path, listed: Any, reason: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": listed(issuer)}))

    with pytest.raises(ConfigError, match=reason):
        Renewed("the token keys", (path,), read_keys)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"keys": 7}', b'{"keys": [{}]}'])
def test_what_is_no_file_of_keys_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no JWKS"):
        read_keys(data)
