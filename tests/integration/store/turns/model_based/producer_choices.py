"""What producers may do next, drawn from what there is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.integration.store.turns.model_based import branch_choices as branches
from tests.integration.store.turns.model_based.draws import first_of
from tests.integration.store.turns.model_based.events import OpensSend
from tests.integration.store.turns.model_based.operations import THREADS, Cancel, Requeue, Send
from tests.integration.store.turns.model_based.values import Ask

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.machine import Machine

#: What asks the most of others more often; of a thread where a turn runs, and where one waits to be merged with others.
POLICIES = (None, None, "reject", *("merge",) * 6, "steer", "interrupt", "rollback")
BESIDE_A_RUN = (None, "reject", "merge", *("steer",) * 6, *("interrupt", "rollback") * 2)
BEHIND_A_MERGE = (None, "reject", *("merge",) * 8, "interrupt", "rollback")
#: The first asks most, and owns most.
USERS = ("ann", "ann", "ann", "bob")


def sends(machine: "Machine") -> SearchStrategy[Send]:
    known = [ask for ask in machine.model.asks.values() if ask.key]
    new = _new_sends(machine, (*THREADS, *branches.addresses(machine)))
    return st.one_of(new, new, new, new, _sends_again(machine, known)) if known else new


def _new_sends(machine: "Machine", threads: Sequence[str]) -> SearchStrategy[Send]:
    """To where a turn runs or waits more often than to others."""
    busy = [one for one in threads if machine.model.head(branches.row_of(machine, one))]
    return st.sampled_from([*threads, *busy, *busy]).flatmap(lambda thread: _sends_to(machine, thread))


def _policies(machine: "Machine", thread: str) -> Sequence[str | None]:
    unfinished = machine.model.unfinished(branches.row_of(machine, thread))
    if any(turn.state == "running" for turn in unfinished):
        return BESIDE_A_RUN
    is_behind = bool(unfinished) and unfinished[-1].when_busy == "merge"
    return BEHIND_A_MERGE if is_behind else POLICIES


def _sends_to(machine: "Machine", thread: str) -> SearchStrategy[Send]:
    now = machine.model.now
    libraries = [process.id for process in machine.living if process.is_library]
    return st.builds(
        Ask,
        turn=st.builds(machine.new_id, st.just("b")),
        thread=st.just(thread),
        content=st.sampled_from(["hello", "and", "then", "so", "yes", "no", None]),
        agent=st.sampled_from(["assistant"] * 8 + ["clerk", "clerk", "ghost"]),
        allow_unknown=st.booleans(),
        key=st.sampled_from([None] * 8 + ["k", "l"]),
        priority=st.sampled_from([0, 5]),
        not_before=st.sampled_from([None] * 9 + [now + 20]),
        deadline=st.sampled_from([None] * 9 + [now + 30]),
        runner=st.sampled_from([None] * 8 + libraries),
        notifies=st.booleans(),
        limit=st.sampled_from([0, 0, 0, 0, 3]),
        when_busy=st.sampled_from(_policies(machine, thread)),
        merge_window=st.sampled_from([0, 0, 0, 8]),
        user=st.sampled_from(USERS),
    ).map(Send)


def _sends_again(machine: "Machine", known: list[Ask]) -> SearchStrategy[Send]:
    """The same key: with the same request, or with another."""
    return st.builds(
        lambda ask, changed: Send(replace(ask, turn=machine.new_id("b"), **changed)),
        st.sampled_from(known),
        st.sampled_from([{}, {}, {"content": "other"}, {"priority": 9}, {"thread": "x"}, {"when_busy": "merge"}]),
    )


def sends_in_a_transaction(machine: "Machine") -> SearchStrategy[OpensSend]:
    # Without a key or a limit, to a thread that is there, and bearing others: it holds up no other sender.
    return _new_sends(machine, branches.addresses(machine)).map(
        lambda send: OpensSend(
            Send(replace(send.ask, key=None, limit=0, allow_unknown=True, when_busy=_bearing(send.ask.when_busy)))
        )
    )


def _bearing(policy: str | None) -> str | None:
    return None if policy == "reject" else policy


def cancels(machine: "Machine") -> SearchStrategy[Cancel]:
    unfinished = [turn.id for turn in machine.model.unfinished()]
    return first_of(unfinished, list(machine.model.turns)).map(Cancel)


def requeues(machine: "Machine") -> SearchStrategy[Requeue]:
    ended = [turn.id for turn in machine.model.turns.values() if turn.state in ("failed", "cancelled")]
    return first_of(ended, list(machine.model.turns)).map(lambda turn: Requeue(turn, machine.new_id("b")))
