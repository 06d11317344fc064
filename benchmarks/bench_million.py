"""What is often done, beside a million stored threads, against a thousand.

Both databases hold answered threads of one turn and two messages each, and 20,000 turns that nobody came for
(as many as there are threads, in the small one). The operations run alternately, round by round; the medians
count. Loading takes about two minutes.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks.bulk_load import COMMON_WORD, RARE_WORD, load_threads, load_waiting_turns
from benchmarks.stage import Figure, is_quick, measure_seconds, show
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn, Completed, TurnState
from store.database.engine import Database
from store.migrations import upgrade
from store.settings import load
from store.threads import counts, listing, search
from store.turns import claims, inbox, records, sweep, unserved, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendRequest
from threadmill.embedded.postgres import EmbeddedPostgres

FEW, MANY, MANY_QUICK = 1_000, 1_000_000, 20_000
WAITING = 20_000
WARM_ROUNDS, ROUNDS, ROUNDS_QUICK = 2, 15, 3
GRACE_SECONDS = 10
SWEEP_BATCH = 500
#: What was asked for, in milliseconds.
DEMANDS = {"status": 50, "failed turns": 10, "search of a common word": 200, "sweep": 20}
#: So that the next sweep has as much to do.
FORGET_SWEEP = """
    update turns set notified_at = now() - interval '1 min'
    where state = 'queued' and notified_at > now() - interval '50 s'
"""

Operation = Callable[[], Any]


class Installation:
    """A database with so many threads, and the operations to be measured on it."""

    def __init__(self, url: str, threads: int) -> None:
        upgrade(url)
        self._url = url
        with psycopg.connect(url, autocommit=True) as connection:
            load_threads(connection, threads)
            load_waiting_turns(connection, WAITING)
        self.database = Database(load(database_url=url))
        self._numbers = count()
        self._thread = ""
        self._claimed: ClaimedTurn | None = None
        worker, serves = new_id(), {"assistant": "1"}
        register = partial(workers.register, worker=worker, host="", pid=1, serves=serves)
        self.database.run(register, lease_duration_seconds=36_000)
        self._claimant = ClaimRequest(worker=worker, agents=serves)

    def operations(self) -> dict[str, Operation]:
        """The operations by their labels; a claim and a settle go on with what the one before left."""
        run = self.database.run
        failed = partial(records.list_latest, tenant="default", states=[TurnState.FAILED], limit=20)
        list_page = partial(run, listing.list_threads, listing.ThreadFilter(), limit=50)
        return {
            "status": partial(run, counts.stats),
            "failed turns": partial(run, failed),
            "50 threads by creation": list_page,
            "50 threads by update": partial(list_page, order="updated"),
            "search of a rare word": partial(run, search.search_messages, RARE_WORD),
            "search of a common word": partial(run, search.search_messages, COMMON_WORD),
            "sweep": self._sweep,
            "look for overdue turns": partial(run, unserved.list_overdue, limit=SWEEP_BATCH),
            "send": self._send,
            "claim": self._claim,
            "settle": self._settle,
        }

    def undo_sweep(self) -> None:
        """Have the turns wait again that a sweep notified."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(FORGET_SWEEP)

    def _sweep(self) -> None:
        self.database.run(sweep.pick_wake_ups, grace_seconds=GRACE_SECONDS, limit=SWEEP_BATCH)

    def _send(self) -> None:
        self._thread = f"new-{next(self._numbers)}"
        ids = {"turn_id": new_id(), "tenant": "default", "thread_id": self._thread}
        message = Message(role="user", content="Where is my order?")
        self.database.run(inbox.accept, SendRequest(**ids, message=message, agent="assistant"))

    def _claim(self) -> None:
        claimed = self.database.run(claims.claim, "default", self._thread, self._claimant)
        assert isinstance(claimed, ClaimedTurn)
        self._claimed = claimed

    def _settle(self) -> None:
        assert self._claimed is not None
        ending = Completed(messages=(Message(role="assistant", content="It is on its way."),))
        self.database.run(turns.settle, self._claimed.lease, self._claimed.id, ending, release=True)


def main() -> None:
    """Measure each operation on both databases, and show the medians."""
    quick = is_quick(__doc__)
    many, rounds = (MANY_QUICK, ROUNDS_QUICK) if quick else (MANY, ROUNDS)
    with ExitStack() as stack:
        installations = [stack.enter_context(_installed(threads)) for threads in (FEW, many)]
        costs = _measure(installations, rounds)
    figures = [
        Figure(
            f"{label}, beside {threads:,} threads",
            milliseconds,
            "ms",
            base if threads == many else None,
            at_most=DEMANDS.get(label) if threads == many else None,
        )
        for label, (few_costs, many_costs) in costs.items()
        for base in [1000 * median(few_costs)]
        for threads, milliseconds in ((FEW, base), (many, 1000 * median(many_costs)))
    ]
    show("What is often done, beside many threads", figures)


@contextmanager
def _installed(threads: int) -> Iterator[Installation]:
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "server") as server:
        installation = Installation(server.url, threads)
        yield installation
        installation.database.close()


def _measure(installations: Sequence[Installation], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of each operation in each round, on one installation and on the other."""
    all_operations = [installation.operations() for installation in installations]
    costs: dict[str, tuple[list[float], list[float]]] = {label: ([], []) for label in all_operations[0]}
    for number in range(WARM_ROUNDS + rounds):
        for column, (installation, operations) in enumerate(zip(installations, all_operations, strict=True)):
            for label, operation in operations.items():
                seconds = measure_seconds(operation)
                if number >= WARM_ROUNDS:
                    costs[label][column].append(seconds)
            installation.undo_sweep()
    return costs


if __name__ == "__main__":
    main()
