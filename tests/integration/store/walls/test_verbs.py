"""Each public verb, called by one tenant with the ids of another: nothing is seen, and nothing is changed.

By the first wall alone, as the owner of the tables, whom row-level security does not bind; and by both.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from inspect import signature
from pathlib import Path

import pytest
from sqlalchemy import Connection, cast, literal_column, select
from sqlalchemy.types import Text

import producers
import producers.api
from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.inbound_source import InboundSourceRecord, make_source_id
from conversation.message import Message
from conversation.schedule import ScheduleRecord
from conversation.thread import Thread
from producers import AsyncTurn, Turn
from store.file_store import FileStore
from store.inbound.sources import InboundSourceRequest, create_source
from store.schedules.repository import create_schedule
from store.schedules.request import ScheduleRequest
from store.tables import metadata, threads, turns
from store.thread_store import ThreadStore
from store.walls.roles import GATEWAY
from store.webhooks.sealed_secrets import SealedSecrets
from tests.integration.hostile.stage import Stage
from tests.integration.hostile.verb import Verb
from tests.integration.hostile.verbs import VERBS
from tests.integration.store.walls.one_of_each import OURS, as_role
from tests.tries import check_tries

#: What they say, in every place that holds words.
SECRET = "their-secret-words"
#: Verbs that take nothing of a store's, or open another one: none of another tenant's data is within their reach.
NEEDS_NO_STORE = (
    *("Thread", "Message", "Attachment", "ThreadStore.create", "ThreadStore.open_in_memory", "FileStore."),
    "SlackWorkspace",
)
#: Verbs of a role that may more than the gateway: an operator's, or a worker's.
OPERATORS = ("ThreadStore.erase", "ThreadStore.list_archives", "ThreadStore.restore_archive", "ThreadStore.summarize")


class Theirs(Stage):
    """What the other tenant has."""

    def fill(self) -> None:
        self.file = self.await_(self.files.save(SECRET.encode(), f"{SECRET}.txt"))
        self.say_hello()
        self.turn = self._send("sent")
        self.failed_turn, self.ended_turn = self._send("failed"), self._send("ended")
        for turn in (self.failed_turn, self.ended_turn):
            self.producer.database.run(self._fail, turn.id)
        self.async_turn = self.await_(self.producer.find_turn_async(self.turn.id))
        self.ended_async_turn = self.await_(self.producer.find_turn_async(self.ended_turn.id))
        verbs = self.producer.webhooks
        self.webhook_id = verbs.create(f"https://example.org/{SECRET}", name=SECRET, agents=["nobody"]).webhook.id
        self.lines = []
        self.schedule, self.inbound_source = self._make_schedule(), self._make_inbound_source()

    def _make_schedule(self) -> ScheduleRecord:
        request = ScheduleRequest(content=SECRET, cron="@daily", thread_id="sent", name=SECRET, agent="assistant")
        return self.producer.database.run(create_schedule, new_id(), request)

    def _make_inbound_source(self) -> InboundSourceRecord:
        mapping = {"thread_id": "sent", "text": SECRET, "idempotency_key": "{/id}"}
        request = InboundSourceRequest(name=SECRET, mapping=mapping, agent="assistant")
        secret, keys = f"{SECRET} of theirs", SealedSecrets(self.settings)
        return self.producer.database.run(create_source, make_source_id(), request, secret, keys)

    def _send(self, thread_id: str) -> Turn:
        # The first thread has another id than any of ours, and the same user.
        return self.producer.send(thread_id, SECRET, allow_unknown_agent=True, user="somebody", metadata={"a": SECRET})

    def say_hello(self) -> None:
        file = Attachment(filename=f"{SECRET}.txt", content=SECRET.encode())
        self.await_(self.store.append("t", Message(role="user", content=SECRET, attachments=[file]), user="somebody"))


class Ours(Stage):
    """We, who know all ids of theirs."""

    def __init__(self, theirs: Theirs, role: str | None, valkey_url: str) -> None:
        url = theirs.settings.database_url.get_secret_value()
        super().__init__(as_role(url, role) if role else url, valkey_url, use_functions=True)
        self.blobs = theirs.blobs
        self.producer.__dict__["blobs"] = theirs.blobs
        self.files = FileStore(theirs.blobs, self.settings, tenant=OURS)
        self.store = ThreadStore(self.settings, tenant=OURS, file_store=self.files)
        self._theirs = theirs
        # We know its hash; its name would be ours to give.
        self.file, self.lines = replace(theirs.file, filename="a.txt"), theirs.lines
        self.webhook_id = theirs.webhook_id
        self.schedule, self.inbound_source = theirs.schedule, theirs.inbound_source
        for name in ("turn", "failed_turn", "ended_turn", "async_turn", "ended_async_turn"):
            handle: Turn | AsyncTurn = getattr(theirs, name)
            setattr(self, name, replace(handle, tenant=OURS, connections=self.producer.connections))

    def load(self) -> Thread:
        return self._theirs.load()


@pytest.fixture
def theirs(database_url: str, valkey_url: str) -> Iterator[Theirs]:
    stage = Theirs(database_url, valkey_url, use_functions=True)
    stage.fill()
    yield stage
    stage.close()


def list_rows(connection: Connection) -> dict[str, list[str]]:
    """All rows that are not ours, as the owner sees them."""
    mine = select(threads.c.key).where(threads.c.tenant == OURS)
    my_turns = select(turns.c.id).where(turns.c.tenant == OURS)
    rows = {}
    for table in metadata.sorted_tables:
        statement = select(cast(literal_column(f"{table.name}.*"), Text)).select_from(table)
        if "tenant" in table.c:
            statement = statement.where(table.c.tenant != OURS)
        elif "thread_key" in table.c:
            statement = statement.where(table.c.thread_key.not_in(mine))
        elif "turn_id" in table.c:
            statement = statement.where(table.c.turn_id.not_in(my_turns))
        rows[table.name] = sorted(connection.execute(statement).scalars())
    return rows


@pytest.mark.parametrize("role", [None, GATEWAY])
def test_no_verb_shows_or_changes_what_is_another_tenants(
    role: str | None, theirs: Theirs, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = theirs.producer.database.run(list_rows)
    verbs = {name: verb for name, verb in VERBS.items() if not name.startswith(NEEDS_NO_STORE) and not verb.is_alone}

    with closing(Ours(theirs, role, valkey_url)) as ours:
        monkeypatch.setattr(producers.api, "_default", ours.producer)
        answers = {name: _call(ours, verb) for name, verb in verbs.items()}

    shown = {name: answer for name, answer in answers.items() if SECRET in answer}
    changed = {name for name, rows in theirs.producer.database.run(list_rows).items() if rows != before[name]}
    walls = "the queries alone" if role is None else "both walls"
    check_tries(
        f"verbs with another tenant's ids, held off by {walls}", tries=len(verbs), successes=len(shown) + len(changed)
    )
    assert (shown, changed) == ({}, set())
    if role is not None:
        refused = {name for name, answer in answers.items() if "DatabaseRefused" in answer or "permission" in answer}
        assert {name for name in refused if not name.startswith(OPERATORS)} == set()


async def test_a_store_that_is_bound_is_widened_by_no_filter(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/threads.db"
    theirs = await ThreadStore.create(url)
    await theirs.append("t", Message(role="user", content=SECRET))
    ours = await ThreadStore.create(url, tenant=OURS)
    takes_anything = [
        name
        for name in dir(ThreadStore)
        if not name.startswith("_") and name != "create" and callable(getattr(ThreadStore, name))
        for parameter in signature(getattr(ThreadStore, name)).parameters.values()
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name == "tenant"
    ]
    successes = []

    for name in takes_anything:
        arguments = {"get_or_create_thread": ["t"]}.get(name, [])
        with suppress(InvalidInput):
            successes.append((name, await getattr(ours, name)(*arguments, tenant=theirs.tenant)))
    own_page = await ours.list_threads(tenant=OURS)
    await theirs.close()
    await ours.close()

    assert own_page == []
    assert successes == []
    check_tries(
        "filters that name another tenant than their store's", tries=len(takes_anything), successes=len(successes)
    )


def _call(stage: Stage, verb: Verb) -> str:
    """Call a verb with valid arguments, under our own tenant; returns all that comes back, as text."""
    arguments = {name: OURS if name == "tenant" else make(stage) for name, make in verb.arguments.items()}
    passed = {name: value for name, value in arguments.items() if SECRET in repr(value)}
    try:
        result = stage.await_(verb.call(stage, **arguments))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return f"{type(error).__name__}: {error}"
    # A file that was passed may come back.
    return (
        ""
        if any(value is result for value in passed.values())
        else f"{result!r} {vars(result) if hasattr(result, '__dict__') else ''}"
    )
