"""What retention costs: an index finds what is due, and a batch is a stated number of statements."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from conversation.ids import new_id
from store import tables
from store.audit import names_files
from store.database.column_types import clock
from store.database.engine import Database
from store.erasure import archives, export_rows, steps
from store.erasure.subject import Subject
from store.retention import deletion, due, move_cut, policies, purge
from store.tables.retention import erasure_items
from tests.integration.store.scenes import TURN, Scene

#: The thread's lock, its state, its policies, how far one rule reaches, where a turn ends there, the entry,
#: the thread, the audit.
MOVE = 8
#: The thread's lock, its entry, what is said, the turns; files and the grace of their blobs, messages; the
#: same of the inbox, journals, inputs, turns; the entry, the summaries and what was carried over with them,
#: the entry's end, the audit.
BATCH = 17
#: The lock, what is left, summaries, context, its policy, the row, the names in the audit, the audit.
ROW = 7
#: A database has to have something to be planned for.
STOCK = """
    insert into threads (tenant, id, metadata, created_at, updated_at)
    select 'tenant-' || n % 20, n, '{}', now(), now() from generate_series(1, 5000) n
"""


#: Archives and audit of a tenant, nearly all of them of others than the one who is erased.
ARCHIVED = """
    insert into archives (tenant, thread_key, thread_sha256, user_sha256, from_seq, to_seq, messages,
        sha256, size, state, created_at)
    select 'default', n / 4, 't-' || n / 4, 'u-' || n / 40, 1, 2, 2, 's-' || n, 1, 'stored', now()
    from generate_series(1, 100000) n
"""
AUDITED = """
    insert into audit (tenant, thread_id, action, details, created_at)
    select 'default', 't-' || n, case when n % 100 = 0 then 'doctor.x' else 'retention.x' end,
        case when n % 100 = 0 then jsonb_build_object('sha256', 's-' || n) else '{"to_seq": 1}' end, now()
    from generate_series(1, 20000) n
"""
ANN = Subject(tenant="default", user="ann")


def plan_of(database: Database, make: Callable[[Connection], Any], *, is_stocked: bool = False) -> str:
    """How PostgreSQL would run it, were the table large: a scan of all of it costs too much then.

    With `is_stocked` it is large, and PostgreSQL is left to choose.
    """

    def explain(connection: Connection) -> str:
        for kind in () if is_stocked else ("seqscan", "bitmapscan"):
            connection.execute(text(f"SET LOCAL enable_{kind} = off"))
        statement = make(connection).compile(connection, compile_kwargs={"literal_binds": True})
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}").scalars()
        return "\n".join(rows)

    return database.run(explain)


@pytest.mark.parametrize(
    ("rule", "index", "filters"),
    [
        ("idle_days", "ix_threads_idle", ["updated_at"]),
        ("max_age_days", "ix_threads_oldest", []),
        ("max_messages", "ix_threads_fullest", ["(last_seq - history_starts_after)"]),
    ],
)
def test_threads_that_are_due_are_found_through_an_index(
    postgres_scene: Scene, rule: str, index: str, filters: list[str]
) -> None:
    """Its condition is the index's, and so is the order: nothing is sorted; what is filtered away is in one step."""
    plan = plan_of(postgres_scene.database, lambda _: due.due_rows("default", "a", rule, 30, after=None))

    assert index in plan
    assert re.search(r"Index Cond: \(\(tenant = 'default'::text\).*[\w)] [<>]=? ", plan), plan
    assert "Sort" not in plan
    # Few are there that were deleted and are shared.
    assert re.findall(r"(?<!Join )Filter: \(\(deleted_at IS NULL\) AND \((.*?) [<>]", plan) == filters


def test_a_limit_of_few_messages_reads_the_threads_of_its_group_in_the_order_of_their_age(
    postgres_scene: Scene,
) -> None:
    """Those of less than a step are in no index of steps; still, nothing is sorted."""
    plan = plan_of(postgres_scene.database, lambda _: due.due_rows("default", "a", "max_messages", 3, after=None))

    assert re.search(r"ix_threads_oldest.*\n *Index Cond: \(\(tenant = ", plan), plan
    assert "Sort" not in plan


