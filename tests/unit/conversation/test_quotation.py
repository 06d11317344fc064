"""What an error quotes of a caller's value is short, and says the most of it."""

from pathlib import Path

import pytest

from conversation.quotation import quote, quote_path


@pytest.mark.parametrize(
    ("value", "quotation"),
    [
        ("a" * 80, repr("a" * 80)),
        ("a" * 81, f"{'a' * 80!r}…"),
        (2**64, "a number of 65 bits"),
        (1.5, "1.5"),
        ([], "of the type list"),
    ],
)
def test_a_quotation_is_short(value: object, quotation: str) -> None:
    assert quote(value) == quotation


def test_of_a_long_path_its_end_is_quoted() -> None:
    assert quote_path(Path("a") / "b.txt") == "'a/b.txt'"
    assert quote_path(Path("a" * 100) / "b.txt").endswith("a/b.txt'")
    assert len(quote_path("a" * 1000)) == 83
