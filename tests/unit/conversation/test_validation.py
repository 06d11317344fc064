"""The checks that need no server: ids, tenants, metadata, and the bounds of a producer's own verbs."""

import json
import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation.errors import InvalidInput
from conversation.task_contract import PRIORITY_MAX, WakeUp
from conversation.validation import (
    ID_MAX_CHARS,
    METADATA_MAX_BYTES,
    METADATA_MAX_DEPTH,
    check_id,
    check_metadata,
    check_tenant,
    check_text,
)


@pytest.mark.parametrize(
    "good",
    [
        "user-1-main",
        "mail:a+b@example.org",
        "тема_7",
        "x" * ID_MAX_CHARS,
        "...",
        "a.b",
        "caf\u00e9",
        "\u674e\u660e",
        "\U0001f600",
    ],
)
def test_ids_that_users_have_pass_as_they_are(good: str) -> None:
    assert check_id("thread_id", good) == good


@pytest.mark.parametrize("bad", ["", " ", "a b", "a/b", "a\\b", "a\n", "\x7f", "\u2028", ".", "..", "\ud800"])
def test_ids_that_break_a_path_or_a_log_line_are_refused(bad: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_id("thread_id", bad)

    assert refused.value.field == "thread_id"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_two_ids_that_pass_and_look_the_same_are_the_same(text: str) -> None:
    twins = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text, f"\u200b{text}", f"{text}\u2069"}

    accepted = {twin for twin in twins if is_id(twin)}

    assert len(accepted) <= 1


def is_id(value: str) -> bool:
    try:
        check_id("id", value)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("ann\u200b", "holds U+200B, which is invisible or turns text around; remove it"),
        ("\U000e0041", "holds U+E0041, which is invisible"),
        ("cafe\u0301", "is not in Unicode's composed form; pass it as unicodedata.normalize"),
    ],
)
def test_an_id_that_deceives_is_refused_by_what_is_wrong_with_it(value: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"thread_id: {problem}")):
        check_id("thread_id", value)


@pytest.mark.parametrize("good", ["default", "acme-eu.1", "A", "9", "a" * 63])
def test_plain_tenants_pass(good: str) -> None:
    assert check_tenant(good) == good


@pytest.mark.parametrize("bad", ["", "-a", ".", "a/b", "a..b", "ä", "a" * 64, "a\n", None, 5, b"a"])
def test_other_tenants_are_refused(bad: object) -> None:
    with pytest.raises(InvalidInput, match="tenant"):
        check_tenant(bad)


@given(st.text(alphabet=st.characters(), max_size=50))
def test_a_text_passes_if_and_only_if_postgres_can_store_it(text: str) -> None:
    storable = "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)

    try:
        passed = check_text("content", text) == text
    except InvalidInput:
        passed = False

    assert passed is storable


def test_metadata_comes_back_as_plain_json() -> None:
    frozen = MappingProxyType({"a": (1, MappingProxyType({"b": None})), "c": 1.5})

    checked = check_metadata("metadata", frozen)

    assert checked == {"a": [1, {"b": None}], "c": 1.5}
    assert type(checked["a"][1]) is dict


def test_metadata_is_a_copy() -> None:
    mine: dict[str, Any] = {"a": [1]}

    checked = check_metadata("metadata", mine)
    mine["a"].append(2)

    assert checked == {"a": [1]}


def test_metadata_may_fill_its_limits_and_not_go_past_them() -> None:
    fits = {"a": "x" * (METADATA_MAX_BYTES - len('{"a": ""}'))}
    assert check_metadata("metadata", fits) == fits

    with pytest.raises(InvalidInput, match=f"{METADATA_MAX_BYTES + 1} bytes"):
        check_metadata("metadata", {"a": fits["a"] + "x"})


def deep(levels: int) -> Mapping[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("levels", [METADATA_MAX_DEPTH + 1, 1000, 50_000])
def test_metadata_that_is_nested_too_deep_is_refused_and_breaks_nothing(levels: int) -> None:
    check_metadata("metadata", deep(METADATA_MAX_DEPTH))

    with pytest.raises(InvalidInput, match="nested too deep"):
        check_metadata("metadata", deep(levels))


def test_metadata_within_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless

    with pytest.raises(InvalidInput, match="nested too deep"):
        check_metadata("metadata", endless)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_still_itself_after_postgres_wrote_it_out(number: float) -> None:
    """PostgreSQL keeps every digit of what it is sent, and writes no exponents."""
    from decimal import Decimal

    sent = json.dumps(check_metadata("metadata", {"n": number}))
    digits = format(Decimal(json.loads(sent, parse_float=str, parse_int=str)["n"]), "f")

    assert json.loads(digits) == number


def test_the_broker_is_told_the_more_urgent_as_the_smaller_number() -> None:
    told = [
        WakeUp(tenant="t", thread_id="t", turn_id="t", priority=priority).broker_priority()
        for priority in range(PRIORITY_MAX + 1)
    ]

    assert told == sorted(told, reverse=True)
    assert (told[0], told[-1]) == (PRIORITY_MAX, 0)
