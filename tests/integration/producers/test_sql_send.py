"""`SELECT threadmill.send_message(…)`: what Python's `send_message` stores and refuses, for any language."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from conversation.branch_address import new_branch_id
from conversation.errors import BranchNotFound, IdempotencyConflict, InvalidInput
from conversation.ids import is_our_id
from conversation.validation import ID_MAX_CHARS, check_id
from producers.producer import Producer
from store.branches.branches import choose_branch, make_branch
from store.database.engine import Database
from store.threads.visible_threads import Viewer
from tests.integration.producers.backend import NOTHING, counts, said, turn_row
from tests.integration.producers.test_refusals import REFUSED
from tests.integration.producers.test_roads import rows_of

LATER = datetime(2100, 1, 1, 12, 30, 15, 120, tzinfo=UTC)
Raw = psycopg.Connection[Any]

#: The right that a backend gets: as `docs/how-to/send-from-sql.md` gives it.
GRANTS = """
    GRANT USAGE ON SCHEMA threadmill TO {role};
    GRANT EXECUTE ON FUNCTION threadmill.send_message TO {role};
"""


@pytest.fixture
def raw(database_url: str, worker: str) -> Iterator[Raw]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def send(raw: Raw, thread_id: Any = "t", content: Any = "hello", **options: Any) -> str:
    values = {
        name: Jsonb(value) if name == "metadata" and value is not None else value for name, value in options.items()
    }
    named = "".join(f', "{name}" => %({name})s' for name in values)
    row = raw.execute(
        f"SELECT threadmill.send_message(%(thread_id)s, %(content)s{named})",
        {"thread_id": thread_id, "content": content, **values},
    ).fetchone()
    assert row is not None
    return str(row[0])


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a user": {"user": "auth0|5f7c8ec7"},
    "a user in metadata": {"metadata": {"user": 4.50}},
    "a policy": {"when_busy": "merge", "merge_window": 2.5, "idempotency_key": "k"},
    "everything": {
        "tenant": "acme",
        "user": "ann@example.com",
        "role": "system",
        "agent": "nobody-yet",
        "allow_unknown_agent": True,
        "priority": 9,
        "metadata": {
            "b": [1, 0.1 + 0.2, 1.0, None, True, {"ä": "\U0001f600"}],
            "n": 10**30,
            "f": 1e-7,
            "g": 0.1 + 0.2,
            "\n\x1f\"'": {},
        },
        "not_before": LATER,
        "deadline": LATER + timedelta(microseconds=1),
        "idempotency_key": "k",
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_sql_stores_what_python_stores(
    raw: Raw, producer: Producer, database: Database, options: dict[str, Any]
) -> None:
    content = "  white \n space\t 'quotes' \\ %s $$ \U0001f600 \x01"
    by_sql = send(raw, "t", content, **options | ({"idempotency_key": "sql"} if "tenant" in options else {}))
    assert is_our_id(by_sql)
    assert is_our_id(said(database, by_sql).id)
    by_python = producer.send("t", content, **options | ({"idempotency_key": "py"} if "tenant" in options else {})).id

    stored, expected = rows_of(database, by_sql), rows_of(database, by_python)
    for table, rows in expected.items():
        for one, other in zip(stored[table], rows, strict=True):
            differing = {name for name in one if one[name] != other[name]}
            # A producer notifies by itself.
            assert differing <= {"notified_at", "idempotency_key"}, (table, one, other)


@pytest.mark.parametrize("first", ["sql", "python"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_retry_from_the_other_language_is_the_same_request(
    raw: Raw, producer: Producer, database: Database, first: str, options: dict[str, Any]
) -> None:
    options = options | {"idempotency_key": "k"}
    # Whatever a session's settings are.
    raw.execute("SET extra_float_digits = 0; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'")
    raw.execute("SET standard_conforming_strings = off; SET escape_string_warning = off")
    sends = [lambda: send(raw, **options), lambda: producer.send("t", "hello", **options).id]
    if first == "python":
        sends.reverse()

    ids = {one() for one in (*sends, *sends)}

    assert len(ids) == 1
    assert counts(database)["turns"] == 1
    changed = options | {"priority": 1}
    with pytest.raises(psycopg.errors.UniqueViolation, match=r"^idempotency_key: 'k' was used with another"):
        send(raw, **changed)
    with pytest.raises(IdempotencyConflict):
        producer.send("t", "hello", **changed)


def test_null_is_the_default(raw: Raw, database: Database) -> None:
    turn_id = send(
        raw, agent=None, tenant=None, priority=None, metadata=None, role=None, allow_unknown_agent=None, deadline=None
    )

    row = turn_row(database, turn_id)
    assert (row.agent, row.tenant, row.priority, row.metadata) == ("assistant", "default", 0, {})
    assert said(database, turn_id).role == "user"


#: Of the table of Python's refusals, what a client can send to PostgreSQL and SQL has a parameter for.
REFUSED_BY_SQL = (
    *("thread id empty", "thread id too long", "thread id with a control character", "thread id with a newline"),
    *("thread id with a slash", "thread id with a backslash", "thread id a way up", "tenant empty", "tenant a way up"),
    *("tenant with a slash", "tenant too long", "content too long", "content empty", "content blank"),
    *("metadata too large", "metadata too deep", "priority too high", "priority below zero", "role assistant"),
    *("user empty", "user too long", "user with a newline", "user with an escape", "user with a C1 control"),
    *("user with white space", "user a way up", "user of metadata no id", "user of metadata too long"),
    *("thread id with a space of no width", "thread id turned around", "thread id of a filler", "thread id decomposed"),
    *("thread id with a hidden text", "user with a mark of order", "user decomposed", "user of metadata invisible"),
    *("agent invisible", "idempotency key invisible"),
    *("role tool", "role unheard of", "agent empty", "idempotency key empty", "idempotency key too long"),
)


def test_sql_refuses_what_python_refuses_in_the_same_words(raw: Raw, producer: Producer, database: Database) -> None:
    for name in REFUSED_BY_SQL:
        field, options = REFUSED[name]
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
            send(raw, **options)
        with pytest.raises(InvalidInput) as told:
            producer.send(**{"thread_id": "t", "content": "hello", **options})

        message = str(refused.value.diag.message_primary)
        # How to mend it may differ: SQL sends no files.
        assert message.startswith(f"{field}: {told.value.problem}; "), name
    assert counts(database) == NOTHING


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thread_id": None}, "thread_id: is empty; pass 1 to 255 characters"),
        ({"content": None}, "content: is empty; pass some text"),
        ({"content": " \u3000\n\u2028\x1c"}, "content: is empty; pass some text"),
        ({"thread_id": "a\u2003b"}, "thread_id: holds white space, a slash, or a control character; use letters"),
        ({"metadata": [1]}, "metadata: is no JSON object; pass an object"),
        ({"metadata": {"a": "ä" * 11_000}}, "metadata: has 66009 bytes of JSON; at most 65536 fit"),
        ({"metadata": {"a": 10**400}}, "metadata: holds a number that is NaN, infinite or too large; pass it as text"),
        ({"not_before": "infinity"}, "not_before: is out of range; pass a time between the years 1 and 9999"),
        ({"deadline": "0044-03-15 BC"}, "deadline: is out of range; pass a time between the years 1 and 9999"),
        ({"tenant": "threadmill.archive"}, "tenant: begins with threadmill.; choose another name"),
        ({"agent": "nobody"}, "agent: no worker has ever registered 'nobody' (known: assistant); start a worker"),
    ],
)
def test_each_refusal_says_how_to_mend_it(raw: Raw, database: Database, options: dict[str, Any], message: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"^{re.escape(message)}"):
        send(raw, **options)
    assert counts(database) == NOTHING


IS_ID = """
    CREATE FUNCTION pg_temp.is_id(value text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM threadmill.check_id_v1('id', value);
        RETURN true;
    EXCEPTION WHEN invalid_parameter_value THEN
        RETURN false;
    END $$
"""


def test_sql_takes_the_same_characters_for_invisible(raw: Raw) -> None:
    assigned = [char for char in map(chr, range(1, 0x110000)) if unicodedata.category(char) not in ("Cn", "Co", "Cs")]
    # Behind a letter that nothing composes with.
    shown = [f"q{char}" for char in assigned if is_id(f"q{char}")]
    refused = [f"q{char}" for char in assigned if not is_id(f"q{char}")]
    # Together, as many as fit: each exception is a transaction of its own.
    fitting = ["".join(shown[at : at + ID_MAX_CHARS // 2]) for at in range(0, len(shown), ID_MAX_CHARS // 2)]

    with raw.transaction(force_rollback=True):
        raw.execute(IS_ID)
        accepted = raw.execute("SELECT bool_and(pg_temp.is_id(ids)) FROM unnest(%s::text[]) AS ids", [fitting])
        assert accepted.fetchone() == (True,)
        accepted = raw.execute("SELECT bool_or(pg_temp.is_id(ids)) FROM unnest(%s::text[]) AS ids", [refused])
        assert accepted.fetchone() == (False,)


def is_id(value: str) -> bool:
    try:
        return check_id("id", value) == value
    except InvalidInput:
        return False


def test_a_message_shares_the_fate_of_its_callers_rows(raw: Raw, database: Database) -> None:
    with raw.transaction(force_rollback=True):
        send(raw)
    assert counts(database) == NOTHING

    with raw.transaction():
        kept = send(raw)
        with pytest.raises(psycopg.errors.InvalidParameterValue), raw.transaction():
            send(raw, thread_id="")
    assert turn_row(database, kept).notified_at is None


def test_a_commit_notifies_once_for_each_thread_with_nothing_but_its_key(
    raw: Raw, database: Database, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("LISTEN threadmill_turns")
        with raw.transaction():
            turns = [send(raw, f"t-{number % 3}") for number in range(30)]
            send(raw, "later", not_before=LATER)
        with raw.transaction():
            send(raw, "again", idempotency_key="k")
        send(raw, "again", idempotency_key="k")
        payloads = sorted(each.payload for each in other.notifies(timeout=0.5))

    keys = sorted({str(turn_row(database, turn).thread_key) for turn in turns})
    assert payloads[: len(keys)] == keys
    assert len(payloads) == len(keys) + 1


def test_a_role_that_may_send_can_do_nothing_else(raw: Raw, database_url: str, database: Database) -> None:
    tables = [name for (name,) in raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"turns", "messages", "threads"} <= set(tables)
    role = f"web_{database.url.database}"
    raw.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        web_url = database.url.set(drivername="postgresql", username=role, password="secret")
        with psycopg.connect(web_url.render_as_string(hide_password=False), autocommit=True) as web:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                send(web)
            raw.execute(GRANTS.format(role=role))

            assert send(web)
            # Whatever search_path it has, and whatever it puts in front of our tables.
            web.execute("SET search_path = pg_temp; CREATE TEMPORARY TABLE threads (key int, tenant text, id text)")
            assert send(web, thread_id="another")

            attempts = [f"SELECT * FROM public.{table}" for table in tables]
            attempts += [f"DELETE FROM public.{table}" for table in tables]
            attempts += [
                f"SELECT threadmill.send_message_v1('t', 'x'{', null' * 13})",
                "SELECT threadmill.send_turn_v1(gen_random_uuid(), 'default', 't', 'assistant')",
            ]
            for attempt in attempts:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    web.execute(attempt)
    finally:
        raw.execute(f"DROP OWNED BY {role}")
        raw.execute(f"DROP ROLE {role}")
    assert counts(database)["turns"] == 2


def test_a_message_that_is_to_be_refused_while_its_thread_is_busy_is_refused_with_the_turn(raw: Raw) -> None:
    first = send(raw)

    with pytest.raises(psycopg.errors.ObjectInUse, match=first):
        send(raw, content="two", when_busy="reject")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"when_busy": "later"}, "when_busy: is 'later'; use one of enqueue, reject"),
        ({"when_busy": "merge", "not_before": LATER}, "when_busy: is 'merge' for a message of a later time"),
        ({"merge_window": 61}, "merge_window: is 61; pass at most 60 seconds"),
    ],
)
def test_a_policy_that_is_none_is_refused(raw: Raw, options: dict[str, Any], words: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=re.escape(words)):
        send(raw, **options)


def test_a_message_goes_to_a_branch_as_one_from_python_does(raw: Raw, producer: Producer, database: Database) -> None:
    send(raw, content="before")
    branch = database.run(make_branch, Viewer("default"), "t", branch_id=new_branch_id(), at=None, name="other").id
    database.run(choose_branch, Viewer("default"), "t", "main")

    by_sql = send(raw, branch=branch, idempotency_key="k")
    to_chosen = send(raw)

    assert producer.find_turn(by_sql).record.branch == branch
    assert producer.find_turn(to_chosen).record.branch == producer.find_turn(send(raw, branch="main")).record.branch
    assert producer.send("t", "hello", branch=branch, idempotency_key="k").id == by_sql
    with pytest.raises(psycopg.errors.UniqueViolation):
        send(raw, idempotency_key="k")


def test_a_branch_that_the_thread_has_not_is_refused(raw: Raw, producer: Producer, database: Database) -> None:
    for thread_id, branch in (("t", "main"), ("t", "none")):
        with pytest.raises(psycopg.errors.NoDataFound) as refused:
            send(raw, thread_id, branch=branch)
        with pytest.raises(BranchNotFound) as told:
            producer.send(thread_id, "hello", branch=branch)
        assert refused.value.diag.message_primary == str(told.value)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"^branch: holds white space, a slash"):
        send(raw, branch="a/b")
    assert counts(database) == NOTHING
