"""Indexes over text: each value that may be stored fits, on every database, however little it can be compressed."""

import random
import re
from collections.abc import Iterator

import pytest
from sqlalchemy import JSON, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint
from sqlalchemy.sql.elements import ClauseElement

from conversation.message import Message
from conversation.thread import Thread
from conversation.validation import ID_MAX_CHARS
from conversation.working_copy import LEADING
from producers.send_options import SendOptions
from producers.send_request import build_request
from store.database.engine import Database
from store.retention import policies
from store.retention.policy import Policy
from store.schedules.request import NAME_MAX_CHARS
from store.settings import load
from store.tables import metadata
from store.thread_store import ThreadStore
from store.threads.search import SEARCHED_CHARS
from store.turns import inbox

#: Bytes of an entry of a B-tree, at most: a third of PostgreSQL's page (BTMaxItemSize).
ENTRY_MAX_BYTES = 2704
#: Bytes of an entry beside its texts: its header, and numbers and times of up to four columns.
OTHER_BYTES = 64
#: The longest id, in bytes of UTF-8; a tenant's name and a hash are ASCII.
ID, TENANT, HASH, WORD = 4 * ID_MAX_CHARS, 63, len("sha256:") + 64, 64

#: Bytes of each text that an index holds, at most. The same checks hold on all databases, since they are Python's.
BOUNDS = {
    "agents.name": WORD,  # agent.agent.TOOL_NAME
    "api_keys.id": WORD,  # store.keys.key_text
    "api_keys.owner": ID,
    "api_keys.tenant": TENANT,
    "archives.sha256": HASH,
    "archives.tenant": TENANT,
    "archives.thread_sha256": HASH,
    "archives.user_sha256": HASH,
    "attachments.message_id": ID,
    "attachments.sha256": HASH,
    "attachments.tenant": TENANT,
    "audit.tenant": TENANT,
    "audit.thread_id": ID,
    "blobs.sha256": HASH,
    "blobs.tenant": TENANT,
    "dropped_files.sha256": HASH,
    "dropped_files.tenant": TENANT,
    "dropped_files.thread_sha256": HASH,
    "dropped_files.user_sha256": HASH,
    "erasure_items.kind": WORD,
    "erasure_items.sha256": HASH,
    "erasures.subject": WORD,
    "erasures.subject_sha256": HASH,
    "erasures.tenant": TENANT,
    "idempotent_answers.id": HASH,
    "inbound_sources.id": WORD,
    "inbound_sources.tenant": TENANT,
    "idempotent_answers.tenant": TENANT,
    "messages.id": ID,
    "renditions.kind": WORD,
    "renditions.rendition_sha256": HASH,
    "renditions.sha256": HASH,
    "pending_deletions.tenant": TENANT,
    "renditions.tenant": TENANT,
    "pending_calls.call_id": WORD,  # agent.pending
    "pending_calls.tenant": TENANT,
    "retention_policies.agent": ID,
    "retention_policies.tenant": TENANT,
    "retention_policies.thread_id": ID,
    "schedule_runs.schedule": WORD,  # names of our own tasks
    "schedules.name": 4 * NAME_MAX_CHARS,
    "schedules.owner": ID,
    "schedules.tenant": TENANT,
    "schedules.thread_id": ID,
    "slack_messages.channel_id": WORD,  # producers.slack.payloads, as the others
    "slack_messages.team_id": WORD,
    "slack_messages.tenant": TENANT,
    "slack_messages.thread_id": ID,
    "slack_messages.ts": WORD,
    "slack_messages.user_id": WORD,
    "thread_context.key": len(LEADING) + ID,
    "threads.agent": ID,
    "threads.begun_in": ID,
    "threads.id": ID,
    "threads.owner": ID,
    "threads.tenant": TENANT,
    "turns.idempotency_key": ID,
    "turns.sender": ID,
    "turns.state": WORD,
    "turns.tenant": TENANT,
    "uploads.tenant": TENANT,
    "webhooks.tenant": TENANT,
}


