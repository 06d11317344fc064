"""Credentials at a gateway as it is: what they may do, what its answers give away, and what its logs do not have."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from producers.http import stream_tokens
from producers.http.app import create_gateway
from producers.http.open_access import OpenAccess
from producers.producer import Producer
from store.keys.key_rows import KeyRequest, create_key, list_keys, revoke_key
from store.keys.key_text import ApiKey, make_key
from store.settings import load
from tests.integration.producers.http.issuer import AUDIENCE, NAME, ec_key, pem_of, token


class Site:
    """A gateway, its store, and clients that call it in this process."""

    def __init__(self, url: str) -> None:
        self.producer = Producer(
            load(
                database_url=url,
                broker_url="redis://127.0.0.1:1/0",
                gateway_jwt_issuer=NAME,
                gateway_jwt_audience=AUDIENCE,
                gateway_jwt_keys=pem_of(ec_key()),
                gateway_jwt_algorithms="ES256",
                gateway_jwt_tenant_claim="tenant",
            )
        )
        self.client = self.client_of()

    def client_of(self, **options: Any) -> httpx.AsyncClient:
        app = create_gateway(producer=self.producer, **options)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway.example/v1")

    def new_key(self, **request: Any) -> ApiKey:
        key = make_key()
        self.producer.database.run(create_key, KeyRequest(**{"tenant": "acme", **request}), key)
        return key

    async def ask(self, method: str, path: str, credential: str | None = None, **options: Any) -> httpx.Response:
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        return await self.client.request(method, path, headers=headers, **options)


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[Site]:
    opened = Site(sqlite_url)
    yield opened
    await opened.client.aclose()
    await opened.producer.close_async()


async def test_without_a_credential_that_holds_every_answer_is_the_same(site: Site) -> None:
    known, revoked = site.new_key(), site.new_key()
    site.producer.database.run(revoke_key, revoked.id)
    credentials = [None, "x", make_key().text, make_key(known.id).text, revoked.text, token(aud="other"), "tms_x.y"]

    answers = [await site.ask("GET", "/threads", credential) for credential in credentials]

    seen = {(answer.status_code, answer.headers["www-authenticate"], answer.json()["detail"]) for answer in answers}
    assert seen == {(401, "Bearer", "no valid key or token came with the request")}


async def test_a_scope_includes_no_other(site: Site) -> None:
    calls = {"read": ("GET", "/threads"), "write": ("POST", "/threads"), "operate": ("DELETE", "/threads/x")}
    for scope in calls:
        key = site.new_key(scopes=[scope])
        for needed, (method, path) in calls.items():
            answer = await site.ask(method, path, key.text, **({"json": {}} if method == "POST" else {}))
            assert (answer.status_code == 403) == (scope != needed), (scope, needed, answer.text)


async def test_a_key_of_a_user_and_a_users_jwt_see_that_users_threads_alone(site: Site) -> None:
    of_tenant = site.new_key(scopes=["read", "write"])
    for user in ("ann", "bob"):
        made = await site.ask("POST", "/threads", of_tenant.text, json={"id": f"of-{user}", "user": user})
        assert made.status_code == 201
    others = site.new_key(tenant="other", scopes=["read"])

    for credential in (site.new_key(user="ann").text, token()):
        assert (await site.ask("GET", "/threads/of-ann", credential)).status_code == 200
        hidden, missing = [await site.ask("GET", f"/threads/{name}", credential) for name in ("of-bob", "of-eve")]
        assert (hidden.status_code, missing.status_code) == (404, 404)
        assert hidden.json()["title"] == missing.json()["title"]
        listed = (await site.ask("GET", "/threads", credential)).json()["threads"]
        assert [thread["id"] for thread in listed] == ["of-ann"]
        assert (await site.ask("POST", "/threads/of-bob/stream-tokens", credential)).status_code == 404
    assert (await site.ask("GET", "/threads/of-ann", others.text)).status_code == 404


async def test_a_stream_token_reads_the_events_of_its_thread_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = site.new_key(user="ann")
    for name in ("one", "two"):
        assert (await site.ask("POST", "/threads", key.text, json={"id": name})).status_code == 201

    answer = await site.ask("POST", "/threads/one/stream-tokens", key.text)
    made = answer.json()

    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert 290 < (datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)).total_seconds() <= 300
    query = {"token": made["token"], "wait": "0"}
    assert (await site.ask("GET", "/threads/one/events", params=query)).status_code == 200
    refused = {
        (method, path): (await site.ask(method, path, params={"token": made["token"]})).status_code
        for method, path in (
            ("GET", "/threads/two/events"), ("GET", "/threads/one"), ("GET", "/threads"), ("GET", "/events"),
            ("GET", "/threads/one/messages"), ("POST", "/threads/one/messages"), ("DELETE", "/threads/one"),
            ("POST", "/threads/one/stream-tokens"), ("GET", "/turns/x/events"), ("GET", "/threads/three/events"),
        )
    }  # fmt: skip
    # A route that knows no token says so, to whomever.
    assert set(refused.values()) <= {400, 403}, refused
    # Two credentials are none, and neither is a key in an address.
    assert (await site.ask("GET", "/threads/one/events", key.text, params=query)).status_code == 401
    assert (await site.ask("GET", "/threads/one/events", params={"token": key.text})).status_code == 401

    monkeypatch.setattr(stream_tokens, "time", type("Later", (), {"time": lambda: time.time() + 300}))
    assert (await site.ask("GET", "/threads/one/events", params=query)).status_code == 401


async def test_no_log_and_no_answer_has_a_credential(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    key, jwt = site.new_key(user="ann"), token()
    await site.ask("POST", "/threads", key.text, json={"id": "one"})
    stream_token = (await site.ask("POST", "/threads/one/stream-tokens", key.text)).json()["token"]
    credentials = [key.text, jwt, stream_token, make_key().text, token(ec_key(1)), stream_token + "x"]

    with capture_logs() as lines, caplog.at_level(0):
        answers = [
            await site.ask(method, path, credential, params=params)
            for credential in credentials
            for method, path in (
                ("GET", "/threads/one"),
                ("GET", "/threads/x"),
                ("PUT", "/nowhere"),
                ("POST", "/threads"),
            )
            for params in ({}, {"token": credential}, {"token": credential, "wait": "0"}, {"api_key": credential})
        ]
        for credential in credentials:
            answers += [await site.ask("GET", "/threads/one/events", params={"token": credential, "wait": "0"})]

    # The client of this test writes what it asks for.
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    written = repr(lines) + repr(logged) + "".join(answer.text + repr(answer.headers) for answer in answers)
    assert "http_request" in written
    secrets = [part for text in credentials for part in text.replace(".", "_").split("_") if len(part) > 20]
    assert [secret for secret in secrets if secret in written] == []


async def test_a_use_is_written_after_the_answer_and_at_the_end(sqlite_url: str) -> None:
    site = Site(sqlite_url)
    key, app = site.new_key(), create_gateway(producer=site.producer)
    transport = httpx.ASGITransport(app)

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/v1/threads", headers={"X-Api-Key": key.text})).status_code == 200
        assert site.producer.database.run(list_keys)[0].last_used_at is None
    assert site.producer.database.run(list_keys)[0].last_used_at is not None
    await site.client.aclose()
    await site.producer.close_async()


async def test_an_open_gateway_answers_this_machine_alone(site: Site) -> None:
    with capture_logs():
        client = site.client_of(authenticator=OpenAccess("127.0.0.1"))
    statuses = [
        (await client.post("/threads", json={}, headers={"Host": "localhost:8700", **headers})).status_code
        for headers in ({}, {"Origin": "http://localhost:5173"}, {"Origin": "https://x.org"}, {"Host": "x.org"})
    ]
    await client.aclose()

    assert statuses == [201, 201, 403, 403]
    await asyncio.sleep(0)
