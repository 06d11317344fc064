"""Each way in which a reply ends leads to one outcome, by one table."""

from types import SimpleNamespace
from typing import Any

import pytest

from agent.models.reply_endings import ENDING_OF_REASON, ReplyEnding, conclude, ending_of
from agent.models.stream_assembly import ReplyPieces
from conversation.errors import Fault, ModelError
from conversation.message import Usage


def pieces_of(
    text: str = "", *, reason: str | None = None, refusal: str = "", native: str | None = None
) -> ReplyPieces:
    pieces = ReplyPieces()
    delta = SimpleNamespace(content=text, refusal=refusal)
    choice = SimpleNamespace(delta=delta, finish_reason=reason, native_finish_reason=native)
    pieces.add(SimpleNamespace(choices=[choice]))
    pieces.end()
    return pieces


def concluded(pieces: ReplyPieces, *, has_ended: bool = True) -> Any:
    return conclude(pieces, has_ended=has_ended, model="m", usage=Usage(), cost=None)


@pytest.mark.parametrize(
    ("pieces", "has_ended", "ending"),
    [
        (pieces_of("Hi.", reason="stop"), True, ReplyEnding.COMPLETE),
        (pieces_of("Hi.", reason="a word that nobody knows"), True, ReplyEnding.COMPLETE),
        (pieces_of("Hi."), True, ReplyEnding.COMPLETE),
        (pieces_of("Hi."), False, ReplyEnding.INTERRUPTED),
        (pieces_of("Hi.", reason="error"), True, ReplyEnding.INTERRUPTED),
        (pieces_of("Hi.", reason="stop", native="network_error"), True, ReplyEnding.INTERRUPTED),
        (pieces_of("Hi.", reason="length"), True, ReplyEnding.TRUNCATED),
        (pieces_of("Hi.", reason="MAX_TOKENS"), True, ReplyEnding.TRUNCATED),
        (pieces_of("", reason="length"), True, ReplyEnding.TRUNCATED),
        (pieces_of("Hi.", reason="content_filter"), True, ReplyEnding.FILTERED),
        (pieces_of("", reason="SAFETY"), True, ReplyEnding.FILTERED),
        (pieces_of("", reason="stop", refusal="No."), True, ReplyEnding.REFUSED),
        (pieces_of("Hi.", reason="refusal"), True, ReplyEnding.REFUSED),
        (pieces_of("", reason="stop"), True, ReplyEnding.EMPTY),
        (pieces_of(" \n", reason="stop"), True, ReplyEnding.EMPTY),
    ],
)
def test_the_ending_of_a_reply_is_told_by_its_reason_and_its_content(pieces, has_ended, ending):
    assert ending_of(pieces, has_ended=has_ended) is ending


@pytest.mark.parametrize(
    ("pieces", "kind", "retryable", "fault"),
    [
        (pieces_of("", reason="content_filter"), "content_filtered", False, Fault.MODEL),
        (pieces_of("", reason="stop", refusal="No."), "content_refused", False, Fault.MODEL),
        (pieces_of("", reason="stop"), "empty_reply", False, Fault.MODEL),
        (pieces_of("", reason="length"), "truncated", False, Fault.MODEL),
        (pieces_of("x" * 3_000_000, reason="stop"), "reply_too_large", False, Fault.MODEL),
        (pieces_of("Hi.", reason="error"), "stream_interrupted", True, Fault.PROVIDER),
    ],
)
def test_an_ending_that_leads_to_no_reply_is_an_error_of_its_own_kind(pieces, kind, retryable, fault):
    with pytest.raises(ModelError) as raised:
        concluded(pieces)

    assert (raised.value.kind, raised.value.retryable, raised.value.fault) == (kind, retryable, fault)


def test_the_model_s_sentence_is_told_beside_ours():
    with pytest.raises(ModelError, match=r"the model refused to answer$") as raised:
        concluded(pieces_of("", reason="stop", refusal="I cannot help with that."))

    assert raised.value.provider_text == "I cannot help with that."


def test_a_reply_that_was_cut_is_a_reply_that_says_so():
    reply = concluded(pieces_of("Half of", reason="length"))

    assert (reply.content, reply.is_truncated) == ("Half of", True)
    assert not concluded(pieces_of("Whole.", reason="stop")).is_truncated


def test_every_reason_in_the_table_is_in_lower_case_and_none_says_what_needs_no_saying():
    assert all(reason == reason.lower() for reason in ENDING_OF_REASON)
    assert ReplyEnding.COMPLETE not in ENDING_OF_REASON.values()
