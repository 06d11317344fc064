"""The whole pipeline under roles that own nothing: a backend, a worker and maintenance, each with its own login."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url, update

from agent.agent import Agent
from conversation.attachment import Attachment
from conversation.errors import TurnNotFound
from conversation.turn import TurnState
from producers import Producer
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.doctor import Examination
from store.retention import policies
from store.retention.policy import Policy
from store.settings import Settings, load
from store.tables import statistics, turns
from store.thread_store import ThreadStore
from store.turns import sweep, workers
from store.turns.unserved import end_overdue, list_overdue
from store.walls.roles import GATEWAY, MAINTENANCE, ROLES, WORKER
from tasks.jobs.collect_files import collect_all
from tasks.jobs.expire_uploads import run_expiry
from tasks.jobs.resume_erasures import resume_erasures
from tasks.jobs.retention import run_purge, run_retention
from tasks.jobs.summaries import run_summaries
from tests.integration.test_round_trips import Site
from threadmill.embedded.postgres import EmbeddedPostgres

TENANT = "acme"
MakeSettings = Callable[[str], Settings]


@pytest.fixture
def settings_of(postgres_server: EmbeddedPostgres, database_url: str, valkey_url: str, tmp_path: Path) -> MakeSettings:
    """Settings under the login of a role."""
    postgres_server.create_logins(ROLES)

    def make(role: str) -> Settings:
        url = postgres_server.url_as(role, str(make_url(database_url).database))
        # A worker whose turn fills a thread asks maintenance for a summary: here nobody listens.
        marks = {"summarize_after_messages": 2, "summarize_keep_messages": 1} if role == MAINTENANCE else {}
        return load(database_url=url, broker_url=valkey_url, file_store_url=str(tmp_path), **marks)

    return make


@pytest.fixture
async def worker(settings_of: MakeSettings) -> AsyncIterator[Site]:
    site = Site(settings_of(WORKER), None)  # type: ignore[arg-type]  # nobody listens to the wire here
    await site.open()
    yield site
    await site.close()


@pytest.fixture
async def backend(settings_of: MakeSettings) -> AsyncIterator[Producer]:
    producer = Producer(settings_of(GATEWAY))
    yield producer
    await producer.close_async()


@pytest.fixture
def maintenance(settings_of: MakeSettings) -> Any:
    database = Database(settings_of(MAINTENANCE))
    yield database
    database.close()


async def test_what_a_backend_sends_is_answered_and_kept_up_by_roles_that_own_nothing(
    worker: Site, backend: Producer, maintenance: Database, settings_of: MakeSettings
) -> None:
    files = open_file_store(maintenance.settings)
    file = Attachment(filename="a.txt", content=b"a note")
    turn = backend.send("t", "hello", tenant=TENANT, user="ann", attachments=[file])
    second = backend.send("t", "and again", tenant=TENANT, user="ann")
    waiting = backend.send("later", "hello", tenant=TENANT, user="ann")

    await worker.answer(turn)
    assert waiting.cancel(by="ann") is TurnState.CANCELLED
    again = backend.requeue(waiting.id, tenant=TENANT)
    await worker.answer(again)

    assert [turn.wait(5).state, second.wait(5).state, again.wait(5).state] == [TurnState.COMPLETED] * 3
    assert len(backend.read_thread("t", tenant=TENANT).messages) == 4
    assert len(backend.list_turns("t", tenant=TENANT)) == 2
    with pytest.raises(TurnNotFound):
        backend.find_turn(turn.id)
    with pytest.raises(TurnNotFound):
        backend.find_turn(turn.id, tenant="other")
    await asyncio.to_thread(_keep_up, maintenance, files)
    await _erase(settings_of(MAINTENANCE), maintenance, files)


def _keep_up(database: Database, files: BlobStore) -> None:
    """Do all that maintenance does by itself, and check that it found something to do."""
    agents = {"assistant": Agent(name="assistant")}
    assert run_summaries(database, database.settings, agents) >= 1
    assert database.run(statistics.refresh)["threads"]["rows"] >= 2
    database.run(sweep.pick_wake_ups, grace_seconds=0, limit=10)
    assert database.run(list_overdue, limit=10) == []
    database.run(workers.forget_dead)
    assert [str(note.finding) for result in _examine(database, files) for note in result.notes] == []
    database.run(policies.put, Policy(tenant=TENANT, max_messages=1, archive=True))
    assert run_retention(database, database.settings).messages >= 1
    run_purge(database, database.settings)
    run_expiry(database, database.settings)
    collect_all(database, database.settings, grace_days=0)


def _examine(database: Database, files: BlobStore) -> list[Any]:
    return list(Examination(database=database, files=files, repairs=True).run())


async def _erase(settings: Settings, database: Database, files: BlobStore) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(await ThreadStore.create(settings=settings, tenant=TENANT))
        certificate = await store.erase(user="ann")
        assert certificate["counts"]["threads"] == 2
        await store.erase(whole_tenant=True)
        resume_erasures(database, files)
        assert await store.count() == 0


def test_a_turn_that_must_end_is_ended_by_maintenance(backend: Producer, maintenance: Database, worker: Site) -> None:
    turn = backend.send("t", "hello", tenant=TENANT)
    maintenance.run(lambda c: c.execute(update(turns).values(deadline=turns.c.created_at)))

    ((tenant, thread_id, *rest),) = maintenance.run(list_overdue, limit=10)
    ended = maintenance.run(end_overdue, tenant, thread_id, *rest, sweeper=worker.worker)

    assert ended is not None
    assert turn.state is TurnState.FAILED


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_change_the_schema_or_undo_a_wall(role: str, settings_of: MakeSettings) -> None:
    url = settings_of(role).database_url.get_secret_value()
    for statement in (
        "CREATE TABLE mine (id int)",
        "ALTER TABLE threads DISABLE ROW LEVEL SECURITY",
        "DROP POLICY threadmill_tenant_1 ON threads",
        "CREATE OR REPLACE FUNCTION threadmill.send_message(text) RETURNS void LANGUAGE sql AS 'SELECT'",
        "SELECT threadmill.send_message('t', 'hello')",
        "TRUNCATE threads",
        "SET ROLE postgres",
        "COPY threads TO PROGRAM 'true'",
    ):
        with psycopg.connect(url) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(statement)
