"""How the machine draws: what is newer, or comes first, more often than the rest."""

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def weighed(found: list[tuple[int, SearchStrategy[Any]]]) -> SearchStrategy[Any]:
    kinds = [number for number, (weight, _) in enumerate(found) for _ in range(weight)]
    return st.sampled_from(kinds).flatmap(lambda number: found[number][1])


def newest_or_any(found: Sequence[T]) -> SearchStrategy[T]:
    return st.one_of(st.sampled_from(found[-2:]), st.sampled_from(list(found)))


def first_of(*choices: Sequence[T]) -> SearchStrategy[T]:
    """From the first that has anything, more often than from the next."""
    filled = [list(choice) for choice in choices if choice]
    return weighed([(2 * (len(filled) - place) - 1, st.sampled_from(one)) for place, one in enumerate(filled)])
