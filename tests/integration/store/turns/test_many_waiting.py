"""Ten thousand turns that wait for a person: a sweep reads none of them, and a decision reads its own alone."""

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import text

from conversation.pending_call import Decision
from store.database.engine import Database
from store.settings import load
from store.turns import decisions, sweep, unserved
from store.turns.pending_listing import list_pending
from tests.integration.plans import rows_read, run_explained

TURNS = 10_000
LOAD = """
insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
select 'default', 't' || n, '{{}}', now(), now(), 1 from generate_series(1, {turns}) as n;

insert into turns (id, thread_key, tenant, created_at, agent, metadata, state, attempt, wait_expires_at, window_to_seq)
select gen_random_uuid(), key, 'default', now(), 'assistant', '{{}}', 'waiting', 1, now() + interval '7 days', 1
from threads;

insert into pending_calls (
    turn_id, call_id, tenant, step_index, kind, name, arguments, arguments_digest, requested_at, expires_at
)
select id, 'c', tenant, 1, 'approval', 'refund', '{{}}', '', now() - arrival_seq * interval '1 ms',
    now() + interval '7 days' from turns;

analyze {analyzed}
"""


@pytest.fixture(params=["", "turns, pending_calls"], ids=["all analyzed", "threads not yet"])
def database(database_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    opened = Database(load(database_url=database_url))
    with opened.engine.begin() as connection:
        for statement in LOAD.format(turns=TURNS, analyzed=request.param).split(";"):
            connection.exec_driver_sql(statement)
    yield opened
    opened.close()


def test_waiting_turns_cost_a_sweep_no_row_and_a_decision_its_own(database: Database) -> None:
    for look in (partial(sweep.pick_wake_ups, grace_seconds=0, limit=500), partial(unserved.list_overdue, limit=500)):
        assert max(map(rows_read, run_explained(database, look))) <= 1
    first = text("select turn_id from pending_calls limit 1")
    turn_id = str(database.run(lambda c: c.execute(first).scalar_one()))
    decide = partial(decisions.decide, turn_id=turn_id, call_id="c", decision=Decision.approve(), by="ada")
    assert max(map(rows_read, run_explained(database, decide))) <= 2
    # A page of what a tenant has to decide costs a page.
    listed = run_explained(database, partial(list_pending, tenant="default", limit=20))
    assert max(map(rows_read, listed)) <= 50
