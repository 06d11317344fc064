"""Plans of the functions that a connection made at any time of a database's first hours, and keeps."""

from contextlib import ExitStack
from functools import partial

from sqlalchemy import Connection, text

from conversation.ids import new_id
from conversation.message import Message
from conversation.step import Step
from conversation.turn import ClaimedTurn, Completed
from store.database.engine import Database
from store.settings import load
from store.turns import claims, inbox, workers
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendLimits, SendRequest
from store.turns.settle import settle
from tests.integration.plans import rows_read, run_explained

WORKER = new_id()
CLAIMANT = ClaimRequest(worker=WORKER, agents={"assistant": "1"}, max_messages={"assistant": 50})
#: Threads that are there when a plan is made; of a table that nobody analyzed, the planner guesses by its pages.
SIZES = range(0, 601, 60)
#: Threads that are there in the end.
MANY = 3_000
#: Rows that a step of a plan may read where a thread has one turn.
ROWS_MAX = 20
ADD_THREADS = text("""
    insert into threads (tenant, id, metadata, created_at, updated_at)
    select 'default', 'filler-' || n, '{}', now(), now() from generate_series(cast(:first as int), cast(:last as int)) n
""")


def run_turn(connection: Connection, thread: str) -> None:
    """Send, claim and settle, each by its function."""
    request = SendRequest(
        turn_id=new_id(),
        tenant="default",
        thread_id=thread,
        message=Message(role="user", content="hello"),
        agent="assistant",
    )
    inbox.accept(connection, request, SendLimits())
    claimed = claims.claim(connection, "default", thread, CLAIMANT)
    assert isinstance(claimed, ClaimedTurn), claimed
    step = Step(index=0, kind="model", name="m", state="finished", result={"content": "fine"})
    ending = Completed(messages=(Message(role="assistant", content="fine"),), steps=(step,))
    settle(connection, claimed.lease, claimed.id, ending, release=True)


def test_a_turn_reads_its_own_rows_alone_whenever_its_plans_were_made(database_url: str) -> None:
    """A lookup by a tenant and an id may not go by another index of the tenant: beside few, it seems as good."""
    with ExitStack() as opened:
        databases = {}
        threads = 0
        for size in SIZES:
            database = Database(load(database_url=database_url))
            opened.callback(database.close)
            databases[size] = database
            database.run(
                workers.register, worker=WORKER, host="h", pid=1, serves={"assistant": "1"}, lease_duration_seconds=600
            )
            database.run(lambda c, first=threads, last=size: c.execute(ADD_THREADS, {"first": first + 1, "last": last}))
            threads = size
            database.run(run_turn, f"early-{size}")
        database.run(lambda c: c.execute(ADD_THREADS, {"first": threads + 1, "last": MANY}))

        read = {
            (size, node.get("Index Name", node["Node Type"])): rows_read(node)
            for size, database in databases.items()
            for node in run_explained(database, partial(run_turn, thread=f"late-{size}"))
        }

    assert {name: rows for name, rows in read.items() if rows > ROWS_MAX} == {}
