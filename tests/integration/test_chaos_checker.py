"""The checker of the chaos suite on a real database: what went well is whole, what was planted is named."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import psycopg
import pytest

from agent.files.content_parts import AttachmentParts
from agent.files.prepare import prepare_file
from agent.registry import registered_agents
from agent.tools.thread_pool import ToolThreads
from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.task_contract import WakeUp
from producers import Producer
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.settings import Settings
from store.turns import workers
from store.turns.claims import ClaimRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tests.chaos import effects
from tests.chaos.agents import SHOP_VARIABLE
from tests.chaos.checker import check
from tests.chaos.finding import Finding, Promise
from tests.chaos.gate import Provider
from tests.chaos.model import PROVIDER_VARIABLE
from tests.chaos.picture import Accepted, read
from tests.chaos.sent import Sent
from tests.chaos.shown import read_handles, read_views
from tests.chaos.tickets import CLERK, DECIDED, DESK, FILE_EVERY, RESEARCH, Ticket, Verb, plan

pytestmark = pytest.mark.soak

#: Enough for a file that is sent, one that a tool brings, and several messages on each thread.
TICKETS, THREADS = FILE_EVERY, 2


@dataclass
class Shop:
    """A database in which tickets were answered, and what was accepted there."""

    url: str
    blobs: BlobStore
    accepted: dict[str, Accepted]
    producer: Producer

    def findings(self) -> list[Finding]:
        views, handles = read_views(self.producer), read_handles(self.producer, self.accepted)
        return check(read(self.url, views=views, handles=handles), Sent(accepted=self.accepted), self.blobs.get)

    def change(self, statement: str) -> None:
        """Change what is stored behind everybody's back, foreign keys or not."""
        with psycopg.connect(self.url) as connection:
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(statement).rowcount > 0


