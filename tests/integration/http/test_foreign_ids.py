"""Each operation of the gateway with the ids of another tenant or user: nothing is shown, and nothing is changed.

Under the gateway's role, with both walls; by the queries alone, as the owner of the tables; and by row-level security
alone, where the queries ask for the other tenant's rows.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import ColumnElement, Connection, Table, cast, insert, literal_column, select
from sqlalchemy.types import Text

from conversation.ids import new_id
from conversation.inbound_source import make_source_id
from producers.http import dependencies
from producers.http.app import create_gateway
from producers.http.principal import SCOPES, Principal
from producers.webhooks import Webhooks
from store.database.column_types import clock
from store.database.engine import Database
from store.inbound.sources import InboundSourceRequest, create_source
from store.keys.key_rows import KeyRequest, create_key
from store.keys.key_text import make_key
from store.settings import Settings, load
from store.tables import inbound_sources, metadata, renditions, schedules, summaries, threads, turns, uploads, webhooks
from store.walls.roles import GATEWAY
from store.webhooks.sealed_secrets import SealedSecrets
from tests.integration.http.foreign_ids import (
    ANN,
    ANSWERED,
    CONTENT,
    SECRET,
    SHA256,
    THEIRS,
    WAITING,
    Ids,
    Try,
    list_tries,
)
from tests.integration.store.walls.one_of_each import OURS, as_role
from tests.integration.test_round_trips import Site

PAGE = Path("docs/explanation/security.md")
#: Operations that name nothing of a tenant's.
OPEN = {"GET /health/live", "GET /health/ready"}
#: Who asks: the tenant of an API key, and the user that it is bound to.
STRANGERS = {
    "another tenant": (OURS, None),
    "a user of another tenant, of the same name": (OURS, ANN),
    "another user of the tenant": (THEIRS, "bob"),
}


@dataclass
class Outcome:
    """The tries of one stranger, and those that succeeded."""

    tries: int
    successes: list[str]


class Place:
    """An installation in which one tenant has something of everything."""

    def __init__(self, database_url: str, valkey_url: str, folder: Path) -> None:
        limits = {"gateway_credential_requests_per_minute": 100_000, "gateway_tenant_requests_per_minute": 100_000}
        keys = {"webhook_encryption_keys": Fernet.generate_key().decode()}
        settings = {"broker_url": valkey_url, "file_store_url": str(folder), **limits, **keys}
        self.settings = load(database_url=database_url, **settings)
        self.database = Database(self.settings)
        self.keys: dict[str, str] = {}

    def settings_as(self, role: str | None) -> Settings:
        url = self.settings.database_url.get_secret_value()
        return self.settings.model_copy(update={"database_url": SecretStr(as_role(url, role) if role else url)})

    def make_key(self, tenant: str, user: str | None) -> str:
        """The text of an API key that may do everything."""
        key = make_key()
        self.database.run(create_key, KeyRequest(tenant=tenant, user=user, scopes=SCOPES), key)
        return key.text

    async def fill(self) -> Ids:
        """Have something of everything; returns the ids."""
        verbs = Webhooks(self.database, self.settings)
        webhook = verbs.create(f"https://example.org/{SECRET}", tenant=THEIRS, name=SECRET).webhook.id
        site = Site(self.settings, None)  # type: ignore[arg-type]  # nobody listens to the wire here
        await site.open()
        app = create_gateway(self.settings)
        async with app.router.lifespan_context(app), client_of(app, self.make_key(THEIRS, ANN)) as ann:
            answered_turn = await self._send(ann, ANSWERED)
            await site.answer(site.producer.find_turn(answered_turn, tenant=THEIRS))
            waiting_turn = await self._send(ann, WAITING)
            await ann.put(f"/v1/threads/{ANSWERED}/context/role", json={"content": SECRET})
            place = {"content": SECRET, "cron": "@daily", "thread_id": ANSWERED, "name": SECRET}
            schedule = (await ann.post("/v1/schedules", json=place)).json()["id"]
            cursor = (await ann.get("/v1/threads", params={"limit": 1})).json()["next_cursor"]
        await site.close()
        upload = new_id()
        self.database.run(_insert_the_rest, upload)
        (delivery,) = verbs.list_deliveries(webhook, tenant=THEIRS)
        return Ids(
            answered_turn=answered_turn,
            waiting_turn=waiting_turn,
            upload=upload,
            cursor=cursor,
            webhook=webhook,
            delivery=delivery.id,
            schedule=schedule,
            source=self._make_source(),
        )

    def _make_source(self) -> str:
        mapping = {"thread_id": ANSWERED, "text": SECRET, "idempotency_key": "{/id}"}
        request = InboundSourceRequest(name=SECRET, mapping=mapping, agent="assistant", tenant=THEIRS)
        sealed_secrets = SealedSecrets(self.settings)
        return self.database.run(create_source, make_source_id(), request, f"{SECRET} of theirs", sealed_secrets).id

    async def _send(self, client: httpx.AsyncClient, thread_id: str) -> str:
        thread = {"id": thread_id, "title": SECRET, "metadata": {"number": 7, "words": SECRET}}
        assert (await client.post("/v1/threads", json=thread)).status_code == 201
        answer = await client.post(
            f"/v1/threads/{thread_id}/messages",
            data={"content": SECRET},
            files={"files": (f"{SECRET}.txt", CONTENT, "text/plain")},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["turn"]["id"])


def _insert_the_rest(connection: Connection, upload: str) -> None:
    """What a worker, and a browser's upload, would leave."""
    key = connection.execute(select(threads.c.key).where(threads.c.id == ANSWERED)).scalar_one()
    now = {"created_at": clock()}
    row = {"id": new_id(), "thread_key": key, "from_seq": 1, "to_seq": 1, "content": SECRET, "model": "m"}
    connection.execute(insert(summaries).values(row | now))
    file = {"tenant": THEIRS, "sha256": SHA256}
    connection.execute(insert(renditions).values(file | {"kind": "thumbnail", "rendition_sha256": SHA256}))
    promised = {"id": upload, "filename": f"{SECRET}.txt", "media_type": "text/plain", "size": len(CONTENT)}
    end = {"expires_at": clock(plus_seconds=3600)}
    connection.execute(insert(uploads).values(file | promised | now | end))


