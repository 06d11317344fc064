"""Counting tokens: a text is counted once, and is not kept for that."""

import sys

import pytest

from agent.models import token_counter
from agent.models.protocol import RECALL_MODEL
from agent.models.token_counter import TokenCounter
from conversation.message import Message
from conversation.token_estimate import TOKENS_PER_MESSAGE

COUNTER = TokenCounter(RECALL_MODEL)


def test_a_counted_text_is_not_kept() -> None:
    text = "".join(["every word " * 50, "of it"])
    message = Message(role="user", content=text)
    before = sys.getrefcount(text)

    assert COUNTER.count(message) == TOKENS_PER_MESSAGE + 102

    assert sys.getrefcount(text) == before


def test_an_equal_text_is_counted_once_whatever_message_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(token_counter, "_tokenize", lambda _model, text: counted.append(text) or 7)
    messages = [Message(role="user", content=f"unheard of so far, number {number}") for number in (1, 1, 2)]

    assert [COUNTER.count(message) for message in messages] == [TOKENS_PER_MESSAGE + 7] * 3
    assert len(counted) == 2


def test_no_more_counts_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counter, "REMEMBERED_COUNTS", 10)
    monkeypatch.setattr(token_counter, "_counts", counts := dict[tuple[bool, bytes], int]())

    for number in range(100):
        COUNTER.count(Message(role="user", content=f"text {number}"))

    assert 0 < len(counts) <= 10
