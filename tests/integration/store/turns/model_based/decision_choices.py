"""What a run may wait for, and what people may decide, drawn from what there is."""

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.integration.store.turns.model_based.decision_operations import Adopt, Decide
from tests.integration.store.turns.model_based.draws import first_of
from tests.integration.store.turns.model_based.values import Decided, End, Request, Turn
from tests.integration.store.turns.model_based.waits import CHOICES, FITTING

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.machine import Machine

#: Seconds for which a call waits.
SECONDS = (8, 40, 40, 600)

#: Steps of a journal, with results or without.
ANY_STEP = st.integers(0, 3)
kinds = st.sampled_from(sorted(FITTING.keys() - {"child"}))
decided_by = st.sampled_from([None, "ann", "bob"])


def waits(machine: "Machine") -> SearchStrategy[End]:
    # The step of a call that is waited for has no result.
    asked = requests(machine, indexes=st.integers(10, 13))
    return st.builds(End, kind=st.just("wait"), requests=asked, step=st.sampled_from([None, 0, 3]))


def requests(machine: "Machine", indexes: SearchStrategy[int] = ANY_STEP) -> SearchStrategy[tuple[Request, ...]]:
    """Each call has a name of its own."""
    names = st.builds(machine.new_id, st.just("d"))
    request = st.builds(Request, call=names, kind=kinds, seconds=st.sampled_from(SECONDS), index=indexes)
    return st.lists(request, min_size=1, max_size=2).map(tuple)


def decides(machine: "Machine") -> SearchStrategy[Decide]:
    """What is open more often than what is not; now and then what does not fit."""
    turns = list(machine.model.turns.values())
    of_calls = first_of(
        open_calls(machine),
        [(turn, name) for turn in turns for name in turn.calls],
        [(turn, "nothing") for turn in turns],
    )
    return of_calls.flatmap(lambda found: _decides(machine, *found))


def open_calls(machine: "Machine") -> list[tuple[Turn, str]]:
    calls = [(turn, name, call) for turn in machine.model.turns.values() for name, call in turn.calls.items()]
    # The end of another turn is nothing that people decide, as a rule.
    return [(turn, name) for turn, name, call in calls if call.decided is None and call.kind != "child"]


def _decides(machine: "Machine", turn: Turn, name: str) -> SearchStrategy[Decide]:
    call = turn.calls.get(name)
    fitting = FITTING[call.kind] if call is not None else ("approve",)
    again = [call.decided] if call is not None and call.decided is not None and call.decided.kind != "closed" else []
    new = st.sampled_from([*fitting] * 3 + ["approve", "answer"]).flatmap(_decided)
    which = st.one_of(new, st.sampled_from(again)) if again else new
    digest = st.sampled_from([None, None, True, True, False])
    new_turn = st.builds(machine.new_id, st.just("b"))
    return st.builds(Decide, st.just(turn.id), st.just(name), which, digest, new_turn)


def _decided(kind: str) -> SearchStrategy[Decided]:
    values = {"edit": ['{"x": 1}'], "answer": [*CHOICES * 2, "green"], "result": ["done", "nothing"]}
    reasons = st.sampled_from([None, "no"]) if kind == "deny" else st.none()
    return st.builds(Decided, st.just(kind), st.sampled_from(values.get(kind, [None])), reasons, decided_by)


def adopts(machine: "Machine") -> SearchStrategy[Adopt]:
    libraries = [process.id for process in machine.living if process.is_library]
    begun = [turn.id for turn in machine.model.unfinished() if turn.state == "queued" and turn.has_begun]
    return st.builds(Adopt, first_of(begun, list(machine.model.turns)), st.sampled_from(libraries))
