"""The text of an API key: what it is made of, and what is told apart from it without a database."""

import re

import pytest

from conversation.errors import InvalidInput
from store.keys.key_text import make_key, read_id, read_key


def test_a_key_is_read_back_and_hides_in_its_repr() -> None:
    key = make_key()

    assert re.fullmatch(r"tmk_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}", key.text)
    assert read_key(key.text) == key
    assert key.text.split("_")[2] not in repr(key)
    assert read_id("key", key.text) == read_id("key", key.id) == key.id


def test_a_new_secret_of_the_same_key_has_its_id() -> None:
    key = make_key()

    rotated = make_key(key.id)

    assert rotated.id == key.id
    assert rotated.sha256 != key.sha256
    assert len({make_key().text for _ in range(200)}) == 200


def test_every_slip_of_one_character_is_told_without_a_database() -> None:
    text = make_key().text

    slips = {
        text[:n] + other + text[n + 1 :] for n in range(len(text)) for other in "0aZ_ \n\u0661" if text[n] != other
    }
    slips |= {text[:n] + text[n + 1] + text[n] + text[n + 2 :] for n in range(len(text) - 1)} - {text}
    slips |= {text[:-1], text + "0", text + "\n", " " + text, text.upper(), text.lower(), text * 2, ""}

    assert [slip for slip in slips if read_key(slip) is not None] == []


@pytest.mark.parametrize("value", ["", "x", "nobody", None, 7, "0" * 15, "-" * 16, "0" * 16 + "\n"])
def test_what_is_no_id_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^key: is .*; pass an id as `threadmill keys list` shows it"):
        read_id("key", value)


def test_a_key_with_a_slip_is_not_quoted() -> None:
    key = make_key().text[:-1]

    with pytest.raises(InvalidInput) as refusal:
        read_id("key", key)

    assert key[21:] not in str(refusal.value)
