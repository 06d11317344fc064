"""Text that is cut says what was left out; and who gets how much of a turn's room for files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.files.token_budget import PIECE_MIN_TOKENS, FileTokenBudget
from agent.files.truncate import tokens_in, truncate_text


def pages(kind: str, labels: list[str], words: int = 50) -> str:
    return "\n\n".join(f"--- {kind} {label} ---\n{'word ' * words}".strip() for label in labels)


def test_a_text_that_fits_is_whole() -> None:
    assert truncate_text("abcd" * 10, 10) == "abcd" * 10


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (pages("page", [str(n) for n in range(1, 41)]), "pages 3 to 40 were left out, about 2,569 tokens"),
        (pages("slide", ["1", "2", "3"], 100), "slides 2 to 3 were left out"),
        (pages("page", ["1", "2"], 100), "page 2 was left out"),
        (pages("sheet", ['"A"', '"B"', '"C"'], 100), 'sheets "B", "C" were left out'),
        (pages("sheet", [f'"{n}"' for n in range(9)], 100), 'sheets "1", "2", "3", "4", "5" and 3 more were left out'),
        ("word " * 200, "the rest was left out, about 151 tokens"),
    ],
)
def test_what_was_left_out_is_named(text: str, note: str) -> None:
    shown = truncate_text(text, 100)

    kept, _, told = shown.rpartition("\n")
    assert told.startswith(f"[Cut here: {note}")
    assert text.startswith(kept)
    assert kept.endswith("word")


def test_a_text_without_spaces_is_cut_all_the_same() -> None:
    assert truncate_text("x" * 1000, 10).startswith("x" * 40 + "\n[Cut here: the rest was left out, about 240 tokens.]")


@given(st.text(max_size=500), st.integers(0, 100))
def test_a_cut_is_the_same_each_time_and_within_its_room(text: str, room: int) -> None:
    shown = truncate_text(text, room)

    assert shown == truncate_text(text, room)
    assert shown == text or tokens_in(len(shown.rpartition("\n[Cut here")[0])) <= room


def shares(room: int, *messages: dict[int, int], whole_only: frozenset[int] = frozenset()) -> dict[int, int]:
    return FileTokenBudget(room).allocate(messages, whole_only)


def test_newer_messages_come_first_and_an_older_small_file_may_still_fit() -> None:
    assert shares(1000, {0: 900}, {1: 500}, {2: 100}) == {0: 900, 2: 100}


def test_a_large_file_gets_what_is_left_if_that_is_worth_it() -> None:
    assert shares(1000, {0: 700}, {1: 5000}) == {0: 700, 1: 300}
    assert shares(1000, {0: 900}, {1: 5000}) == {0: 900}


def test_the_files_of_one_message_share_alike() -> None:
    assert shares(3000, {0: 9000, 1: 100, 2: 9000}) == {1: 100, 0: 1450, 2: 1450}


def test_a_picture_is_shown_whole_or_not_at_all() -> None:
    pictures = frozenset({0, 1, 2})

    assert shares(4000, {0: 1600, 1: 1600, 2: 1600}, whole_only=pictures) == {0: 1600, 1: 1600}


def test_room_that_was_given_is_gone() -> None:
    room = FileTokenBudget(1000)

    assert room.allocate([{0: 800}], frozenset()) == {0: 800}
    assert room.allocate([{0: 800}], frozenset()) == {0: 200}
    assert room.allocate([{0: 1}], frozenset()) == {}


@given(
    st.integers(0, 5000),
    st.lists(st.dictionaries(st.integers(0, 5), st.integers(1, 3000), max_size=4), max_size=4),
    st.frozensets(st.integers(0, 20)),
)
def test_no_more_is_given_than_there_is(room: int, messages: list[dict[int, int]], whole: frozenset[int]) -> None:
    wanted = [{10 * place + file: tokens for file, tokens in one.items()} for place, one in enumerate(messages)]

    given_out = FileTokenBudget(room).allocate(wanted, whole)

    assert sum(given_out.values()) <= room
    everything = {file: tokens for one in wanted for file, tokens in one.items()}
    for file, tokens in given_out.items():
        assert tokens == everything[file] or (file not in whole and PIECE_MIN_TOKENS <= tokens < everything[file])