def list_rows(connection: Connection) -> dict[str, list[str]]:
    """All rows of Ann's threads, and her upload."""
    hers = select(threads.c.key).where(threads.c.tenant == THEIRS, threads.c.owner == ANN)
    her_turns = select(turns.c.id).where(turns.c.thread_key.in_(hers))
    conditions = {
        threads: threads.c.key.in_(hers),
        uploads: uploads.c.filename.startswith(SECRET),
        webhooks: webhooks.c.name == SECRET,
        schedules: schedules.c.content == SECRET,
        inbound_sources: inbound_sources.c.name == SECRET,
    }
    for table in metadata.sorted_tables:
        if "thread_key" in table.c:
            conditions[table] = table.c.thread_key.in_(hers)
        elif "turn_id" in table.c:
            conditions[table] = table.c.turn_id.in_(her_turns)
    return {table.name: _read_rows(connection, table, is_hers) for table, is_hers in conditions.items()}


def _read_rows(connection: Connection, table: Table, condition: ColumnElement[bool]) -> list[str]:
    whole_row = cast(literal_column(f"{table.name}.*"), Text)
    return sorted(connection.execute(select(whole_row).select_from(table).where(condition)).scalars())


def client_of(app: FastAPI, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://gateway.example", headers=headers, timeout=30)


async def ask(client: httpx.AsyncClient, each: Try) -> httpx.Response:
    request = dict(each.request)
    if "token" in request.get("params", {}):
        # A credential in the header is the one that counts.
        request["headers"] = {"Authorization": ""}
    return await client.request(each.method, each.url, **request)


async def ask_all(client: httpx.AsyncClient, tries: list[Try]) -> AsyncIterator[tuple[Try, httpx.Response]]:
    """Ask in order, what only reads together: some of it waits for something to happen."""
    for _, group in groupby(tries, key=lambda each: each.method == "GET"):
        together = list(group)
        size = len(together) if together[0].method == "GET" else 1
        for start in range(0, len(together), size):
            part = together[start : start + size]
            for each, answer in zip(part, await asyncio.gather(*(ask(client, each) for each in part)), strict=True):
                yield each, answer


async def try_all(place: Place, app: FastAPI, key: str, ids: Ids) -> Outcome:
    """Try everything; what shows a secret, changes a row of theirs, or is not refused is a success."""
    successes = []
    async with client_of(app, key) as client:
        mine = f"mine-{new_id()}"
        await client.post("/v1/threads", json={"id": mine})
        token = (await client.post(f"/v1/threads/{mine}/stream-tokens")).json().get("token", "none")
        tries = list_tries(replace(ids, mine=mine, token=token))
        before = place.database.run(list_rows)
        async for each, answer in ask_all(client, tries):
            is_accepted = each.is_refused and answer.status_code < 400
            if is_accepted or SECRET in answer.text or SECRET in str(answer.headers):
                successes.append(f"{each}: {answer.status_code} {answer.text[:200]}")
        after = place.database.run(list_rows)
        successes += [f"rows of {table} changed" for table in before if before[table] != after[table]]
    return Outcome(len(tries), successes)


@pytest.fixture
async def place(database_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    opened = Place(database_url, valkey_url, tmp_path)
    yield opened
    opened.database.close()


class TheirPrincipal:
    """Takes whoever comes for the other tenant, as a gateway without its first wall would."""

    async def authenticate(self, _headers: object, _query: object) -> Principal:
        return Principal(tenant=THEIRS, scopes=frozenset(SCOPES), credential="stranger")


def take_first_wall_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each query ask for the other tenant's rows, while its transaction acts for ours."""
    acting_for, name_tenant = Database.acting_for, dependencies.name_tenant
    monkeypatch.setattr(Database, "acting_for", lambda self, _: acting_for(self, OURS))
    monkeypatch.setattr(dependencies, "name_tenant", lambda _: name_tenant(OURS))


async def test_no_stranger_sees_or_changes_anything(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await place.fill()
    lines: list[str] = []
    successes: list[str] = []

    async def try_as(name: str, walls: str, app: FastAPI, key: str) -> None:
        outcome = await try_all(place, app, key, ids)
        lines.append(f"| {name} | {walls} | {outcome.tries} | {len(outcome.successes)} |")
        successes.extend(f"{name}, {walls}: {success}" for success in outcome.successes)

    for walls, role in (("the queries alone", None), ("both walls", GATEWAY)):
        app = create_gateway(place.settings_as(role))
        async with app.router.lifespan_context(app):
            for name, (tenant, user) in STRANGERS.items():
                # Each in a tenant of its own: what they make there bears the ids that are tried.
                own_tenant = tenant if tenant == THEIRS else f"{tenant}-{new_id()}"
                await try_as(name, walls, app, place.make_key(own_tenant, user))
    take_first_wall_out(monkeypatch)
    app = create_gateway(place.settings_as(GATEWAY), authenticator=TheirPrincipal())
    async with app.router.lifespan_context(app):
        await try_as("another tenant", "row-level security alone", app, "none")

    assert successes == []
    # As the owner of the tables, whom row-level security does not bind: the first wall is out, and all is open.
    await _check_that_each_try_works(create_gateway(place.settings, authenticator=TheirPrincipal()), "none", ids)
    _check_page(lines)


async def test_whom_it_belongs_to_may_do_all_of_it_under_the_gateways_role(place: Place) -> None:
    ids = await place.fill()

    await _check_that_each_try_works(create_gateway(place.settings_as(GATEWAY)), place.make_key(THEIRS, ANN), ids)


async def _check_that_each_try_works(app: FastAPI, key: str, ids: Ids) -> None:
    failures = []
    async with app.router.lifespan_context(app), client_of(app, key) as client:
        mine = f"mine-{new_id()}"
        assert (await client.post("/v1/threads", json={"id": mine})).status_code == 201
        tries = list_tries(replace(ids, mine=mine, token="none"))
        async for each, answer in ask_all(client, tries):
            if answer.status_code >= (400 if each.is_refused else 500) and not each.fails_anyway:
                failures.append(f"{each}: {answer.status_code} {answer.text[:300]}")

    assert failures == []
    operations = {f"{method.upper()} {path}" for path, of_path in app.openapi()["paths"].items() for method in of_path}
    assert operations - OPEN == {each.operation for each in tries}


def _check_page(lines: list[str]) -> None:
    """The page has the figures of the tests; with WRITE_PAGES, they are written into it."""
    text = PAGE.read_text()
    head = "| who asks | held off by | tries | successes |\n|---|---|---|---|\n"
    before, _, behind = text.partition(head)
    table, _, rest = behind.partition("\n\n")
    if os.environ.get("WRITE_PAGES"):
        PAGE.write_text(before + head + "\n".join(lines) + "\n\n" + rest)
    else:
        assert table.splitlines() == lines
