"""The options of a message: as keywords for type checkers and as one value, they say the same."""

from typing import get_type_hints

import pytest

from producers.send_options import SendKeywords, SendOptions


def test_keywords_and_options_have_the_same_names_and_types() -> None:
    assert get_type_hints(SendKeywords) == get_type_hints(SendOptions)


def test_every_option_may_be_left_out() -> None:
    assert SendKeywords.__required_keys__ == frozenset()
    assert SendOptions() == SendOptions(**SendKeywords())


def test_an_option_that_there_is_not_is_an_error_of_pythons_own() -> None:
    with pytest.raises(TypeError, match="prioritie"):
        SendOptions(prioritie=3)  # type: ignore[call-arg]
