"""JWTs of an issuer whose keys stand at an address: they change, they are away, they are what nobody expects."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from conversation.errors import InvalidSettings
from producers.http import jwt_keys
from producers.http.jwt_access import JwtAccess, takes_jwts
from producers.http.problems import Problem
from store.settings import load
from tests.integration.producers.http.issuer import (
    AUDIENCE,
    NAME,
    KeyServer,
    claims,
    ec_key,
    encode,
    jwk_of,
    pem_of,
    rsa_key,
    sign,
    token,
)

CACHE_SECONDS, REFETCH_SECONDS = 300, 10
BASE = {"gateway_jwt_issuer": NAME, "gateway_jwt_audience": AUDIENCE, "gateway_jwt_tenant": "acme"}
OLD, NEW = ({"kid": name} for name in ("old", "new"))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(jwt_keys, "time", moved)
    return moved


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with KeyServer().running() as running:
        running.serve(jwk_of(ec_key(), **OLD))
        yield running


@pytest.fixture
def access(server: KeyServer, clock: Clock) -> JwtAccess:
    return JwtAccess(load(**BASE, gateway_jwt_jwks_url=server.url))


async def settle() -> None:
    """Let what goes on behind the requests end."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if "_fetch" in repr(task.get_coro())))


async def is_in(access: JwtAccess, *arguments: Any, **values: Any) -> bool:
    return await access.find(token(*arguments, **values)) is not None


async def status_of(access: JwtAccess, text: str) -> int:
    """The status that a bearer meets: 200, 401, or that of a problem."""
    try:
        return 401 if await access.find(text) is None else 200
    except Problem as problem:
        return problem.status


async def test_keys_are_read_once_and_a_new_one_is_known_when_it_is_used_first(
    access: JwtAccess, server: KeyServer, clock: Clock
) -> None:
    old, new = token(header=OLD), token(ec_key(1), header=NEW)
    assert [await status_of(access, old) for _ in range(3)] == [200] * 3
    assert server.requests == 1

    server.serve(jwk_of(ec_key(), **OLD), jwk_of(ec_key(1), **NEW))
    clock.seconds += REFETCH_SECONDS
    statuses = await asyncio.gather(*(status_of(access, text) for text in [new, old, new, new]))

    assert statuses == [200] * 4
    assert server.requests == 2


async def test_unknown_names_have_the_keys_read_now_and_then_only(
    access: JwtAccess, server: KeyServer, clock: Clock
) -> None:
    for n in range(20):
        assert await status_of(access, token(ec_key(1), header={"kid": f"made up {n}"})) == 401
    assert server.requests == 1
    clock.seconds += REFETCH_SECONDS
    for n in range(20):
        assert await status_of(access, token(ec_key(1), header={"kid": f"made up {n}"})) == 401
    assert server.requests == 2


async def test_a_key_that_the_issuer_took_back_ends(access: JwtAccess, server: KeyServer, clock: Clock) -> None:
    assert await is_in(access, header=OLD)

    server.serve(jwk_of(ec_key(1), **NEW))
    clock.seconds += CACHE_SECONDS
    # Read behind the request, which goes by the keys that are there.
    assert await is_in(access, header=OLD)
    await settle()
    assert not await is_in(access, header=OLD)
    assert await is_in(access, ec_key(1), header=NEW)

    # After a long silence, before it.
    server.serve(jwk_of(ec_key(), **OLD))
    clock.seconds += 2 * CACHE_SECONDS
    assert await is_in(access, header=OLD)
    # The issuer may take all of them back.
    server.serve()
    clock.seconds += 2 * CACHE_SECONDS
    assert await status_of(access, token(header=OLD)) == 401


