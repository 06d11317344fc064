"""How the machine draws: what is newer, or comes first, more often than the rest."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.machine import Machine

T = TypeVar("T")
#: What may be drawn, each with how often it is: made only when it is drawn, for making it costs more than drawing.
Weighed = list[tuple[int, Callable[["Machine"], SearchStrategy[Any]]]]


def weighed(machine: "Machine", found: Weighed) -> SearchStrategy[Any]:
    kinds = [number for number, (weight, _) in enumerate(found) for _ in range(weight)]
    return st.sampled_from(kinds).flatmap(lambda number: found[number][1](machine))


def newest_or_any(found: Sequence[T]) -> SearchStrategy[T]:
    return st.one_of(st.sampled_from(found[-2:]), st.sampled_from(list(found)))


def first_of(*choices: Sequence[T]) -> SearchStrategy[T]:
    """From the first that has anything, more often than from the next."""
    filled = [list(choice) for choice in choices if choice]
    if len(filled) == 1:
        return st.sampled_from(filled[0])
    places = [place for place in range(len(filled)) for _ in range(2 * (len(filled) - place) - 1)]
    return st.sampled_from(places).flatmap(lambda place: st.sampled_from(filled[place]))