def test_whether_a_group_has_threads_that_are_due_is_told_by_indexes(postgres_scene: Scene) -> None:
    """With the groups themselves: no thread is read that is not due."""
    postgres_scene.policy(tenant="default", idle_days=30, max_age_days=365, max_messages=10)
    with postgres_scene.database.engine.begin() as connection:
        connection.execute(text(STOCK))
        connection.execute(text("analyze threads"))
    plan = plan_of(postgres_scene.database, lambda _: due.groups_statement(("", "")))

    for index in ("ix_threads_idle", "ix_threads_oldest", "ix_threads_fullest"):
        assert index in plan
    assert "Seq Scan on threads" not in plan
    # Each rule by all of its index: what is filtered are groups, and the threads of one step.
    filters = {line.partition(" <")[0].partition(" >")[0] for line in re.findall(r"(?<!Join )Filter: (.*)", plan)}
    there = "(deleted_at IS NULL)"
    expected = {f"({there} AND {each}" for each in ("(updated_at", "((last_seq - history_starts_after)")}
    assert filters == {"(tenant IS NOT NULL)", there, *expected}, plan


@pytest.mark.parametrize("tenants", [1, 40])
def test_looking_for_what_is_due_costs_the_same_however_many_tenants_there_are(
    postgres_scene: Scene, tenants: int
) -> None:
    database = postgres_scene.database
    for number in range(tenants):
        postgres_scene.send("hello", tenant=f"t{number}")
    postgres_scene.policy(idle_days=30, max_age_days=365, max_messages=10)

    # The groups, and the threads with a policy of their own; each in a transaction with its limits.
    assert all_statements_of(database, lambda: list(due.find_due_threads(database))) == 2 * 2


def test_a_changed_policy_has_threads_looked_at_again_page_by_page(scene: Scene) -> None:
    for number in range(5):
        scene.send("hello", f"t{number}")
    scene.send("hello", "other", tenant="acme")
    every = tables.threads.update().values(retention_checked_at=clock(), agent="a")
    scene.database.run(lambda c: c.execute(every))
    scene.policy(tenant="default", agent="a", idle_days=30)

    pages = 0
    while scene.database.run(policies.rescan_next_threads, limit=2):
        pages += 1

    assert pages == 3
    assert [scene.row(f"t{number}").retention_checked_at for number in range(5)] == [None] * 5
    assert scene.row("other").retention_checked_at is not None


def test_turns_to_be_purged_are_found_through_an_index(postgres_scene: Scene) -> None:
    plan = plan_of(postgres_scene.database, lambda _: purge.due_turns(30, purge.BEGINNING, 100))

    assert "ix_turns_finished_at" in plan
    # Only those that ended in one moment are sorted.
    assert "Sort" not in plan.replace("Incremental Sort", "").replace("Sort Key", "")


@pytest.fixture
def stocked(postgres_scene: Scene) -> Database:
    """A tenant of which much was archived and told; an erasure is under way."""
    with postgres_scene.database.engine.begin() as connection:
        steps.begin(connection, ANN)
        for statement in (STOCK, ARCHIVED, AUDITED):
            connection.execute(text(statement))
        for table in ("threads", "archives", "audit", "erasures", "erasure_items"):
            connection.execute(text(f"analyze {table}"))
    return postgres_scene.database


def test_archives_of_a_user_are_found_through_indexes_however_many_there_are(stocked: Database) -> None:
    erased = plan_of(stocked, lambda _: archives.archive_rows(new_id(), ANN), is_stocked=True)
    exported = plan_of(stocked, lambda _: export_rows.archive_rows(ANN), is_stocked=True)

    for plan in (erased, exported):
        assert "Seq Scan on archives" not in plan
        assert "ix_archives_tenant_user_sha256" in plan
        assert "ix_archives_thread_key" in plan
    assert "ix_archives_tenant_thread_sha256" in erased


def test_rows_of_the_audit_that_name_a_file_are_found_through_an_index(stocked: Database) -> None:
    items = erasure_items.c
    hashes = select(items.sha256).where(items.kind == "blob")

    told = select(tables.audit.c.key).where(names_files("default", hashes))
    plan = plan_of(stocked, lambda _: told, is_stocked=True)

    assert "ix_audit_names_file" in plan
    assert "Seq Scan on audit" not in plan


