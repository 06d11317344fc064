"""Each column that names another row: a foreign one is refused by the database, or is never followed without its owner.

What stays true: a new column that names a row has a key that holds its owner, too, or a reason here.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Table, Text, Uuid, and_, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import RefusedTurn
from conversation.water_marks import WaterMarks
from store import tables
from store.database.engine import Database
from store.retention.cutoff import compute_cutoff
from store.retention.policy import EffectivePolicy
from store.settings import load
from store.summaries import repository
from store.tables import metadata
from store.thread_store import ThreadStore
from store.turns import inbox, records, timeline
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from store.turns.turn_store import TurnStore
from tests.integration.store.walls.one_of_each import OURS, THEIRS, Row, Rows, insert_one_of_each
from tests.tries import check_tries

#: How columns are called that name a row.
_NAMES_ROW = re.compile(r"(^|_)(id|key|sha256|owner|sender|worker|agent|claim|by|requeued_from|worker_id)$")
#: The columns that say whose a row is: they stand in the keys beside what the row points to.
_OF_OWNER = {"tenant", "thread_key", "key"}

_OUTLIVES = "outlives what it names"
_PERSON = "names a person, by the caller's own id of them: there is no row of one"
_PROCESS = "names a process, which is no tenant's; its row goes when it is dead"
_HASH = "is a hash of what is gone, or of a secret: nothing is found by it but its own row"
_AGENT = "names an agent, which is no tenant's; a turn may come before its first worker"
#: The columns that name something and are in no foreign key, with the reason.
WITHOUT_KEY = {
    "api_keys.owner": _PERSON,
    "api_keys.previous_sha256": _HASH,
    "api_keys.secret_sha256": _HASH,
    "archives.sha256": "addresses a file in a tenant of ours, which has no rows of blobs",
    "archives.thread_key": _OUTLIVES,
    "archives.thread_sha256": _HASH,
    "archives.user_sha256": _HASH,
    "attachments.message_id": "names a message of the inbox first, of the history then: of its own thread in both",
    "audit.thread_id": _OUTLIVES,
    "blobs.sha256": "is the blob's own name",
    "dropped_files.thread_key": _OUTLIVES,
    "dropped_files.thread_sha256": _HASH,
    "dropped_files.user_sha256": _HASH,
    "erasure_items.sha256": _HASH,
    "erasures.subject_id": _PERSON,
    "erasures.subject_sha256": _HASH,
    "idempotent_answers.claim": "names a run, which has no row",
    "idempotent_answers.made_id": "is there before what is made under it",
    "installation.signing_key": "is a secret",
    "messages.tool_call_id": "names a call in another message of the thread, as a provider called it",
    "messages.turn_id": f"{_OUTLIVES}; it is read together with the thread of both",
    "retention_policies.agent": _AGENT,
    "retention_policies.thread_id": "may come before the thread; it is read by its tenant and this id",
    "retention_rescans.after_id": "is a position in a list of ids",
    "retention_rescans.agent": _AGENT,
    "steps.call_id": "is a provider's name of a call",
    "threads.agent": _AGENT,
    "threads.lease_owner": _PROCESS,
    "threads.owner": _PERSON,
    "turn_attempts.worker_id": _PROCESS,
    "turns.agent": _AGENT,
    "turns.cancel_requested_by": _PERSON,
    "turns.crashed_worker": _PROCESS,
    "turns.idempotency_key": "is the turn's own name, by its tenant",
    "turns.local_process_id": _PROCESS,
    "turns.requeued_from": f"{_OUTLIVES}; it is read among the turns of the same thread",
    "turns.sender": _PERSON,
    "turns.window_summary_id": "is copied out of the thread by the claim, and read by both; a key would lock its row",
    "uploads.owner": _PERSON,
    "uploads.sha256": "is there before the bytes are, and before the row of their blob",
}


def list_keys() -> Iterator[tuple[Table, ForeignKeyConstraint]]:
    for table in metadata.sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
            yield table, key


def names_row(column: Column[Any]) -> bool:
    """Whether a column names a row that is not its own."""
    if column.name in ("id", "key"):
        return False
    return isinstance(column.type, Uuid) or _NAMES_ROW.search(column.name) is not None


def test_each_column_that_names_a_row_has_a_key_or_a_reason() -> None:
    in_keys = {f"{table.name}.{name}" for table, key in list_keys() for name in key.column_keys}
    naming = {
        f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.c if names_row(column)
    }

    assert naming - in_keys == set(WITHOUT_KEY)


def test_a_key_to_a_row_that_is_somebodys_holds_its_owner() -> None:
    """But for a row's only parent, whose it is: a step belongs to its turn."""
    without_owner = [
        f"{table.name}.{key.column_keys[0]}"
        for table, key in list_keys()
        if not _OF_OWNER & set(key.column_keys) and len(table.foreign_key_constraints) > 1
    ]

    assert without_owner == []


def test_the_database_refuses_each_row_that_points_to_a_foreign_one(database_url: str, sqlite_url: str) -> None:
    tries, accepted = 0, []
    for url in (database_url, sqlite_url):
        database = Database(load(database_url=url))
        with database.engine.begin() as connection:
            ours, theirs = (insert_one_of_each(connection, tenant) for tenant in (OURS, THEIRS))
        for table, key in list_keys():
            with database.engine.begin() as connection:
                connection.execute(_update(table, ours[table.name], _own_values(key, ours)))
            for values in (_foreign_values(key, ours, theirs), _values_of_nobody(key, ours)):
                tries += 1
                if _is_accepted(database, _update(table, ours[table.name], values)):
                    accepted.append(f"{table.name} {values}")
        database.close()

    assert accepted == []
    check_tries("rows that point to another's row, or to no row", tries=tries, successes=len(accepted))


