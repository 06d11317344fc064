"""Which turns a run may have others answer, and wait for."""

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.integration.store.turns.model_based.values import Child, End, Request

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.machine import Machine

#: Seconds for which a turn waits for another one.
SECONDS = (40, 600, 600)


def waits(machine: "Machine") -> SearchStrategy[End]:
    """Each child has a thread of its own."""

    def child(agent: str) -> Child:
        turn = machine.new_id("b")
        return Child(turn, f"of-{turn[-6:]}", agent)

    children = st.sampled_from(["assistant", "assistant", "clerk"]).map(child)
    names = st.builds(machine.new_id, st.just("d"))
    request = st.builds(
        Request,
        call=names,
        kind=st.just("child"),
        seconds=st.sampled_from(SECONDS),
        # The step of a call that is waited for has no result.
        index=st.integers(10, 13),
        child=children,
    )
    return st.builds(End, kind=st.just("wait"), requests=st.lists(request, min_size=1, max_size=2).map(tuple))


def name_user(end: End, user: str | None) -> End:
    """Who asks a child is the user of the turn that asks."""

    def named(request: Request) -> Request:
        return request if request.child is None else replace(request, child=replace(request.child, user=user))

    return replace(end, requests=tuple(map(named, end.requests)))