async def test_while_the_keys_are_away_those_that_are_known_go_on(
    access: JwtAccess, server: KeyServer, clock: Clock
) -> None:
    server.status = 500
    with capture_logs() as lines:
        assert await status_of(access, token(header=OLD)) == 503
        assert await status_of(access, token(header=OLD)) == 503
    assert server.requests == 1
    assert [(line["event"], line["reason"]) for line in lines] == [("issuer_keys_not_read", "ValueError")]
    # A token that no issuer can have made is refused, keys or none.
    assert await status_of(access, token(header={"alg": "HS256"})) == 401

    server.serve(jwk_of(ec_key(), **OLD))
    clock.seconds += REFETCH_SECONDS
    assert await status_of(access, token(header=OLD)) == 200

    server.status = 503
    for _ in range(3):
        clock.seconds += 2 * CACHE_SECONDS
        assert await status_of(access, token(header=OLD)) == 200
    # Whether a name is that of a new key, nobody can say now.
    clock.seconds += REFETCH_SECONDS
    assert await status_of(access, token(ec_key(1), header=NEW)) == 503
    assert await status_of(access, token(ec_key(1), header=NEW)) == 503
    assert await status_of(access, token(ec_key(1), header=OLD)) == 401


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', b"\xff", b"[" * 100_000,
        b'{"keys": []' + b" " * jwt_keys.ANSWER_MAX_BYTES + b"}",
    ],
    ids=["nothing", "a page", "a list", "no keys", "an object", "null", "no text", "deep", "long"],
)  # fmt: skip
async def test_an_answer_that_is_no_set_of_keys_is_none(
    access: JwtAccess, server: KeyServer, clock: Clock, content: bytes
) -> None:
    server.content = content
    assert await status_of(access, token(header=OLD)) == 503

    server.serve(jwk_of(ec_key(), **OLD))
    clock.seconds += REFETCH_SECONDS
    assert await status_of(access, token(header=OLD)) == 200


