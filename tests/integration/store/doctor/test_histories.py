"""Places, inboxes, tool calls, journals: what contradicts itself there, and what is right as it is."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from agent.chat_messages import build_messages
from agent.journal import unanswered_step
from conversation.history import open_calls
from conversation.ids import new_id
from conversation.message import Message, ToolCall, Usage
from conversation.thread import Thread
from conversation.turn import Cancelled
from store import tables
from store.database.column_types import clock
from store.doctor import Outcome
from store.history import message_rows
from store.lineage import row_lineage
from store.threads import repository
from tests.integration.store.doctor.conftest import Site, outcomes

pytestmark = pytest.mark.soak


def calling(*ids: str) -> Message:
    return Message(role="assistant", tool_calls=tuple(ToolCall(id_, "look", "{}") for id_ in ids))


def result(call_id: str) -> Message:
    return Message(role="tool", tool_call_id=call_id, name="look", content='"seen"')


def said(text: str = "done", role: str = "assistant") -> Message:
    return Message(role=role, content=text)  # type: ignore[arg-type]


def lose(site: Site, *seqs: int, thread: str = "t") -> None:
    key = site.row(thread).key
    site.write(delete(tables.messages).where(tables.messages.c.thread_key == key, tables.messages.c.seq.in_(seqs)))


def loaded(site: Site, thread: str = "t") -> Sequence[Message]:
    key = site.row(thread).key

    def load(connection: Any) -> Sequence[Message]:
        rows = connection.execute(message_rows.history_rows(row_lineage(key), after_seq=0, to_seq=1000))
        return message_rows.load(connection, row_lineage(key), rows)

    return site.database.run(load)


# Places


def test_a_last_place_that_stands_before_the_newest_message_is_moved_to_it(site: Site) -> None:
    site.answered()
    site.answered()
    site.change(last_seq=1)

    (note,) = site.found("last-seq-behind")["last-seq-behind"]
    mended = site.repaired()

    assert note.finding.detail == "last_seq is 1, the newest message stands at 4"
    assert mended["last-seq-behind"][0].result == "last_seq was set to 4"
    assert site.found() == {}
    # The next turn is stored behind it, where it would have met a message before.
    site.answered()
    assert [seq for seq, _, _ in site.history()] == [1, 2, 3, 4, 5, 6]


def test_a_message_that_is_gone_before_a_turns_message_is_told_and_nothing_moves(site: Site) -> None:
    site.answered()
    site.answered()
    lose(site, 2)
    before = site.history()

    notes = site.repaired()["gap-in-sequence"]

    assert [(note.finding.ids["seq"], note.outcome) for note in notes] == [(2, Outcome.LEFT)]
    assert site.history() == before


def test_an_empty_place_among_saved_messages_is_no_finding(site: Site) -> None:
    """Of two copies that saved the same messages only one uses its places."""
    copy = Thread("t", messages=[said(role="user"), said(), said(role="user")])
    site.database.run(lambda c: repository.save(c, copy, new=copy.new_messages))
    site.answered()

    lose(site, 2)

    assert site.found() == {}


def test_a_place_that_retention_emptied_is_no_finding(site: Site) -> None:
    site.answered()
    site.answered()
    site.change(history_starts_after=2)

    lose(site, 1, 2)

    assert site.found("gap-in-sequence") == {}


@pytest.mark.parametrize(("seq", "cut"), [(2, 3), (1, 1), (0, 0), (-5, 0)])
def test_a_message_where_nobody_looks_is_told_and_stays(site: Site, seq: int, cut: int) -> None:
    site.answered()
    site.answered()
    lose(site, 1)
    site.write(update(tables.messages).where(tables.messages.c.seq == 2).values(seq=seq))
    site.change(history_starts_after=cut)

    notes = site.repaired("message-out-of-reach")["message-out-of-reach"]

    assert [(note.finding.ids["seq"], note.outcome) for note in notes] == [(seq, Outcome.LEFT)]
    assert seq in [place for place, _, _ in site.history()]


def test_a_turn_that_has_begun_without_its_question_is_told(site: Site) -> None:
    site.send()
    claimed = site.claim(site.worker())
    lose(site, 1)

    notes = site.repaired()["question-missing"]

    assert [(note.finding.ids["turn"], note.outcome) for note in notes] == [(claimed.id, Outcome.LEFT)]


def test_a_turn_that_is_over_may_have_lost_its_question(site: Site) -> None:
    site.answered()

    lose(site, 1)

    assert list(site.found()) == ["gap-in-sequence"]


def test_a_message_that_stayed_in_the_inbox_of_a_turn_that_began_is_told(site: Site) -> None:
    claimed = site.answered()
    left = {"id": "m", "role": "user", "content": "secret words", "metadata": {}, "created_at": clock()}
    site.write(insert(tables.inbox_messages).values(turn_id=claimed.id, index=1, **left))
    site.send("one that waits rightly")

    (note,) = site.repaired()["input-left-behind"]

    assert note.finding.ids == {"tenant": "default", "thread": "t", "turn": claimed.id, "index": 1}
    assert note.outcome is Outcome.LEFT
    assert "secret" not in str(note.to_json())


# Tool calls


def test_whole_blocks_of_tool_calls_are_no_finding(site: Site) -> None:
    site.answered("t", calling("a", "b"), result("b"), result("a"), calling("a"), result("a"), said())
    site.answered("t", calling("c"), result("c"))

    assert site.found() == {}


def test_a_call_without_its_result_at_the_end_of_a_history_is_closed(site: Site) -> None:
    site.answered("t", calling("a", "b", "c"), result("b"), result("a"), result("c"))
    lose(site, 4, 5)

    (note,) = site.found()["call-without-result"]
    mended = site.repaired()

    assert (note.finding.ids["seq"], note.finding.is_repairable) == (2, True)
    assert outcomes(mended) == {"call-without-result": [Outcome.REPAIRED]}
    # Nothing that stood there moved, and what is new stands behind all places that were ever used.
    assert site.history() == [
        (1, "user", None),
        (2, "assistant", None),
        (3, "tool", "b"),
        (6, "tool", "a"),
        (7, "tool", "c"),
    ]
    assert open_calls(loaded(site)) == {}
    assert (site.row().last_seq, site.row().uncovered_messages) == (7, 7)
    # What stood at 4 and 5 is gone.
    assert list(site.found()) == ["gap-in-sequence"]


def test_a_call_without_its_result_inside_a_history_stays_and_readers_close_it(site: Site) -> None:
    site.answered("t", calling("a", "b"), result("a"), result("b"), said())
    before = site.history()
    lose(site, 4)

    (note,) = site.repaired()["call-without-result"]

    assert (note.finding.ids["seq"], note.outcome) == (2, Outcome.LEFT)
    assert site.history() == [row for row in before if row[0] != 4]
    sent = build_messages(system_texts=[], window=loaded(site))
    assert [message.get("tool_call_id") for message in sent if message["role"] == "tool"] == ["a", "b"]


def test_a_later_result_of_another_call_with_the_same_id_is_no_answer(site: Site) -> None:
    for _ in range(2):
        site.answered("t", calling("a"), result("a"), said())
    lose(site, 3)

    (note,) = site.found()["call-without-result"]

    assert note.finding.ids["seq"] == 2


def test_an_open_end_is_left_alone_while_a_turn_is_at_work_behind_it(site: Site) -> None:
    site.answered("t", calling("a"), result("a"))
    lose(site, 3)
    # It answers the history as it stands.
    site.send(None)
    claimed = site.claim(site.worker())

    (note,) = site.repaired("call-without-result")["call-without-result"]

    assert note.outcome is Outcome.LEFT
    site.settle(claimed)
    assert [role for _, role, _ in site.history()] == ["user", "assistant", "assistant"]


def test_an_open_end_that_somebody_went_on_from_is_left_alone(site: Site) -> None:
    site.answered("t", calling("a"), result("a"))
    lose(site, 3)
    examination = site.examination("call-without-result")
    look, (check,) = examination.start_inspection(), examination.choose_checks()
    (finding,) = check.find(look)
    assert check.repair is not None
    assert finding.is_repairable

    site.answered()

    assert check.repair(look, finding) is None
    assert [role for _, role, _ in site.history()] == ["user", "assistant", "user", "assistant"]


def test_a_block_that_library_code_is_about_to_go_on_with_is_no_finding(site: Site) -> None:
    thread = Thread("t", messages=[said("see", "user"), calling("a", "b"), result("a")])
    site.save(thread)

    assert site.repaired() == {}

    thread.add_message(result("b"))
    site.save(thread)
    assert site.found() == {}


@pytest.mark.parametrize("lost", ["the call", "all before it"])
def test_a_result_without_its_call_is_told_and_readers_leave_it_out(site: Site, lost: str) -> None:
    site.answered("t", calling("a"), result("a"), said())
    lose(site, *([2] if lost == "the call" else [1, 2]))

    (note,) = site.repaired()["result-without-call"]

    assert (note.finding.ids["seq"], note.outcome) == (3, Outcome.LEFT)
    sent = build_messages(system_texts=[], window=loaded(site))
    assert "tool" not in [message["role"] for message in sent]


def test_a_second_result_of_one_call_is_told(site: Site) -> None:
    site.answered("t", calling("a", "b"), result("a"), result("b"), said())
    site.write(update(tables.messages).where(tables.messages.c.seq == 4).values(tool_call_id="a"))

    found = site.found()

    assert [note.finding.ids["seq"] for note in found["result-without-call"]] == [4]
    assert [note.finding.ids["seq"] for note in found["call-without-result"]] == [2]


def test_a_block_that_retention_cut_in_two_is_no_finding(site: Site) -> None:
    site.answered("t", calling("a"), result("a"), said())
    lose(site, 1, 2)

    site.change(history_starts_after=2)

    assert site.found() == {}


# The journal


def test_a_step_that_was_left_started_on_a_turn_that_is_over_is_noted_as_unknown(site: Site) -> None:
    site.send()
    claimed = site.claim(site.worker())
    for index, state in enumerate(("finished", "started", "started")):
        entry = {"turn_id": claimed.id, "index": index, "kind": "tool", "call_id": str(index), "name": "refund"}
        rest = {"state": state, "fencing_token": 1, "request_digest": "", "started_at": clock()}
        site.write(insert(tables.steps).values(**entry, **rest))
    assert site.repaired() == {}
    site.settle(claimed, Cancelled())
    left_started = update(tables.steps).where(tables.steps.c.index > 0).values(state="started", finished_at=None)
    site.write(left_started)
    assert site.repaired() == {}
    site.age()

    mended = site.repaired()

    (note,) = mended["step-left-started"]
    assert (note.finding.ids["turn"], note.outcome) == (claimed.id, Outcome.REPAIRED)
    rows = site.rows(select(tables.steps).order_by(tables.steps.c.index))
    assert [row.state for row in rows] == ["finished", "unknown", "unknown"]
    assert rows[1].finished_at is not None
    assert site.found() == {}


def test_a_model_call_that_was_paid_and_got_no_reply_is_no_open_call(site: Site) -> None:
    site.send()
    claimed = site.claim(site.worker())
    paid = unanswered_step(0, "gpt-5", "", usage=Usage(prompt_tokens=3), cost=0.1)

    site.settle(claimed, Cancelled(steps=(paid,)))
    site.age()

    assert site.found() == {}


def test_a_repair_touches_the_turn_that_it_is_about_and_no_other(site: Site) -> None:
    first, second = site.answered(), site.answered()
    for claimed in (first, second):
        entry = {"turn_id": claimed.id, "index": 0, "kind": "tool", "call_id": "c", "name": "refund"}
        rest = {"state": "started", "fencing_token": 1, "request_digest": "", "started_at": clock()}
        site.write(insert(tables.steps).values(**entry, **rest))
    site.age()
    examination = site.examination("step-left-started")
    look, (check,) = examination.start_inspection(), examination.choose_checks()
    assert check.repair is not None
    of_turn = {finding.ids["turn"]: finding for finding in check.find(look)}

    site.write(update(tables.steps).where(tables.steps.c.turn_id == first.id).values(state="finished"))

    assert check.repair(look, of_turn[first.id]) is None
    states = {row.turn_id: row.state for row in site.rows(select(tables.steps))}
    assert states == {first.id: "finished", second.id: "started"}


# Counters and summaries


@pytest.mark.parametrize("counted", [0, 3, 9, -1])
def test_a_wrong_count_of_uncovered_messages_is_counted_again(site: Site, counted: int) -> None:
    site.answered()
    site.answered()
    site.change(uncovered_messages=counted)

    mended = site.repaired()

    assert outcomes(mended) == {"uncovered-count-wrong": [Outcome.REPAIRED]}
    assert site.row().uncovered_messages == 4
    assert site.found() == {}


def test_a_count_of_places_is_as_right_as_one_of_messages(site: Site) -> None:
    site.answered()
    site.answered()
    lose(site, 2)

    assert site.found("uncovered-count-wrong") == {}
    site.change(uncovered_messages=3)
    assert site.found("uncovered-count-wrong") == {}


def test_only_messages_behind_the_summary_count(site: Site) -> None:
    site.answered()
    site.answered()
    covers_two(site, "t")
    assert site.found() == {}

    site.change(uncovered_messages=4)

    assert outcomes(site.repaired()) == {"uncovered-count-wrong": [Outcome.REPAIRED]}
    assert site.row().uncovered_messages == 2


def covers_two(site: Site, thread: str) -> str:
    summary = new_id()
    row = {"id": summary, "from_seq": 1, "to_seq": 2, "content": "they talked", "model": "m"}
    key = site.row(thread).key
    site.write(insert(tables.summaries).values(**row, thread_key=key, created_at=clock()))
    behind = tables.threads.c.uncovered_tokens / 2
    site.change(thread, summary_id=summary, uncovered_messages=2, uncovered_tokens=behind)
    return summary


@pytest.mark.parametrize("whose", ["nobody", "another thread"])
def test_a_summary_that_is_not_there_is_dropped_so_that_models_see_the_messages(site: Site, whose: str) -> None:
    site.answered()
    site.answered()
    site.answered("other")
    summary = covers_two(site, "t")
    lost = "delete from summaries"
    if whose != "nobody":
        lost = f"update summaries set thread_key = {site.row('other').key}"
    site.write_unchecked(lost)

    found = site.found()
    mended = site.repaired()

    assert list(found) == ["summary-missing"]
    assert [note.finding.ids["summary"] for note in mended.pop("summary-missing")] == [summary]
    assert mended == {}
    assert (site.row().summary_id, site.row().uncovered_messages) == (None, 4)
    assert site.found() == {}
