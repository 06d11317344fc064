"""Credentials of every form that is not one: none of them lets anybody in, and none stands in a log."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from starlette.datastructures import Headers, QueryParams
from structlog.testing import capture_logs

from producers.http.authenticator import CredentialAuthenticator
from producers.http.principal import Principal
from producers.http.stream_tokens import StreamTokens
from producers.producer import Producer
from store.keys.key_rows import KeyRequest, create_key, revoke_key, rotate_key
from store.keys.key_text import ApiKey, make_key, read_key
from store.settings import load
from store.tables import api_keys
from tests.integration.producers.http.issuer import (
    AUDIENCE,
    NAME,
    claims,
    ec_key,
    encode,
    jwk_of,
    pem_of,
    rsa_key,
    sign,
    token,
)

#: A request: its headers, and its query.
Request = tuple[list[tuple[str, str]], str]
JWKS = json.dumps({"keys": [jwk_of(ec_key(), kid="one"), jwk_of(rsa_key(), kid="two")]})
ANN = Principal(tenant="acme", user="ann", scopes=frozenset({"read", "write"}), credential="ann")


@pytest.fixture(scope="module")
def producer(migrated_file: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Producer]:
    path = tmp_path_factory.mktemp("keys") / "store.db"
    path.write_bytes(migrated_file.read_bytes())
    opened = Producer(
        load(
            database_url=f"sqlite:///{path}",
            gateway_jwt_issuer=NAME,
            gateway_jwt_audience=f"{AUDIENCE},other-api",
            gateway_jwt_keys=JWKS,
            gateway_jwt_algorithms="RS256,ES256",
            gateway_jwt_tenant_claim="tenant",
        )
    )
    yield opened
    opened.close()


@pytest.fixture
def authenticator(producer: Producer) -> CredentialAuthenticator:
    return CredentialAuthenticator(producer)


def new_key(producer: Producer, **request: Any) -> ApiKey:
    key = make_key()
    producer.database.run(create_key, KeyRequest(**{"tenant": "acme", **request}), key)
    return key


def bearer(text: str) -> Request:
    return [("Authorization", f"Bearer {text}")], ""


async def ask(authenticator: CredentialAuthenticator, request: Request) -> Principal | None:
    headers, query = request
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
    return await authenticator.authenticate(Headers(raw=raw), QueryParams(query))


async def test_good_credentials_name_their_bearer(producer: Producer, authenticator: CredentialAuthenticator) -> None:
    key = new_key(producer, user="ann")
    of_tenant = new_key(producer, scopes=["operate"])
    stream = await StreamTokens(producer.database).issue(ANN, "a/ü?", seconds=60)

    of_key = replace(ANN, credential=key.id)
    good: list[tuple[Request, Principal]] = [
        (bearer(key.text), of_key),
        (([("authorization", f"BEARER   {key.text}")], "after=3"), of_key),
        (([("X-Api-Key", key.text)], ""), of_key),
        (
            bearer(of_tenant.text),
            Principal(tenant="acme", user=None, scopes=frozenset({"operate"}), credential=of_tenant.id),
        ),
        (bearer(token()), ANN),
        (bearer(token(header={"kid": "one", "typ": "at+JWT"})), ANN),
        (bearer(token(rsa_key(), header={"kid": "two"}, aud=["x", "other-api"])), ANN),
        (bearer(token(scope=["write", "read", 7, "admin"])), ANN),
        (bearer(token(nbf=time.time() + 20, iat=time.time() + 20, exp=time.time() - 20)), ANN),
        # What a token says of where its key is, is not read.
        (bearer(token(header={"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"})), ANN),
        (([], f"token={stream.token}"), replace(ANN, scopes=frozenset({"read"}), thread_id="a/ü?")),
        (bearer(stream.token), replace(ANN, scopes=frozenset({"read"}), thread_id="a/ü?")),
    ]

    for request, principal in good:
        assert await ask(authenticator, request) == principal, request
    assert await ask(authenticator, bearer(token(scope=None))) == replace(ANN, scopes=frozenset())
    assert await authenticator.authenticate({"Authorization": f"Bearer {key.text}"}, {}) == of_key


def hostile_keys(producer: Producer) -> dict[str, Request]:
    good, text = new_key(producer), new_key(producer).text
    revoked, expired, rotated = new_key(producer), new_key(producer, expires=timedelta(hours=1)), new_key(producer)
    producer.database.run(revoke_key, revoked.id)
    producer.database.run(rotate_key, make_key(rotated.id), grace=timedelta())
    ended = update(api_keys).where(api_keys.c.id == expired.id).values(expires_at=api_keys.c.created_at)
    producer.database.run(lambda connection: connection.execute(ended))
    basic = base64.b64encode(f"{text}:".encode()).decode()
    header = ("Authorization", f"Bearer {text}")
    return {
        "nothing": ([], ""),
        "an empty header": ([("Authorization", "")], ""),
        "a scheme alone": ([("Authorization", "Bearer ")], ""),
        "no scheme": ([("Authorization", text)], ""),
        "another scheme": ([("Authorization", f"Token {text}")], ""),
        "basic": ([("Authorization", f"Basic {basic}")], ""),
        "a scheme without a space": ([("Authorization", f"Bearer{text}")], ""),
        "a tab": ([("Authorization", f"Bearer\t{text}")], ""),
        "white space behind": ([("Authorization", f"Bearer {text} ")], ""),
        "a list": ([("Authorization", f"Bearer {text}, Bearer {text}")], ""),
        "a parameter": ([("Authorization", f'Bearer token="{text}"')], ""),
        "twice the header": ([header, header], ""),
        "two headers": ([header, ("X-Api-Key", text)], ""),
        "twice the other header": ([("X-Api-Key", text), ("x-api-key", text)], ""),
        "a header and a query": ([header], "token=x"),
        "a header and an empty query": ([header], "token="),
        "a header and an empty one": ([header, ("X-Api-Key", "")], ""),
        "a key in the query": ([], f"token={text}"),
        "a key in another query": ([], f"api_key={text}&key={text}&access_token={text}"),
        "a key in a cookie": ([("Cookie", f"token={text}; Authorization={text}")], ""),
        "a scheme in the other header": ([("X-Api-Key", f"Bearer {text}")], ""),
        "a proxy's header": ([("Proxy-Authorization", f"Bearer {text}")], ""),
        "an unknown key": bearer(make_key().text),
        "another secret": bearer(make_key(good.id).text),
        "a revoked key": bearer(revoked.text),
        "an expired key": bearer(expired.text),
        "a secret before, without a grace": bearer(rotated.text),
        "an id": bearer(good.id),
        "an id with its beginning": bearer(f"tmk_{good.id}"),
        "a key's hash": bearer(good.sha256),
        "a truncated key": bearer(text[:-1]),
        "a longer key": bearer(text + "0"),
        "small letters": bearer(text.lower()),
        "a NUL": bearer(text + "\0"),
        "a line feed": bearer(text + "\n"),
        "quoted": bearer(f'"{text}"'),
        "in per cent": bearer(text.replace("_", "%5F")),
        "SQL": bearer("tmk_' or 1=1 --"),
        "a wildcard": bearer("tmk_%"),
        "much": bearer("tmk_" + "0" * 20_000),
        "letters of another script": ([("Authorization", f"Bearer {text.replace('_', 'ÿ')}")], ""),
        "null": bearer("null"),
    }


async def hostile_stream_tokens(producer: Producer) -> dict[str, Request]:
    tokens = StreamTokens(producer.database)
    text = (await tokens.issue(ANN, "t", seconds=60)).token
    body, signature = text.removeprefix("tms_").split(".")
    other = StreamTokens(producer.database)
    other._key = b"0" * 32
    forged = encode({"tenant": "other", "user": None, "thread": "t", "credential": "", "exp": 2**40})
    return {
        "a stream token that is over": ([], f"token={(await tokens.issue(ANN, 't', seconds=-1)).token}"),
        "a stream token of another installation": ([], f"token={(await other.issue(ANN, 't', seconds=60)).token}"),
        "a stream token with other claims": ([], f"token=tms_{forged}.{signature}"),
        "a stream token without a signature": ([], f"token=tms_{body}"),
        "a stream token with an empty signature": ([], f"token=tms_{body}."),
        "a stream token with a shorter signature": ([], f"token={text[:-1]}"),
        "a stream token that is padded": ([], f"token={text}="),
        "a stream token in two": ([], f"token={text}.{signature}"),
        "an empty stream token": ([], "token=tms_."),
        "a stream token with letters of another script": ([], f"token={text}é"),
        "a stream token as a key": ([("X-Api-Key", text)], ""),
        "two stream tokens": ([], f"token={text}&token={text}"),
        "a stream token that is long": ([], f"token=tms_{'A' * 9000}.{signature}"),
    }


def hostile_jwts() -> dict[str, Request]:
    now, good, other = time.time(), token(), ec_key(1)
    head, body, signature = good.split(".")
    deep, twice = b"[" * 5000, b'{"alg": "ES256", "alg": "none"}'
    tokens = {
        # The algorithm is that of the settings, and of the key.
        **{f"alg {alg}": f"{encode({'alg': alg})}.{body}." for alg in ("none", "None", "NONE", "nOnE", "", None, 7)},
        "alg none with a signature": f"{encode({'alg': 'none'})}.{body}.{signature}",
        "no alg": f"{encode({'typ': 'JWT'})}.{body}.{signature}",
        "alg twice": f"{encode(twice)}.{body}.",
        "alg in a list": f"{encode({'alg': ['ES256']})}.{body}.{signature}",
        "HS256 by the public key": sign_secret(pem_of(rsa_key())),
        "HS256 by the public key's kid": sign_secret(pem_of(rsa_key()), kid="two"),
        "HS256 by the JWKS": sign_secret(JWKS),
        "HS256 by nothing": sign_secret(""),
        "RS256 by an EC key": sign({"alg": "RS256", "kid": "one"}, claims(), ec_key()),
        "ES256 by an RSA key": sign({"alg": "ES256", "kid": "two"}, claims(), rsa_key()),
        "an algorithm that is not pinned": sign({"alg": "PS256"}, claims(), rsa_key(), algorithm="PS256"),
        "ES384 of a P-256 key": f"{encode({'alg': 'ES384'})}.{body}.{signature}",
        # The key is one of the issuer's.
        "another key": token(other),
        "another key, named as the issuer's": token(other, header={"kid": "one"}),
        "another key, at its address": token(other, header={"jku": "https://evil.example/jwks", "kid": "x"}),
        "another key, at its certificate's address": token(other, header={"x5u": "https://evil.example/x"}),
        "another key, within": token(other, header={"jwk": jwk_of(other)}),
        "the other key's name": token(header={"kid": "two"}),
        **{
            f"kid {kid!r}": token(header={"kid": kid})
            for kid in ("../../dev/null", "x' union select 'k", "", "/etc/passwd", ["one"], {"kid": "one"}, 1, True)
        },
        "no signature": f"{head}.{body}.",
        "a signature of zeros": f"{head}.{body}.{encode(bytes(64))}",
        "a signature of another token": f"{head}.{body}.{token(sub='bob').split('.')[2]}",
        "other claims": f"{head}.{encode(claims(sub='bob'))}.{signature}",
        "a shorter signature": good[:-2],
        # Extensions, and tokens of other kinds.
        "crit": token(header={"crit": ["exp"], "exp": now + 60}),
        "crit that is unknown": token(header={"crit": ["https://evil.example"]}),
        "crit that is empty": token(header={"crit": []}),
        "b64": token(header={"crit": ["b64"], "b64": False}),
        "b64 without crit": token(header={"b64": False}),
        **{
            f"typ {typ!r}": token(header={"typ": typ})
            for typ in ("logout+jwt", "dpop+jwt", "secevent+jwt", "", 1, None)
        },
        # Times.
        "no exp": token(exp=None),
        "exp that is past": token(exp=now - 31),
        **{
            f"exp {exp!r}": token(payload={**claims(), "exp": exp})
            for exp in ("9999999999", None, True, [], {}, -1, 0, float("inf"), float("nan"), "soon")
        },
        "nbf to come": token(nbf=now + 120),
        "nbf in words": token(nbf="0"),
        "iat to come": token(iat=now + 120),
        **{f"iat {iat!r}": token(iat=iat) for iat in ("0", [], True, float("-inf"))},
        # Whose it is, and for whom.
        "no iss": token(iss=None),
        **{f"iss {iss!r}": token(iss=iss) for iss in ("", "https://evil.example", f"{NAME}/", NAME[:-1], [NAME], 1)},
        "no aud": token(aud=None),
        **{
            f"aud {aud!r}": token(aud=aud)
            for aud in ("", "other", [], ["other"], {AUDIENCE: 1}, [[AUDIENCE]], 1, AUDIENCE + "x", AUDIENCE[:-1])
        },
        "no tenant": token(tenant=None),
        **{
            f"tenant {tenant!r}": token(tenant=tenant)
            for tenant in ("", "a b", "../x", ["acme"], {"id": "acme"}, True, "threadmill.archives", 1.5, "ａcme")
        },
        "no sub": token(sub=None),
        **{f"sub {sub!r}": token(sub=sub) for sub in ("", "a/b", "a b", 7, ["ann"], "..", "a\u200bb", "x" * 256)},
        # No token.
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{head}..{body}.{signature}.{signature}",
        "dots": "..",
        "a payload that is no JSON": sign({"alg": "ES256"}, b"hello", ec_key()),
        "a payload that is a list": sign({"alg": "ES256"}, [claims()], ec_key()),
        "a payload that is deep": sign({"alg": "ES256"}, deep, ec_key()),
        "a payload in UTF-16": sign({"alg": "ES256"}, json.dumps(claims()).encode("utf-16") + b"\xff", ec_key()),
        "a header that is deep": f"{encode(deep)}.{body}.{signature}",
        "a header that is a list": f"{encode([])}.{body}.{signature}",
        "a header that is no text": f"{encode(bytes([255]))}.{body}.{signature}",
        "a number of many digits": sign({"alg": "ES256"}, b'{"exp":' + b"9" * 5000 + b"}", ec_key()),
        "much": token(x="y" * 20_000),
    }
    places: dict[str, Request] = {
        "a JWT in the query": ([], f"token={good}"),
        "a JWT as a key": ([("X-Api-Key", good)], ""),
        "a JWT and a key": ([("Authorization", f"Bearer {good}"), ("X-Api-Key", make_key().text)], ""),
        "a JWT as JSON": bearer(json.dumps({"protected": head, "payload": body, "signature": signature})),
    }
    return places | {name: bearer(text) for name, text in tokens.items()}


def sign_secret(secret: str, **header: Any) -> str:
    """A token signed as if the text that everybody has were a secret."""
    import hashlib
    import hmac

    body = f"{encode({'alg': 'HS256', **header})}.{encode(claims())}"
    return f"{body}.{encode(hmac.digest(secret.encode(), body.encode(), hashlib.sha256))}"


async def test_hostile_credentials_let_nobody_in_and_stand_in_no_log(
    producer: Producer, authenticator: CredentialAuthenticator, caplog: pytest.LogCaptureFixture
) -> None:
    requests = hostile_keys(producer) | await hostile_stream_tokens(producer) | hostile_jwts()
    assert len(requests) > 150

    with capture_logs() as lines, caplog.at_level(0):
        bearers = {name: await ask(authenticator, request) for name, request in requests.items()}

    assert {name: who for name, who in bearers.items() if who is not None} == {}
    logged = repr(lines) + caplog.text
    assert "token_refused" in logged
    assert [name for name, request in requests.items() if any(secret in logged for secret in secrets_of(request))] == []


def secrets_of(request: Request) -> list[str]:
    """The texts of a request that no log may have: secrets of keys, and each part of a token."""
    values = [value for _, value in request[0]] + [request[1]]
    parts = [part for value in values for part in value.replace("=", " ").replace(".", " ").replace("_", " ").split()]
    return [part for part in parts if len(part) > 16 and "openid" not in part]


async def test_what_a_key_is_refused_for_takes_the_same_way(
    producer: Producer, authenticator: CredentialAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that exists is compared as a whole, by its hash and in constant time; else nothing tells the two apart."""
    compared = []
    monkeypatch.setattr(
        "store.keys.lookup.hmac.compare_digest", lambda one, other: compared.append((one, other)) or one == other
    )
    key = new_key(producer)
    rotated = make_key(key.id)
    producer.database.run(rotate_key, rotated)
    wrong = make_key(key.id)

    assert await ask(authenticator, bearer(wrong.text)) is None
    assert await ask(authenticator, bearer(key.text)) is not None

    # Both secrets, whichever it is.
    assert compared == [(stored.sha256, shown.sha256) for shown in (wrong, key) for stored in (rotated, key)]
    assert read_key(wrong.text) == wrong
