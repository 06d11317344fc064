"""What the machine may do next, drawn from what there is.

What stays true: a draw depends on the model alone, so that a failing run can be repeated and made
smaller. What is current is drawn more often than what is stale, or nothing would get far.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE
from tests.integration.store.turns.model_based import branch_choices as branches
from tests.integration.store.turns.model_based import child_choices as children
from tests.integration.store.turns.model_based import decision_choices as people
from tests.integration.store.turns.model_based import policies
from tests.integration.store.turns.model_based import producer_choices as producers
from tests.integration.store.turns.model_based.draws import Weighed, first_of, newest_or_any, weighed
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
    LetGo,
    Operation,
    Record,
    Settle,
    Sweep,
    Take,
    TakeBackCrashes,
)
from tests.integration.store.turns.model_based.overdue import EndOverdue, ListOverdue, threads_overdue
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
    return st.runner().flatmap(lambda machine: weighed(machine, _events(machine)))


def _events(machine: "Machine") -> Weighed:
    found: Weighed = [(70, _runs), (6, times)]
    if machine.living:
        found += [(3, _dies), (18, races)]
    if len(machine.living) < MANY:
        found.append((14 if len(machine.living) < 2 else 2, _starts))
    if machine.open_send is not None:
        found.append((4, lambda _: st.builds(ClosesSend, st.booleans())))
    elif branches.there(machine) and machine.stage.has_many_writers:
        found.append((2, producers.sends_in_a_transaction))
    return found


def _runs(machine: "Machine") -> SearchStrategy[Runs]:
    return st.builds(Runs, weighed(machine, _operations(machine)), fates)


def _dies(machine: "Machine") -> SearchStrategy[Dies]:
    return st.builds(Dies, _living(machine), st.booleans())


def _starts(machine: "Machine") -> SearchStrategy[Starts]:
    starts = st.sampled_from(ROLES).map(lambda role: process_of(role, machine.new_id("a")))
    return st.builds(Starts, starts, starting_fates)


def _operations(machine: "Machine") -> Weighed:
    """Each kind of operation that there is something for."""
    found: Weighed = [(2, lambda _: sweeps), (1, lambda _: st.just(ForgetDead()))]
    if len(machine.model.unfinished()) < MANY:
        found.append((10, producers.sends))
    if machine.model.turns:
        found += [(2, producers.cancels), (2, producers.requeues), *_of_people(machine)]
    if machine.living:
        found.append((3, _hearts))
    if machine.living and branches.there(machine):
        found.append((9, claims))
    if machine.jobs:
        is_steered = any(policies.waiting_for(machine.model, job.turn) for job in machine.jobs)
        found += [(3, records), (12 if is_steered else 1, takes), (8, settles)]
    if machine.kept:
        found.append((6, goes_on))
    if machine.seen:
        found.append((2, _lets_go))
    if branches.there(machine):
        found += [(4 if threads_overdue(machine.model) else 1, ends_overdue), (1, lambda _: st.just(ListOverdue()))]
    return found + branches.operations(machine)


def _lets_go(machine: "Machine") -> SearchStrategy[LetGo]:
    return newest_or_any(machine.seen)


def _of_people(machine: "Machine") -> Weighed:
    found: Weighed = []
    if any(turn.calls for turn in machine.model.turns.values()):
        found.append((12 if people.open_calls(machine) else 1, people.decides))
    if any(process.is_library for process in machine.living):
        found.append((1, people.adopts))
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
    held = st.builds(HeldBy, ids, st.just(tuple(name for name in machine.model.threads if not name.startswith("/"))))
    return st.one_of(held, held, *(st.builds(kind, ids) for kind in (Beat, TakeBackCrashes, Leave)))


def claims(machine: "Machine") -> SearchStrategy[Claim]:
    model = machine.model
    names = sorted(name for name in model.threads if not name.startswith("/"))
    ready = [
        name
        for name in names
        for thread in [model.threads[name]]
        if not model.is_alive(thread.owner) and (head := model.head(name)) and model.can_start(head)
    ]
    return st.builds(Claim, _living(machine), first_of(ready, names))


def goes_on(machine: "Machine") -> SearchStrategy[Claim]:
    def on(job: Claimed) -> Claim:
        who = next(process for process in machine.living if process.id == job.worker)
        return Claim(who, job.thread, held=job.fence)

    return _jobs(machine, machine.kept).map(on)


def ends_overdue(machine: "Machine") -> SearchStrategy[EndOverdue]:
    """Of a thread that the sweep found before, or will find: what must end by then is ended by it, or by others."""
    names = sorted(name for name in machine.model.threads if not name.startswith("/"))
    sweepers = st.builds(machine.new_id, st.just("a"))
    return st.builds(EndOverdue, first_of(sorted(threads_overdue(machine.model)), names), sweepers)


def _jobs(machine: "Machine", believed: list[Claimed]) -> SearchStrategy[Claimed]:
    current = [job for job in believed if machine.model.holds_job(job)]
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
    turn = machine.model.turns.get(job.turn)
    return max(turn.steps, default=-1) + 1 if turn else 0


def settles(machine: "Machine") -> SearchStrategy[Settle]:
    """Each try has replies of its own, behind what its turn has read."""

    def settle(job: Claimed, end: End, *, release: bool) -> Settle:
        name = machine.new_id("c")
        replies = tuple(f"{name}.{reply}" for reply in end.replies)
        turn = machine.model.turns.get(job.turn)
        read = turn.read if turn and end.is_final else ()
        if turn is not None:
            end = children.name_user(end, machine.model.user_of(turn))
        return Settle(job, replace(end, replies=replies, read=read), release=release)

    any_end = st.one_of(ends, ends, people.waits(machine), _asks_others(machine))
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
    any_one = weighed(machine, _that_wait(machine))
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


def _that_wait(machine: "Machine") -> Weighed:
    """Who holds a lease, or is about to, meets others more often than chance would have it."""
    found: Weighed = [(1, producers.sends), (1, _hearts)]
    if branches.there(machine):
        found += [(4, claims), (2, ends_overdue)]
    if machine.model.turns:
        found += [(2, producers.cancels), (1, producers.requeues), *_of_people(machine)]
    if machine.jobs:
        found += [(3, records), (3, takes), (6, settles)]
    if machine.kept:
        found.append((4, goes_on))
    if machine.seen:
        found.append((3, _lets_go))
    return found + branches.that_wait(machine)
