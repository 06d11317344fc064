"""What commands print: a terminal obeys nothing that somebody else wrote, and a program reads all of it."""

import json
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest

from threadmill.cli import output

#: All that Unicode calls a control, a format character or a line end; and halves of characters.
OBEYED = [char for char in map(chr, range(0x110000)) if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"}]
OBEYED += ["\ud800", "\udfff"]


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Bird:
    id: str
    seen_at: datetime | None = None
    colour: Colour = Colour.RED
    names: frozenset[str] = frozenset()


COLUMNS = {"ID": lambda bird: bird.id, "SEEN": lambda bird: bird.seen_at}


def test_no_character_that_a_terminal_obeys_or_hides_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(f"a{char}b" for char in OBEYED)

    output.print_text(text)
    output.print_note(text)
    output.print_list([text], {text: lambda line: line}, empty="", as_json=False)
    output.print_record({text: text}, as_json=False)
    output.print_list([{text: text}], {}, empty="", as_json=True)
    printed = capsys.readouterr()

    assert {char for char in printed.out + printed.err if char in OBEYED} == {"\n", "\t"}
    assert json.loads(printed.out.splitlines()[-1]) == {text: text}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;cm0=\x07", r"\x1b]52;c;cm0=\x07"),
        ("safe\rrm -rf", r"safe\rrm -rf"),
        ("pay\u200dpal \u202etxt.exe", r"pay\u200dpal \u202etxt.exe"),
        ("\U000e0041", r"\U000e0041"),
        ("lines\r\n\tand tabs", "lines\n\tand tabs"),
        ("👩\u200d🚀 क्\u200cष", "👩\u200d🚀 क्\u200cष"),
        ("é\u200d\u200dé", r"é\u200d\u200dé"),
    ],
)
def test_what_is_not_printed_is_shown(text: str, shown: str) -> None:
    assert output.show_text(text) == shown


def test_a_table_has_headers_and_columns_that_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    seen_at = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    output.print_list([Bird("鶴\n鷺", seen_at), Bird("heron")], COLUMNS, empty="no birds", as_json=False)

    assert capsys.readouterr().out == "ID     SEEN\n鶴 鷺  2026-03-01T10:00:00Z\nheron  -\n"


def test_an_empty_list_says_so_to_a_person_and_is_nothing_to_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_list([], COLUMNS, empty="no birds", as_json=False)
    assert capsys.readouterr().out == "no birds\n"

    output.print_list([], COLUMNS, empty="no birds", as_json=True)
    assert capsys.readouterr().out == ""


def test_json_has_moments_in_utc_and_values_as_programs_know_them(capsys: pytest.CaptureFixture[str]) -> None:
    bird = Bird("1", datetime(2026, 3, 1, 12, tzinfo=UTC), names=frozenset({"b", "a"}))

    output.print_list([bird, Bird("2")], COLUMNS, empty="", as_json=True)

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"id": "1", "seen_at": "2026-03-01T12:00:00+00:00", "colour": "red", "names": ["a", "b"]},
        {"id": "2", "seen_at": None, "colour": "red", "names": []},
    ]


def test_a_record_is_a_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_record({"id": "t1", "is_new": False, "cost": None, "turns": {"queued": 2}}, as_json=False)

    assert capsys.readouterr().out == "id      t1\nis_new  no\ncost    -\nturns   queued=2\n"


def test_a_text_is_shortened_to_one_line() -> None:
    assert output.shorten("one\ntwo  three", 9) == "one two …"
