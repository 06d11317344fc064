"""Lineages: which rows hold which seqs of a history."""

import pytest
from sqlalchemy.dialects import sqlite

from store.lineage import OPEN_END, Lineage, Part, select_range
from store.tables import messages

TRUNK = Lineage.build(1, None)


def ranges(lineage: Lineage, after_seq: int, to_seq: int) -> list[tuple[int, int, int]]:
    return [(part.thread_key, part.after_seq, part.to_seq) for part in lineage.slices(after_seq, to_seq)]


def branch(parent: Lineage, key: int, to_seq: int, *, has_own_system: bool = False) -> Lineage:
    return Lineage.build(key, parent.share(to_seq, has_own_system=has_own_system))


def test_a_thread_that_shares_nothing_has_one_part() -> None:
    assert TRUNK.parts == (Part(1, 0, OPEN_END),)
    assert ranges(TRUNK, 3, 7) == [(1, 3, 7)]


def test_a_branch_has_its_own_messages_behind_those_that_it_shares() -> None:
    grandchild = branch(branch(TRUNK, 2, 10), 3, 15)

    assert ranges(grandchild, 0, 20) == [(1, 0, 10), (2, 10, 15), (3, 15, 20)]
    assert ranges(grandchild, 12, 20) == [(2, 12, 15), (3, 15, 20)]
    assert ranges(grandchild, 4, 9) == [(1, 4, 9)]
    assert ranges(grandchild, 16, 20) == [(3, 16, 20)]


def test_a_branch_below_what_its_parent_shares_has_no_part_of_the_parent() -> None:
    assert branch(branch(TRUNK, 2, 10), 3, 10).keys == (1, 3)
    assert branch(branch(TRUNK, 2, 10), 3, 4).parts == (Part(1, 0, 4, has_system=False), Part(3, 4, OPEN_END))


def test_a_branch_that_shares_nothing_begins_at_the_first_seq() -> None:
    assert branch(TRUNK, 2, 0).parts == (Part(2, 0, OPEN_END),)


def test_an_empty_range_has_one_empty_part() -> None:
    assert ranges(branch(TRUNK, 2, 10), 7, 7) == [(2, 10, 7)]


def test_a_part_knows_whether_system_messages_are_in_it() -> None:
    child = branch(TRUNK, 2, 10, has_own_system=True)

    assert [part.has_system for part in branch(child, 3, 15).parts] == [True, False, True]


@pytest.mark.parametrize("depth", [1, 40])
def test_the_newest_messages_are_read_from_the_parts_that_hold_them(depth: int) -> None:
    lineage = TRUNK
    for number in range(depth):
        lineage = branch(lineage, number + 2, (number + 1) * 10)

    statement = select_range(lineage, [messages.c.seq], after_seq=depth * 10 - 5, newest_first=True, limit=20)

    assert str(statement.compile(dialect=sqlite.dialect())).count("FROM messages") == 2