async def test_a_slow_server_and_one_that_sends_elsewhere_are_away(
    access: JwtAccess, server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 302
    assert await status_of(access, token(header=OLD)) == 503
    assert server.requests == 1

    server.status, server.delay_seconds = 200, 30
    monkeypatch.setattr(jwt_keys, "FETCH_SECONDS", 0.5)
    clock.seconds += REFETCH_SECONDS
    assert await status_of(access, token(header=OLD)) == 503
    assert server.requests == 2


async def test_what_in_a_set_is_no_key_for_signatures_is_passed_over(server: KeyServer, clock: Clock) -> None:
    from jwt.algorithms import ECAlgorithm

    access = JwtAccess(load(**BASE, gateway_jwt_jwks_url=server.url))
    good, private = jwk_of(ec_key(), **OLD), ECAlgorithm.to_jwk(ec_key(), as_dict=True)
    server.serve(
        *(None, 7, "x", [], {}, {"kty": "EC"}, {"kty": ["EC"]}, {"kty": "oct", "k": "c2VjcmV0"}),  # type: ignore[arg-type]
        {**good, "use": "enc"},
        {**good, "key_ops": ["encrypt"]},
        {**good, "alg": "RS256"},
        {**good, "alg": ["ES256"]},
        {**good, "x": "AA"},
        {**good, "crv": "secp256k1"},
        {**private, "kid": "old"},
    )
    assert await status_of(access, token(header=OLD)) == 401
    # A secret at an address is everybody's.
    assert await status_of(access, token(header={"alg": "HS256", "kid": "old"})) == 401

    server.serve(None, {"kty": "new"}, {**good, "key_ops": ["verify"], "use": "sig", "alg": "ES256"})  # type: ignore[arg-type]
    clock.seconds += CACHE_SECONDS * 2
    assert await status_of(access, token(header=OLD)) == 200
    assert await status_of(access, token()) == 200


async def test_keys_of_the_settings_are_pem_or_jwks() -> None:
    ec, rsa = token(), token(rsa_key())
    tries: list[tuple[str, str, list[int]]] = [
        (pem_of(ec_key()), "RS256,ES256", [200, 401]),
        (pem_of(rsa_key()), "RS256", [401, 200]),
        (json.dumps(jwk_of(ec_key())), "ES256", [200, 401]),
        (json.dumps({"keys": [jwk_of(ec_key(), kid="a"), jwk_of(rsa_key())]}), "RS256,ES256", [200, 200]),
    ]
    for text, algorithms, statuses in tries:
        access = JwtAccess(load(**BASE, gateway_jwt_keys=text, gateway_jwt_algorithms=algorithms))
        assert [await status_of(access, each) for each in (ec, rsa)] == statuses


async def test_a_secret_key_is_taken_of_the_settings_alone_and_only_where_they_pin_it() -> None:
    secret = b"s" * 32
    keys = json.dumps({"keys": [{"kty": "oct", "k": encode(secret)}, jwk_of(rsa_key(), kid="two")]})
    signed = sign({"alg": "HS256"}, claims(), secret, algorithm="HS256")
    by_public_key = sign({"alg": "HS256", "kid": "two"}, claims(), b"x" * 32, algorithm="HS256")

    pinned = JwtAccess(load(**BASE, gateway_jwt_keys=keys, gateway_jwt_algorithms="HS256,RS256"))
    assert await status_of(pinned, signed) == 200
    assert await status_of(pinned, by_public_key) == 401
    assert await status_of(JwtAccess(load(**BASE, gateway_jwt_keys=keys)), signed) == 401


async def test_claims_are_mapped_as_the_settings_say() -> None:
    base = {**BASE, "gateway_jwt_keys": pem_of(ec_key()), "gateway_jwt_tenant": ""}
    nested = {"app": {"org": 7, "roles": ["tm:read", "tm:operate", "write", "tm:tm:write"]}, "https://x.org/u": "bob"}
    mapped = JwtAccess(
        load(
            **base,
            gateway_jwt_tenant_claim="app.org",
            gateway_jwt_user_claim="https://x.org/u",
            gateway_jwt_scopes_claim="app.roles",
            gateway_jwt_scope_prefix="tm:",
        )
    )
    fixed = JwtAccess(
        load(**{**base, "gateway_jwt_tenant": "one"}, gateway_jwt_user_claim="none", gateway_jwt_scopes="read")
    )

    who = await mapped.find(token(**nested))
    assert who is not None
    assert (who.tenant, who.user, who.scopes) == ("7", "bob", {"read", "operate"})
    # Half of a path names nobody.
    for app in ({}, {"org": None}, {"org": {}}, "org", ["org"], None):
        assert await mapped.find(token(**{**nested, "app": app})) is None
    who = await fixed.find(token(sub=None, tenant="other", scope="operate"))
    assert who is not None
    assert (who.tenant, who.user, who.scopes) == ("one", None, {"read"})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"gateway_jwt_issuer": ""}, "ISSUER"),
        ({"gateway_jwt_audience": ""}, "AUDIENCE"),
        ({"gateway_jwt_keys": ""}, "JWKS_URL and"),
        ({"gateway_jwt_jwks_url": "https://x.org/jwks"}, "JWKS_URL and"),
        ({"gateway_jwt_tenant": ""}, "TENANT and"),
        ({"gateway_jwt_tenant_claim": "org"}, "TENANT and"),
        ({"gateway_jwt_keys": "", "gateway_jwt_jwks_url": "https://x.org", "gateway_jwt_algorithms": "HS256"}, "ALGO"),
        ({"gateway_jwt_algorithms": "none"}, "ALGORITHMS"),
        ({"gateway_jwt_algorithms": "ES256K"}, "ALGORITHMS"),
        ({"gateway_jwt_scopes": "admin"}, "SCOPES"),
        ({"gateway_jwt_tenant": "a b"}, "TENANT"),
        ({"gateway_jwt_keys": "hello"}, "KEYS"),
        ({"gateway_jwt_keys": "{}"}, "KEYS"),
        ({"gateway_jwt_keys": "{"}, "KEYS"),
        ({"gateway_jwt_algorithms": "RS256"}, "KEYS"),
        *(
            ({"gateway_jwt_keys": "", "gateway_jwt_jwks_url": url}, "JWKS_URL")
            for url in ("http://x.org/jwks", "ftp://x", "https://", "x", "file:///etc/passwd", "http://127.0.0.1.x.org")
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidSettings, match=f"THREADMILL_GATEWAY_JWT_.*{named}") as refusal:
        open_access({**BASE, "gateway_jwt_keys": pem_of(ec_key()), **changes})

    assert "BEGIN" not in str(refusal.value)


def open_access(values: dict[str, str]) -> JwtAccess:
    settings = load(**values)
    assert takes_jwts(settings)
    return JwtAccess(settings)


def test_without_an_issuer_no_jwt_is_taken() -> None:
    assert not takes_jwts(load())
