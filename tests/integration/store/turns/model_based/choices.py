"""What the machine may do next, drawn from what there is.

What stays true: a draw depends on the model alone, so that a failing run can be repeated and made
smaller. What is current is drawn more often than what is stale, or nothing would get far.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE
from tests.integration.store.turns.model_based import child_choices as children
from tests.integration.store.turns.model_based import decision_choices as people
from tests.integration.store.turns.model_based import policies
from tests.integration.store.turns.model_based import producer_choices as producers
from tests.integration.store.turns.model_based.draws import first_of, newest_or_any, weighed
from tests.integration.store.turns.model_based.events import (
    ClosesSend,
    Dies,
    Event,
    Fate,
    Race,
    Runs,
    Starts,
    TimePasses,
)
from tests.integration.store.turns.model_based.operations import (
    Beat,
    Claim,
    ForgetDead,
    HeldBy,
    Leave,
    Operation,
    Record,
    Settle,
    Sweep,
    Take,
    TakeBackCrashes,
)
from tests.integration.store.turns.model_based.reference import FORGET, LEASE
from tests.integration.store.turns.model_based.values import Claimed, End, Process

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.machine import Machine

STATES = ("waiting", "started", "finished", "failed", "unknown")
ROLES = ("all", "some", "quarantine", "library")
#: Processes and unfinished turns at most: enough for every meeting that there is.
MANY = 6

fates = st.sampled_from([Fate.LIVES] * 5 + [Fate.DIES_BEFORE, Fate.DIES_AFTER, Fate.TRIES_AGAIN])
#: A process makes its id once: it never runs the same again.
starting_fates = st.sampled_from([Fate.LIVES] * 4 + [Fate.DIES_BEFORE, Fate.DIES_AFTER])
entries = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(STATES)), min_size=1, max_size=3, unique_by=lambda one: one[0]
).map(tuple)
sweeps = st.builds(Sweep, limit=st.sampled_from([500, 500, 1]), max_running=st.sampled_from([0, 0, 1]))
replies = st.sampled_from([("a",), ("a", "b"), ()])
completed = st.builds(End, kind=st.just("completed"), replies=replies, step=st.sampled_from([None, 0, 4]))
ends = st.one_of(
    completed,
    completed,
    st.builds(End, kind=st.just("failed"), replies=replies, error=st.just("model_error")),
    st.builds(End, kind=st.just("cancelled"), replies=replies),
    st.builds(End, kind=st.just("retry"), after=st.sampled_from([0, 5, 40]), error=st.just("model_error")),
    st.just(End(kind="handback")),
)


def events() -> SearchStrategy[Event]:
    """By weights: how often each kind is drawn, where there is anything to draw it from."""
    return st.runner().flatmap(lambda machine: weighed(_events(machine)))


def _events(machine: "Machine") -> list[tuple[int, SearchStrategy[Any]]]:
    found: list[tuple[int, SearchStrategy[Any]]] = [
        (weight, st.builds(Runs, operations, fates)) for weight, operations in _operations(machine)
    ]
    found += [(4, times(machine)), (1, st.just(Runs(ForgetDead())))]
    if machine.living:
        found += [(2, st.builds(Dies, _living(machine), st.booleans())), (8, races(machine))]
    if len(machine.living) < MANY:
        starts = st.sampled_from(ROLES).map(lambda role: process_of(role, machine.new_id("a")))
        found.append((8 if len(machine.living) < 2 else 1, st.builds(Starts, starts, starting_fates)))
    if machine.open_send is not None:
        found.append((2, st.builds(ClosesSend, st.booleans())))
    elif machine.model.threads:
        found.append((1, producers.sends_in_a_transaction(machine)))
    return found


def _operations(machine: "Machine") -> list[tuple[int, SearchStrategy[Any]]]:
    """Each kind of operation that there is something for."""
    found: list[tuple[int, SearchStrategy[Any]]] = [(2, sweeps)]
    if len(machine.model.unfinished()) < MANY:
        found.append((9, producers.sends(machine)))
    if machine.model.turns:
        found += [(2, producers.cancels(machine)), (2, producers.requeues(machine))]
        found += _of_people(machine)
    if machine.living:
        found.append((3, _hearts(machine)))
    if machine.living and machine.model.threads:
        found.append((8, claims(machine)))
    if machine.jobs:
        is_steered = any(policies.waiting_for(machine.model, job.turn) for job in machine.jobs)
        found += [(4, records(machine)), (9 if is_steered else 1, takes(machine)), (6, settles(machine))]
    if machine.kept:
        found.append((6, goes_on(machine)))
    if machine.seen:
        found.append((2, newest_or_any(machine.seen)))
    return found


def _of_people(machine: "Machine") -> list[tuple[int, SearchStrategy[Any]]]:
    found: list[tuple[int, SearchStrategy[Any]]] = []
    if any(turn.calls for turn in machine.model.turns.values()):
        found.append((8 if people.open_calls(machine) else 1, people.decides(machine)))
    if any(process.is_library for process in machine.living):
        found.append((1, people.adopts(machine)))
    return found


# Workers


def process_of(role: str, worker: str) -> Process:
    match role:
        case "some":
            return Process(id=worker, agents=("assistant",), max_running=1)
        case "quarantine":
            return Process(id=worker, runs_quarantine=True)
        case "library":
            return Process(id=worker, is_library=True)
    return Process(id=worker)


def healers(worker: str, quarantine: str) -> dict[str, Process]:
    """By the queue that they listen to; they serve every agent."""
    agents = ("assistant", "clerk", "ghost")
    return {
        TURNS_QUEUE: Process(id=worker, agents=agents),
        QUARANTINE_QUEUE: Process(id=quarantine, agents=agents, runs_quarantine=True),
    }


def _living(machine: "Machine") -> SearchStrategy[Process]:
    return st.sampled_from(list(machine.living))


def _hearts(machine: "Machine") -> SearchStrategy[Operation]:
    ids = _living(machine).map(lambda process: process.id)
    return st.one_of([st.builds(kind, ids) for kind in (Beat, TakeBackCrashes, HeldBy, HeldBy, Leave)])


def claims(machine: "Machine") -> SearchStrategy[Claim]:
    model = machine.model
    ready = [
        name
        for name, thread in sorted(model.threads.items())
        if not model.is_alive(thread.owner) and (head := model.head(name)) and model.can_start(head)
    ]
    return st.builds(Claim, _living(machine), first_of(ready, sorted(model.threads)))


def goes_on(machine: "Machine") -> SearchStrategy[Claim]:
    def on(job: Claimed) -> Claim:
        who = next(process for process in machine.living if process.id == job.worker)
        return Claim(who, job.thread, held=job.fence)

    return _jobs(machine, machine.kept).map(on)


def _jobs(machine: "Machine", believed: list[Claimed]) -> SearchStrategy[Claimed]:
    current = [job for job in believed if machine.model.holds(job.worker, job.thread, job.fence)]
    return first_of(current, believed[-4:], believed)


def records(machine: "Machine") -> SearchStrategy[Record]:
    """Now and then with something to be decided, while the turn goes on."""
    requests = st.one_of(st.just(()), st.just(()), st.just(()), people.requests(machine))
    return st.builds(Record, _jobs(machine, machine.jobs), entries, requests)


def takes(machine: "Machine") -> SearchStrategy[Take]:
    """At the end of the journal, as a run does that has read all of it; or again at an earlier place."""

    def at_end(job: Claimed, index: int | None) -> Take:
        return Take(job, _next_index(machine, job) if index is None else index)

    return st.builds(at_end, _jobs(machine, machine.jobs), st.sampled_from([None, None, None, 0, 4]))


def _next_index(machine: "Machine", job: Claimed) -> int:
    return max(machine.model.turns[job.turn].steps, default=-1) + 1


def settles(machine: "Machine") -> SearchStrategy[Settle]:
    """Each try has replies of its own, behind what its turn has read."""

    def settle(job: Claimed, end: End, *, release: bool) -> Settle:
        name = machine.new_id("c")
        replies = tuple(f"{name}.{reply}" for reply in end.replies)
        read = machine.model.turns[job.turn].read if end.is_final else ()
        return Settle(job, replace(end, replies=replies, read=read), release=release)

    any_end = st.one_of(ends, ends, ends, people.waits(machine), _asks_others(machine))
    return st.builds(settle, _jobs(machine, machine.jobs), any_end, release=st.booleans())


def _asks_others(machine: "Machine") -> SearchStrategy[End]:
    is_full = len(machine.model.unfinished()) >= MANY
    return people.waits(machine) if is_full else children.waits(machine)


# Time


def times(machine: "Machine") -> SearchStrategy[TimePasses]:
    """Part of a lease, a lease and more, or to the very second at which something is due or over."""
    rows = machine.model.unfinished()
    moments = [moment for turn in rows for moment in (turn.retry_at, turn.not_before, turn.deadline, turn.wait_over_at)]
    left = {(moment or 0) - machine.model.now for moment in (*moments, *machine.model.workers.values())}
    due = sorted(one for one in left if one > 0)
    seconds = st.one_of(st.sampled_from([1, 6, LEASE - 1, LEASE + 1, FORGET + 1]), st.sampled_from(due or [LEASE]))
    return st.builds(TimePasses, seconds, st.booleans())


# Two at once


def races(machine: "Machine") -> SearchStrategy[Race]:
    """Any two that take locks, or the same one twice: as after a commit whose answer was lost on the way.

    But a run that reads messages has not ended yet: it does one after the other.
    """
    any_one = weighed(_that_wait(machine))
    pairs = st.one_of(
        st.tuples(any_one, any_one),
        st.tuples(any_one, any_one),
        any_one.map(lambda operation: (operation, operation)),
        # A sweep passes over a row that is locked, on purpose: it may only come first.
        st.tuples(sweeps, any_one),
    )
    commits = st.sampled_from([True, True, True, False])
    pairs = pairs.filter(lambda pair: {type(one) for one in pair} != {Take, Settle})
    return st.builds(
        lambda pair, after, commits: Race(pair[0], pair[1], after, commits), pairs, st.integers(1, 6), commits
    )


def _that_wait(machine: "Machine") -> list[tuple[int, SearchStrategy[Any]]]:
    """Who holds a lease, or is about to, meets others more often than chance would have it."""
    found: list[tuple[int, SearchStrategy[Any]]] = [(1, producers.sends(machine)), (1, _hearts(machine))]
    if machine.model.turns:
        found += [(2, producers.cancels(machine)), (1, producers.requeues(machine)), (4, claims(machine))]
        found += _of_people(machine)
    if machine.jobs:
        found += [(3, records(machine)), (3, takes(machine)), (6, settles(machine))]
    if machine.kept:
        found.append((4, goes_on(machine)))
    if machine.seen:
        found.append((3, newest_or_any(machine.seen)))
    return found