@pytest.fixture
async def shop(
    database: Database, database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    """Tickets that were answered by the runner of a worker, with nothing in its way."""
    provider, blobs = Provider(), open_file_store(settings)
    monkeypatch.setenv(PROVIDER_VARIABLE, str(provider.port))
    monkeypatch.setenv(SHOP_VARIABLE, database_url)
    # Nothing is broken here while turns run: they need not take their time.
    monkeypatch.setattr("tests.chaos.model.PAUSE_SECONDS", 0)
    monkeypatch.setattr("tests.chaos.agents.LINGER_SECONDS", 0)
    effects.create(database_url)
    runner = _runner(database, settings, blobs)
    producer = Producer(settings)
    accepted = await _sent(producer, _tickets(), runner)
    yield Shop(database_url, blobs, accepted, producer)
    await producer.close_async()
    provider.close()
    blobs.close()
    await database.close_async()


def _runner(database: Database, settings: Settings, blobs: BlobStore) -> Runner:
    worker, serves = new_id(), {DESK: "1"}
    database.run(workers.register, worker=worker, host="here", pid=1, serves=serves, lease_duration_seconds=600)
    maker = FilePreparer(blobs, database, prepare_file)
    return Runner(
        settings=settings,
        agents=registered_agents(),
        claim_request=ClaimRequest(worker=worker, agents=serves),
        turn_store=TurnStore(database),
        active_runs=ActiveRuns(),
        attachments=AttachmentParts(FileReader(blobs, database, maker.prepare)),
        tool_threads=ToolThreads(4),
        publish_turn_ended=lambda _turn: None,
    )


def _tickets() -> Sequence[Ticket]:
    """Tickets on which nobody has to decide anything."""
    waits = {*DECIDED, RESEARCH, CLERK}
    tickets = [
        each
        for each in plan(8 * TICKETS, THREADS, random.Random(1))
        if each.verb is Verb.SEND and not waits.intersection(each.tools)
    ]
    return tickets[:TICKETS]


async def _sent(producer: Producer, tickets: Sequence[Ticket], runner: Runner) -> dict[str, Accepted]:
    accepted: dict[str, Accepted] = {}
    for ticket in tickets:
        files = [Attachment(filename="notes.txt", content=ticket.file.encode())] if ticket.file else []
        turn = await producer.send_async(ticket.thread, ticket.text, agent=DESK, attachments=files)
        accepted[ticket.ref] = Accepted(turn.id, ticket.tools, ticket.files)
        await runner.run_thread(WakeUp(tenant="default", thread_id=ticket.thread, turn_id=turn.id))
    return accepted


def lose_turn(shop: Shop) -> None:
    shop.change("DELETE FROM turns WHERE arrival_seq = (SELECT max(arrival_seq) FROM turns)")


def leave_turn(shop: Shop) -> None:
    shop.change("UPDATE turns SET state = 'running' WHERE arrival_seq = 1")


def double_effect(shop: Shop) -> None:
    shop.change(
        "INSERT INTO shop.effects (execution, tool, repeatable, turn_id, call_id, idempotency_key, ref, arguments) "
        "SELECT gen_random_uuid(), tool, repeatable, turn_id, call_id, idempotency_key, ref, arguments "
        "FROM shop.effects WHERE NOT repeatable LIMIT 1"
    )


def lose_effect(shop: Shop) -> None:
    shop.change("DELETE FROM shop.effects WHERE at = (SELECT min(at) FROM shop.effects)")


def swap_turns(shop: Shop) -> None:
    """The first turn of a thread behind its second, each whole."""
    shop.change(
        "WITH said AS (SELECT thread_key, turn_id, min(seq) AS first, count(*) AS length FROM messages "
        "GROUP BY thread_key, turn_id), "
        "pair AS (SELECT a.thread_key, a.turn_id AS one, a.length AS one_length, b.turn_id AS two, "
        "b.length AS two_length FROM said a JOIN said b ON a.thread_key = b.thread_key "
        "AND a.first = 1 AND b.first = a.length + 1 LIMIT 1) "
        "UPDATE messages m SET seq = 1000 + seq "
        "+ CASE WHEN m.turn_id = one THEN two_length ELSE -one_length END "
        "FROM pair WHERE m.turn_id IN (one, two)"
    )
    shop.change("UPDATE messages SET seq = seq - 1000 WHERE seq > 1000")


def lose_tool_message(shop: Shop) -> None:
    shop.change("DELETE FROM messages WHERE ctid = (SELECT max(ctid) FROM messages WHERE role = 'tool')")


def leave_lease(shop: Shop) -> None:
    shop.change("UPDATE threads SET lease_owner = gen_random_uuid() WHERE key = 1")


def lose_blob_row(shop: Shop) -> None:
    shop.change("DELETE FROM blobs WHERE sha256 = (SELECT min(sha256) FROM blobs)")


def lose_blob(shop: Shop) -> None:
    (digest, *_) = (blob.sha256 for blob in shop.blobs.list("default"))
    shop.blobs.delete("default", digest)


def lose_attachment(shop: Shop) -> None:
    shop.change("DELETE FROM attachments WHERE ctid = (SELECT min(ctid) FROM attachments)")


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (lose_turn, Promise.DURABLE),
        (leave_turn, Promise.ANSWERED),
        (double_effect, Promise.EFFECTS_ONCE),
        (lose_effect, Promise.ACCOUNTED),
        (swap_turns, Promise.ORDER),
        (lose_tool_message, Promise.WELL_FORMED),
        (leave_lease, Promise.NO_LEASE),
        (lose_blob_row, Promise.BLOBS),
        (lose_blob, Promise.BLOBS),
        (lose_attachment, Promise.DURABLE),
    ],
)
async def test_what_is_planted_is_named_and_what_was_whole_is_not(
    shop: Shop, damage: Callable[[Shop], None], promise: Promise
) -> None:
    assert shop.findings() == []

    damage(shop)

    assert promise in {finding.promise for finding in shop.findings()}
