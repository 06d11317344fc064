"""Each column that names another row: a foreign one is refused by the database, or is never followed without its owner.

What stays true: a new column that names a row has a key that holds its owner, too, or a reason here.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Table, Text, Uuid, and_, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from conversation.errors import ThreadmillError
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import RefusedTurn
from conversation.water_marks import WaterMarks
from store import tables
from store.database.engine import Database
from store.doctor.checks import upkeep
from store.doctor.inspection import Scope
from store.lineage import row_lineage
from store.retention import archive, legal_holds
from store.retention.cutoff import compute_cutoff
from store.retention.move_cut import columns_at_cutoff
from store.retention.policy import EffectivePolicy
from store.settings import load
from store.summaries import repository
from store.tables import metadata
from store.tables.retention import pending_deletions
from store.thread_store import ThreadStore
from store.threads.thread_views import read_view
from store.threads.visible_threads import Viewer
from store.turns import inbox, records, timeline
from store.turns.claims import ClaimRequest
from store.turns.requeue import requeue as requeue_turn
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
_SLACK = "names what Slack has: there is no row of it"
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
    "inbound_sources.agent": _AGENT,
    "installation.signing_key": "is a secret",
    "messages.tool_call_id": "names a call in another message of the thread, as a provider called it",
    "messages.turn_id": f"{_OUTLIVES}; it is read together with the thread of both",
    "pending_calls.call_id": "is the call's own name, by its turn",
    "pending_calls.decided_by": _PERSON,
    "retention_policies.agent": _AGENT,
    "retention_policies.thread_id": "may come before the thread; it is read by its tenant and this id",
    "retention_rescans.after_id": "is a position in a list of ids",
    "retention_rescans.agent": _AGENT,
    "schedules.agent": _AGENT,
    "schedules.last_turn_id": _OUTLIVES,
    "schedules.owner": _PERSON,
    "schedules.thread_id": "may come before the thread; it is sent to by its tenant and this id",
    "slack_messages.channel_id": _SLACK,
    "slack_messages.claim": _PROCESS,
    "slack_messages.event_id": _SLACK,
    "slack_messages.follows": f"{_OUTLIVES}; it is read by nobody but people",
    "slack_messages.team_id": _SLACK,
    "slack_messages.thread_id": "may come before the thread; it is read by its tenant and this id",
    "slack_messages.turn_id": f"{_OUTLIVES}; it is read together with the tenant of both",
    "slack_messages.user_id": _PERSON,
    "steps.agent": _AGENT,
    "steps.call_id": "is a provider's name of a call",
    "threads.agent": _AGENT,
    "threads.assigned_agent": _AGENT,
    "threads.lease_owner": _PROCESS,
    "threads.owner": _PERSON,
    "turn_attempts.worker_id": _PROCESS,
    "turns.agent": _AGENT,
    "turns.cancel_requested_by": _PERSON,
    "turns.crashed_worker": _PROCESS,
    "turns.idempotency_key": "is the turn's own name, by its tenant",
    "turns.local_process_id": _PROCESS,
    "turns.parent_call_id": "is the other turn's name of its call",
    "turns.parent_turn_id": f"{_OUTLIVES}; it is read among the turns of the same tenant",
    "turns.interrupted_by": f"{_OUTLIVES}; it is read among the turns of the same thread",
    "turns.merged_into": f"{_OUTLIVES}; it is read among the turns of the same thread",
    "turns.requeued_from": f"{_OUTLIVES}; it is read among the turns of the same thread",
    "turns.schedule_id": f"{_OUTLIVES}; it is read among the turns of the schedule's tenant",
    "turns.sender": _PERSON,
    "turns.steers": f"{_OUTLIVES}; it is read among the turns of the same thread",
    "turns.window_summary_id": "is copied out of the thread by the claim, and read by both; a key would lock its row",
    "uploads.owner": _PERSON,
    "webhook_deliveries.claim": "names an attempt, which has no row",
    "webhook_deliveries.turn_id": f"{_OUTLIVES}; it is told, and never followed",
    "webhook_deliveries.webhook_id": "is read with the webhook's tenant; a key would lock its row at each turn's end",
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


def test_what_a_key_looks_up_is_found_by_more_than_its_tenant(database_url: str) -> None:
    """Also in a session that planned it while the tables were empty: it keeps its plan while they fill."""
    database, by_tenant_alone = Database(load(database_url=database_url)), []
    with database.engine.begin() as connection:
        connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        for number, (table, key) in enumerate(list_keys()):
            # Of a row that points: is what it points to there? Of a row that goes: does anything point to it?
            for side, columns in (("up", [e.column for e in key.elements]), ("down", list(key.columns))):
                name = f"{side}_{number}"
                asked = " AND ".join(
                    f'"{column.name}" = ${place}::{column.type.compile(connection.dialect)}'
                    for place, column in enumerate(columns, 1)
                )
                looked_up = columns[0].table.name
                connection.exec_driver_sql(f"PREPARE {name} AS SELECT FROM ONLY {looked_up} WHERE {asked}")
                nothing = ", ".join("NULL" for _ in columns)
                plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN EXECUTE {name}({nothing})").scalars())
                conditions = " ".join(re.findall("Index Cond: (.*)", plan))
                if not any(column.name in conditions for column in columns if column.name != "tenant"):
                    by_tenant_alone.append(f"{table.name} {side}: {plan}")
    database.close()

    assert by_tenant_alone == []


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


CLAIMANT = ClaimRequest(worker=new_id(), agents={"a": "1"})
SECRET = "the other tenant's words"


async def test_an_id_of_another_tenant_is_never_followed(database: Database) -> None:
    """As if code had forgotten it, and the database, too: with its key dropped."""
    ours, theirs = (ThreadStore(database.settings, tenant=tenant) for tenant in (OURS, THEIRS))
    turn_id, key, other_turn, other_summary = await _make_both(database, ours, theirs)
    view = database.run(read_view, Viewer(OURS), "t")
    database.run(_point_to_theirs, key, other_turn, other_summary)

    own_row = select(tables.threads).where(tables.threads.c.key == key)
    thread = database.run(lambda connection: connection.execute(own_row).one())
    policy = EffectivePolicy({"keep_summary": (True, ""), "max_messages": (1, "")})
    marks = WaterMarks(high_messages=2, high_tokens=10**6, low_messages=1, low_tokens=0)
    draft = database.run(repository.load_draft, OURS, "t", marks=marks)
    lines = "".join([line async for line in ours.export_thread("t")])
    replies = database.run(records.read_replies, other_turn)
    entries = database.run(timeline.read_timeline, other_turn, with_text=True).entries
    followed = {
        "the draft of the next summary": draft is None or (draft.previous_content, draft.from_seq) != ("", 1),
        "the cutoff of a policy": database.run(compute_cutoff, thread, policy).to_seq > 0,
        "the columns at a cutoff": database.run(columns_at_cutoff, thread, 0, other_summary)["summary_id"] is not None,
        "an export": SECRET in lines or other_turn in lines,
        "an archive": bool(
            database.run(lambda connection: list(archive._read_turns(connection, row_lineage(key), {other_turn})))
        ),
        "their replies": any(message.content == "ours" for message in replies),
        "their timeline": any("ours" in (entry.text or "") for entry in entries),
        "the view of our thread": database.run(read_view, Viewer(OURS), "t") != view,
        "the doctor": not any(database.run(lambda connection: connection.execute(_select_missing(connection)).all())),
        "a send under their id": _is_accepted_under(database, other_turn),
        "a requeue under their id": _is_requeued_under(database, turn_id, other_turn),
        "a claim": not isinstance(await TurnStore(database).claim(OURS, "t", CLAIMANT), RefusedTurn),
        "a legal hold": _is_withdrawn_by_a_hold(database, other_summary),
    }

    assert [name for name, is_followed in followed.items() if is_followed] == []
    check_tries(
        "ids of another tenant's rows, in rows and requests", tries=len(followed), successes=sum(followed.values())
    )
    for opened in (ours, theirs):
        await opened.close()
    await database.close_async()


def _point_to_theirs(connection: Connection, key: int, other_turn: str, other_summary: str) -> None:
    """Have our thread name their summary, and two messages of ours, a question and a reply, their turn."""
    connection.execute(text("alter table threads drop constraint fk_threads_key_summary_id"))
    connection.execute(update(tables.threads).where(tables.threads.c.key == key).values(summary_id=other_summary))
    is_ours = (tables.messages.c.thread_key == key) & tables.messages.c.seq.in_([2, 4])
    connection.execute(update(tables.messages).where(is_ours).values(turn_id=other_turn))


def _select_missing(connection: Connection) -> Any:
    return upkeep._select_missing_summaries(connection, Scope())


def _is_accepted_under(database: Database, other_turn: str) -> bool:
    request = SendRequest(
        turn_id=other_turn,
        tenant=OURS,
        thread_id="t",
        message=Message(role="user", content="hello"),
        agent="a",
        allow_unknown_agent=True,
    )
    try:
        inbox.accept_alone(database, request)
    except ThreadmillError:
        return False
    return True


def _is_requeued_under(database: Database, turn_id: str, other_turn: str) -> bool:
    """A turn of ours that can be asked anew, under the id of theirs."""
    ended = update(tables.turns).where(tables.turns.c.id == turn_id)
    database.run(lambda connection: connection.execute(ended.values(state="failed", window_to_seq=1)))
    try:
        requeue = partial(requeue_turn, new_turn_id=other_turn, new_message_id=new_id())
        return database.run(requeue, turn_id).is_new
    except ThreadmillError:
        return False
    finally:
        database.run(lambda connection: connection.execute(ended.values(state="queued", window_to_seq=None)))


def _is_withdrawn_by_a_hold(database: Database, other_summary: str) -> bool:
    """A hold that withdraws a cutoff chooses a summary, and withdraws the other."""
    pending = {"tenant": OURS, "cut_before": 0, "deleted_to": 0, "whole": False, "keep_summary": False}
    pending |= {"archive": False, "policy": {}, "created_at": datetime.now(UTC)}
    key = select(tables.threads.c.key).where(tables.threads.c.tenant == OURS).scalar_subquery()
    entry = insert(pending_deletions).values(pending | {"thread_key": key})
    database.run(lambda connection: connection.execute(entry))
    database.run(legal_holds.hold, OURS, "t")
    restored_at = select(tables.summaries.c.restored_at).where(tables.summaries.c.id == other_summary)
    return database.run(lambda connection: connection.execute(restored_at).scalar_one()) is not None


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
        summary = {"id": other_summary, "from_seq": 2, "to_seq": 3, "content": SECRET, "model": "m"}
        connection.execute(insert(tables.summaries).values(of_theirs | summary))
        turn = {"id": other_turn, "tenant": THEIRS, "state": "completed", "agent": "a", "metadata": {"note": SECRET}}
        connection.execute(
            insert(tables.turns).values(of_theirs | turn | {"window_to_seq": 3, "attempt": 1, "fencing_token": 7})
        )
    return turn_id, keys[OURS], other_turn, other_summary
