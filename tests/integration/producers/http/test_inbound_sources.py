"""Sources of inbound webhooks over HTTP: the life of one, whom they are not shown to, and what is refused."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from conversation.ids import new_id
from conversation.inbound_source import make_source_id
from producers.http.principal import SCOPES
from store import tables
from tests.integration.producers.http.site import Site

MAPPING = {"thread_id": "shop-{/order}", "text": "{/event}", "idempotency_key": "{/id}"}
NEW = {"name": "shop", "mapping": MAPPING, "scheme": "hmac-sha256", "header": "X-Sign", "agent": "assistant"}
#: What a sender has of its own.
THEIR_SECRET = "the secret that a sender made by itself"


@pytest.fixture
def made(site: Site) -> Iterator[dict[str, Any]]:
    answer = site.ask("acme", "POST", "/inbound-sources", json=NEW)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/inbound-sources/{made['source']['id']}"
    yield made
    site.ask("acme", "DELETE", f"/inbound-sources/{made['source']['id']}")


def post(site: Site, source: dict[str, Any], secret: str, **event: str) -> httpx.Response:
    """Post an event, signed, as its sender does."""
    body = json.dumps({"id": new_id(), "event": "late", "order": new_id()} | event).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Sign": signature, "Content-Type": "application/json"}
    return site.ask("nobody", "POST", source["path"].removeprefix("/v1"), content=body, headers=headers)


def rotate(site: Site, path: str, **options: Any) -> Any:
    answer = site.ask("acme", "POST", f"{path}/rotate-secret", json=options)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return answer.json()


def test_the_life_of_a_source(site: Site, made: dict[str, Any]) -> None:
    source, first, order = made["source"], made["secret"], new_id()
    path = f"/inbound-sources/{source['id']}"
    assert source == source | {
        "name": "shop",
        "path": f"/v1/inbound/{source['id']}",
        "scheme": "hmac-sha256",
        "header": "x-sign",
        "mapping": MAPPING | {"user": None, "metadata": {}},
        "only": {},
        "agent": "assistant",
        "when_busy": None,
        "state": "enabled",
    }
    assert site.ask("acme", "GET", path).json() == source
    assert source in site.ask("acme", "GET", "/inbound-sources").json()["sources"]

    received = post(site, source, first, order=order)
    assert (received.status_code, received.json()["is_new"]) == (202, True)
    assert site.ask_turns(f"shop-{order}") == [received.json()["turn_id"]]

    rotated = rotate(site, path, grace_seconds=60)
    assert [post(site, source, secret).status_code for secret in (first, rotated["secret"])] == [202, 202]
    theirs = rotate(site, path, grace_seconds=0, secret=THEIR_SECRET)
    assert theirs["secret"] == THEIR_SECRET
    answers = [post(site, source, secret).status_code for secret in (first, rotated["secret"], THEIR_SECRET)]
    assert answers == [401, 401, 202]

    assert site.ask("acme", "PATCH", path, json={"enabled": False}).json()["state"] == "disabled"
    assert post(site, source, THEIR_SECRET).status_code == 404
    assert site.ask("acme", "PATCH", path, json={"enabled": True}).json()["state"] == "enabled"
    assert post(site, source, THEIR_SECRET).status_code == 202
    assert site.ask("acme", "DELETE", path).status_code == 204
    assert post(site, source, THEIR_SECRET).status_code == 404
    assert site.ask("acme", "GET", path).status_code == 404


def test_a_gateway_that_is_mounted_tells_senders_its_whole_path(site: Site, made: dict[str, Any]) -> None:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(site.app, root_path="/ai/api"), base_url="http://gateway")
    path, headers = f"/v1/inbound-sources/{made['source']['id']}", {"Authorization": "Bearer acme"}

    answer = site.runner.run(client.get(path, headers=headers))

    site.runner.run(client.aclose())
    assert answer.json() == made["source"] | {"path": f"/ai/api{made['source']['path']}"}


def test_a_source_is_of_its_tenant_and_of_no_user(site: Site, made: dict[str, Any]) -> None:
    source = made["source"]
    path, unknown = f"/inbound-sources/{source['id']}", f"/inbound-sources/{make_source_id()}"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("PATCH", "", {"json": {"enabled": False}}),
        ("POST", "/rotate-secret", {"json": {"grace_seconds": 0, "secret": THEIR_SECRET}}),
        ("DELETE", "", {}),
    ]

    for method, end, options in requests:
        refusals = [site.ask("rival", method, f"{each}{end}", **options) for each in (path, unknown)]
        assert [answer.status_code for answer in refusals] == [404, 404], method
        assert site.ask("ada", method, f"{path}{end}", **options).status_code == 403, method
        for scope in {*SCOPES} - {"operate"}:
            assert site.ask(f"only-{scope}", method, f"{path}{end}", **options).status_code == 403, (method, scope)
    for method, options in (("GET", {}), ("POST", {"json": NEW})):
        assert site.ask("ada", method, "/inbound-sources", **options).status_code == 403
        assert site.ask("nobody", method, "/inbound-sources", **options).status_code == 401
    assert site.ask("rival", "GET", "/inbound-sources").json() == {"sources": []}
    assert site.ask("acme", "GET", path).json() == source
    assert post(site, source, made["secret"]).status_code == 202


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "x" * 101}),
        ("mapping.text", {"mapping": {"thread_id": "a", "idempotency_key": "{/id}"}}),
        ("mapping.text", {"mapping": MAPPING | {"text": "{event}"}}),
        ("mapping.agent", {"mapping": MAPPING | {"agent": "{/agent}"}}),
        ("mapping.metadata.order", {"mapping": MAPPING | {"metadata": {"order": "{"}}}),
        ("scheme", {"scheme": "md5"}),
        ("header", {"header": None}),
        ("header", {"header": "X Sign"}),
        ("only", {"only": {"event": ["late"]}}),
        ("only", {"only": {"/event": [["late"]]}}),
        ("agent", {"agent": "a b"}),
        ("when_busy", {"when_busy": "wait"}),
        ("priority", {"priority": 10}),
        ("max_bytes", {"max_bytes": 2**30}),
        ("secret", {"secret": "too short"}),
        ("tenant", {"tenant": "rival"}),
    ],
)
def test_what_no_source_can_have_is_refused_by_its_field(site: Site, field: str, changes: dict[str, Any]) -> None:
    answer = site.ask("acme", "POST", "/inbound-sources", json=NEW | changes)

    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_what_no_secret_can_be_is_refused_and_not_repeated(site: Site, made: dict[str, Any]) -> None:
    path = f"/inbound-sources/{made['source']['id']}"
    for field, options in {
        "secret": {"secret": f" {THEIR_SECRET}"},
        "grace_seconds": {"secret": THEIR_SECRET, "grace_seconds": -1},
        "secrets": {"secrets": [THEIR_SECRET]},
    }.items():
        answer = site.ask("acme", "POST", f"{path}/rotate-secret", json=options)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
        assert THEIR_SECRET not in answer.text

    assert post(site, made["source"], made["secret"]).status_code == 202


def test_a_secret_is_in_one_answer_and_neither_stored_nor_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    key = {"Idempotency-Key": new_id()}
    made = [site.ask("acme", "POST", "/inbound-sources", json=NEW, headers=key).json() for _ in range(2)]
    theirs = site.ask("acme", "POST", "/inbound-sources", json=NEW | {"secret": THEIR_SECRET}).json()
    listed = site.ask("acme", "GET", "/inbound-sources").text

    assert made[0]["secret"] != made[1]["secret"]
    assert theirs["secret"] == THEIR_SECRET
    secrets = {each["secret"] for each in (*made, theirs)}
    bodies = site.database.run(
        lambda connection: connection.execute(select(tables.idempotent_answers.c.body)).scalars().all()
    )
    assert not [
        secret
        for secret in secrets
        for text in (listed, caplog.text, *(body or "" for body in bodies))
        if secret in text
    ]
    for each in (*made, theirs):
        site.ask("acme", "DELETE", f"/inbound-sources/{each['source']['id']}")