def test_a_thread_that_is_not_due_is_not_looked_at(postgres_scene: Scene) -> None:
    for number in range(5):
        postgres_scene.answered(f"t{number}", 1)
    postgres_scene.age(40, "t3")
    postgres_scene.policy(tenant="default", idle_days=30, max_age_days=365, max_messages=TURN)

    assert list(due.find_due_threads(postgres_scene.database)) == [postgres_scene.key("t3")]


def test_a_tenant_with_many_due_threads_is_not_before_all_of_anothers(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "PAGE", 2)
    for thread, tenant in [*((f"t{number}", "a") for number in range(5)), ("t", "b")]:
        postgres_scene.send("hello", thread, tenant=tenant)
    month_ago = text("UPDATE threads SET updated_at = now() - interval '30 days'")
    postgres_scene.database.run(lambda c: c.execute(month_ago) and None)
    postgres_scene.policy(idle_days=7)

    keys = list(due.find_due_threads(postgres_scene.database))

    assert len(keys) == 6
    assert keys[2] == postgres_scene.row("t").key


def test_a_thread_that_is_being_deleted_is_not_looked_at(postgres_scene: Scene) -> None:
    """However many there are: a backlog must not use up the time in which it would be deleted."""
    postgres_scene.answered("t", 2)
    postgres_scene.age(40)
    postgres_scene.policy(tenant="default", idle_days=30, max_messages=1)
    assert list(due.find_due_threads(postgres_scene.database)) == [postgres_scene.key()] * 2
    postgres_scene.cut()

    assert list(due.find_due_threads(postgres_scene.database)) == []


def test_what_was_cut_is_deleted_before_more_is_cut(postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres_scene.answered("t", 2)
    postgres_scene.age(40)
    postgres_scene.policy(tenant="default", idle_days=30)
    postgres_scene.cut()

    def never(_: Database) -> Iterator[int]:
        raise AssertionError("the time is over before")

    monkeypatch.setattr(due, "find_due_threads", never)
    with pytest.raises(AssertionError, match="the time is over"):
        postgres_scene.run()

    assert postgres_scene.row() is None


def test_a_thread_that_keeps_its_last_messages_is_looked_at_once(postgres_scene: Scene) -> None:
    postgres_scene.answered()
    postgres_scene.age(40)
    postgres_scene.policy(tenant="default", max_age_days=30, keep_last=TURN)
    postgres_scene.run()
    postgres_scene.run()

    assert list(due.find_due_threads(postgres_scene.database)) == []
    # A change makes it worth a look again.
    postgres_scene.answered(turns_=1)
    assert list(due.find_due_threads(postgres_scene.database)) == [postgres_scene.key()]


def statements_of(database: Database, operation: Callable[[Connection], Any]) -> int:
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    with database.engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", note)
        assert operation(connection) is not None
    return count


def all_statements_of(database: Database, operation: Callable[[], Any]) -> int:
    """Of all connections of its pool."""
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        operation()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    return count


@pytest.mark.parametrize("turns", [3, 30])
def test_a_cut_and_a_batch_cost_the_same_however_much_there_is(postgres_scene: Scene, turns: int) -> None:
    postgres_scene.answered(turns_=turns)
    postgres_scene.policy(tenant="default", max_messages=TURN)
    key, database = postgres_scene.key(), postgres_scene.database

    assert statements_of(database, partial(move_cut.move_cutoff, key=key)) == MOVE
    assert statements_of(database, partial(deletion.remove_next_batch, key=key)) == BATCH


def test_the_end_of_a_thread_costs_so_many_statements(postgres_scene: Scene) -> None:
    postgres_scene.answered(turns_=2)
    postgres_scene.age(40)
    postgres_scene.policy(tenant="default", idle_days=30)
    postgres_scene.cut()
    postgres_scene.database.run(deletion.remove_next_batch, key=postgres_scene.key())

    removed = partial(deletion.remove_thread, key=postgres_scene.key())

    assert statements_of(postgres_scene.database, removed) == ROW