def _is_accepted(database: Database, statement: Any) -> bool:
    try:
        with database.engine.begin() as connection:
            connection.execute(statement)
    except IntegrityError:
        return False
    return True


def _own_values(key: ForeignKeyConstraint, rows: Rows) -> Row:
    """The columns of a key, as they point to a row of the same owner."""
    elements = zip(key.column_keys, key.elements, strict=True)
    return {name: rows[key.referred_table.name][element.column.name] for name, element in elements if name != "key"}


def _foreign_values(key: ForeignKeyConstraint, ours: Rows, theirs: Rows) -> Row:
    """The same as they point to another's row; where the key names the owner alone, to nobody's."""
    own, foreign = _own_values(key, ours), _own_values(key, theirs)
    pointing = [name for name in foreign if name not in _OF_OWNER] or (["thread_key"] if "tenant" in own else [])
    is_its_owner = not _OF_OWNER & set(own) or own.keys() == {"thread_key"}
    return _values_of_nobody(key, ours) if is_its_owner else own | {name: foreign[name] for name in pointing}


def _values_of_nobody(key: ForeignKeyConstraint, ours: Rows) -> Row:
    own = _own_values(key, ours)
    columns = {name: key.table.c[name] for name in own}
    pointing = [name for name in own if name not in _OF_OWNER] or [name for name in own if name != "tenant"]
    return own | {name: _name_of_nobody(columns[name]) for name in pointing}


def _name_of_nobody(column: Column[Any]) -> Any:
    if isinstance(column.type, Uuid):
        return new_id()
    return "0" * 64 if isinstance(column.type, Text) else 77_777


def _update(table: Table, row: Row, values: Row) -> Any:
    return update(table).where(and_(*(column == row[column.name] for column in table.primary_key))).values(values)


# Where no key holds, nothing is followed without its owner.


SECRET = "the other tenant's words"


async def test_an_id_of_another_tenant_is_never_followed(database: Database) -> None:
    """As if code had forgotten it, and the database, too: with its keys dropped."""
    ours, theirs = (ThreadStore(database.settings, tenant=tenant) for tenant in (OURS, THEIRS))
    turn_id, key, other_turn, other_summary = await _make_both(database, ours, theirs)
    with database.engine.begin() as connection:
        connection.execute(text("alter table threads drop constraint fk_threads_key_summary_id"))
        connection.execute(update(tables.threads).where(tables.threads.c.key == key).values(summary_id=other_summary))
        # A message of ours that says that it is of their turn.
        is_ours = (tables.messages.c.thread_key == key) & (tables.messages.c.seq == 4)
        connection.execute(update(tables.messages).where(is_ours).values(turn_id=other_turn))

    own_row = select(tables.threads).where(tables.threads.c.key == key)
    thread = database.run(lambda connection: connection.execute(own_row).one())
    marks = WaterMarks(high_messages=2, high_tokens=10**6, low_messages=1, low_tokens=0)
    draft = database.run(repository.load_draft, OURS, "t", marks=marks)
    cutoff = database.run(
        compute_cutoff, thread, EffectivePolicy({"keep_summary": (True, ""), "max_messages": (1, "")})
    )
    claimed = await TurnStore(database).claim(OURS, "t", ClaimRequest(worker=new_id(), agents={"a": "1"}))
    lines = [line async for line in ours.export_thread("t")]
    replies = database.run(records.read_replies, other_turn)
    told = database.run(timeline.read_timeline, other_turn, with_text=True)

    assert isinstance(claimed, RefusedTurn)
    assert (claimed.id, claimed.ending.error.kind) == (turn_id, "unreadable")
    assert draft is not None
    assert (draft.previous_content, draft.from_seq) == ("", 1)
    assert cutoff.to_seq == thread.history_starts_after
    assert SECRET not in "".join(lines)
    assert other_turn not in "".join(lines)
    assert all(message.content != "ours" for message in replies)
    assert all("ours" not in (entry.text or "") for entry in told.entries)
    for opened in (ours, theirs):
        await opened.close()
    await database.close_async()


async def _make_both(database: Database, ours: ThreadStore, theirs: ThreadStore) -> tuple[str, int, str, str]:
    """Our thread with a turn that waits; theirs with a summary and a turn that has ended. Returns ids and our key."""
    await ours.append("t", *(Message(role="user", content="ours") for _ in range(4)))
    await theirs.append("t", Message(role="user", content=SECRET))
    turn_id, other_turn, other_summary = new_id(), new_id(), new_id()
    question = Message(role="user", content="hello")
    request = SendRequest(
        turn_id=turn_id, tenant=OURS, thread_id="t", message=question, agent="a", allow_unknown_agent=True
    )
    database.run(inbox.accept, request=request)
    with database.engine.begin() as connection:
        rows = connection.execute(select(tables.threads.c.tenant, tables.threads.c.key))
        keys = {row.tenant: row.key for row in rows}
        of_theirs = {"thread_key": keys[THEIRS], "created_at": datetime.now(UTC)}
        summary = {"id": other_summary, "from_seq": 1, "to_seq": 3, "content": SECRET, "model": "m"}
        connection.execute(insert(tables.summaries).values(of_theirs | summary))
        turn = {"id": other_turn, "tenant": THEIRS, "state": "completed", "agent": "a", "metadata": {"note": SECRET}}
        connection.execute(insert(tables.turns).values(of_theirs | turn | {"window_to_seq": 0, "attempt": 1}))
    return turn_id, keys[OURS], other_turn, other_summary