def test_every_index_over_text_is_over_texts_whose_length_is_bounded() -> None:
    unbounded, too_long = set(), {}
    for name, texts in _list_indexes():
        unbounded |= {text for text in texts if text not in BOUNDS}
        size = OTHER_BYTES + sum(BOUNDS.get(text, 0) for text in texts)
        if size > ENTRY_MAX_BYTES:
            too_long[name] = size

    assert (unbounded, too_long) == (set(), {})
    assert set(BOUNDS) == {text for _, texts in _list_indexes() for text in texts}


def _list_indexes() -> Iterator[tuple[str, list[str]]]:
    """Yield each key and index of a B-tree with the texts that it holds, as table.column."""
    for table in metadata.sorted_tables:
        for key in table.constraints:
            if isinstance(key, PrimaryKeyConstraint | UniqueConstraint):
                yield str(key.name or key), _texts_of(table, list(key.columns))
        for index in table.indexes:
            yield str(index.name), _texts_of(table, _bounded_expressions(index))


def _bounded_expressions(index: Index) -> list[ClauseElement]:
    """What the index holds, without `left(column, number)`, which bounds itself."""
    return [each for each in index.expressions if not re.search(r"\bleft\(\w+, \d+\)", str(each))]


def _texts_of(table: Table, expressions: list[ClauseElement]) -> list[str]:
    names = {name for each in expressions for name in re.findall(r"\w+", str(each).replace(f"{table.name}.", ""))}
    return sorted(
        f"{table.name}.{name}" for name in names & set(table.c.keys()) if isinstance(table.c[name].type, Text | JSON)
    )


@pytest.fixture(params=["functions", "statements", "sqlite"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url")
    opened = Database(load(database_url=url), use_functions=request.param == "functions")
    yield opened
    opened.close()


def _wide(number: int = ID_MAX_CHARS, *, seed: int) -> str:
    """Letters of four bytes each that no compression shortens much."""
    letters = random.Random(seed)
    return "".join(chr(0x20000 + letters.randrange(0xA6D0)) for _ in range(number))


async def test_the_longest_values_that_are_accepted_are_stored_and_found(database: Database) -> None:
    thread_id, user, agent, sender, key = (_wide(seed=seed) for seed in range(5))
    tenant = "t" * TENANT
    store = ThreadStore(database.settings, tenant=tenant)
    thread = Thread(thread_id, user=user, metadata={"user": user}, title="x" * 500)
    thread.messages = [Message(role="system", name=_wide(seed=5), content=_wide(1_000, seed=6))]
    thread.add_message(Message(role="user", id=_wide(seed=7), content=_wide(1_000, seed=8)))
    thread.set_context(_wide(seed=9), "text")
    policy = Policy(tenant=tenant, agent=agent, idle_days=1)

    await store.save_thread(thread)
    options = SendOptions(tenant=tenant, agent=agent, idempotency_key=key, user=sender, allow_unknown_agent=True)
    request = build_request(thread_id, "hello", options, database.settings)
    turn = inbox.accept_alone(database, request)
    again = inbox.accept_alone(database, request)
    database.run(policies.put, policy=policy)

    assert again.turn_id == turn.turn_id
    assert [each.id for each in await store.list_threads(user=user)] == [thread_id]
    assert [each.id for each in await store.find_threads({"user": user})] == [thread_id]
    await store.close()


@pytest.mark.parametrize(
    "separator", [" ", "-", "", " a@b.example/c "], ids=["words", "hyphens", "one word", "addresses"]
)
async def test_a_message_of_any_words_is_indexed(any_database: Database, separator: str) -> None:
    store = ThreadStore(any_database.settings)
    words = [_wide(9, seed=seed) for seed in range(SEARCHED_CHARS // (9 + len(separator)))]

    await store.append("t", Message(role="user", content=f"first {separator.join(words)} last"))

    assert [hit.thread_id for hit in await store.search_messages("first")] == ["t"]
    await store.close()
