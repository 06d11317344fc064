"""A thread's events out of its rows: whoever reads on from any number has each of them once, with rising numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, delete
from sqlalchemy import event as sql_event

from conversation.errors import ThreadNotFound, TurnNotFound
from conversation.events import (
    AgentSteps,
    MessageDone,
    ThreadEvent,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
    event_json,
    number_of_end,
    number_of_start,
)
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.replay import assistant_message, replay_transcript
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Completed, Failed, HandOver, RefusedTurn, RetryLater, TurnError
from store import tables
from store.database.engine import Database
from store.threads import repository
from store.turns import cancel, claims, inbox, journal, requeue, settle, workers
from store.turns.claims import ClaimRequest
from store.turns.event_rows import EventPage, read_thread_events, read_turn_events
from store.turns.message_numbers import number_messages
from store.turns.send_request import SendRequest
from store.turns.thread_marks import peek_threads

SOURCE = {"agent": "a", "version": "1"}


def reply(index: int, content: str, *calls: ToolCall, finish_reason: str = "stop") -> Step:
    result: dict[str, Any] = {"content": content, "finish_reason": finish_reason}
    if calls:
        result["tool_calls"] = [call.to_json() for call in calls]
    return Step(index=index, kind="model", name="m", state="finished", result=result)


def intent(index: int, call: ToolCall) -> Step:
    return Step(index=index, kind="tool", call_id=call.id, name=call.name, state="started")


def done(index: int, call: ToolCall, content: str = "1") -> Step:
    result = {"content": content}
    return Step(index=index, kind="tool", call_id=call.id, name=call.name, state="finished", result=result)


@dataclass
class Viewer:
    """One who reads on from the last number that it has seen, each time that something may have happened."""

    database: Database
    seen: list[ThreadEvent] = field(default_factory=list)

    def look(self) -> list[ThreadEvent]:
        """What is new; two events a page or so, as with a history that is longer than a page."""
        fresh: list[ThreadEvent] = []
        while True:
            page = read(self.database, after=self.number, limit=1)
            fresh += page.events
            self.seen += page.events
            if not page.has_more:
                return fresh

    @property
    def number(self) -> int:
        return next((event.number for event in reversed(self.seen) if event.number), 0)


def read(database: Database, *, after: int = 0, limit: int = 500) -> EventPage:
    return database.run(read_thread_events, "default", "t", after=after, limit=limit)


@dataclass
class Site:
    """A thread whose turns are sent, claimed and settled step by step, under the eyes of a viewer."""

    database: Database
    viewer: Viewer
    worker: str = field(default_factory=new_id)

    def register(self) -> None:
        entry = {"host": "here", "pid": 1, "serves": {"a": "1"}, "lease_duration_seconds": 60}
        self.database.run(workers.register, **entry, worker=self.worker)

    def send(self, content: str, **options: Any) -> str:
        message = Message(role="user", content=content)
        request = SendRequest(
            turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="a", user="ann", **options
        )
        return self.database.run(inbox.accept, request).turn_id

    def claim(self) -> ClaimedTurn:
        claimant = ClaimRequest(worker=self.worker, agents={"a": "1"}, runs_quarantine=True)
        claimed = self.database.run(claims.claim, tenant="default", thread_id="t", claimant=claimant)
        assert isinstance(claimed, ClaimedTurn | RefusedTurn), claimed
        return claimed  # type: ignore[return-value]

    def record(self, claimed: ClaimedTurn, *steps: Step) -> None:
        self.database.run(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=steps)

    def settle(self, claimed: ClaimedTurn, ending: Any) -> None:
        self.database.run(settle.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    def complete(self, claimed: ClaimedTurn, *steps: Step) -> None:
        """Complete a turn by a run that made these steps, the last of which is journalled with its end."""
        self.settle(claimed, Completed(messages=messages_of(claimed, steps), steps=steps[-1:]))

    def die(self) -> None:
        """Let the worker die, and another one come."""
        self.database.run(lambda c: c.execute(delete(tables.workers)))
        self.worker = new_id()
        self.register()


def messages_of(claimed: ClaimedTurn, steps: tuple[Step, ...]) -> tuple[Message, ...]:
    transcript = replay_transcript(claimed.id, {step.index: step for step in steps[:-1]}, SOURCE)
    return (*transcript.close(source=SOURCE), assistant_message(claimed.id, steps[-1], SOURCE))


@pytest.fixture
def site(any_database: Database) -> Site:
    opened = Site(any_database, Viewer(any_database))
    opened.register()
    return opened


def story(events: list[ThreadEvent]) -> list[str]:
    """Events in a word or two each."""

    def tell(event: ThreadEvent) -> str:
        match event:
            case MessageDone():
                return f"{event.message.role}: {event.message.content}"
            case ToolCallStarted():
                return f"calls {event.call.id}"
            case TurnStarted():
                return f"attempt {event.attempt}"
            case TurnEnded():
                return str(event.state.value)
            case _:
                return event.kind

    return [tell(event) for event in events]


def assert_continues(site: Site, *, without: tuple[str, ...] = ()) -> None:
    """Whoever goes on behind any event that was seen has exactly what came after it; `without` what is over."""
    site.viewer.look()
    numbers = [event.number for event in site.viewer.seen]
    assert numbers == sorted(set(numbers)), "numbers rise"
    stored = read(site.database).events
    seen = [event for event in site.viewer.seen if story([event])[0] not in without]
    assert [(event.number, event.kind) for event in stored] == [(event.number, event.kind) for event in seen]
    for index, event in enumerate(stored):
        rest = read(site.database, after=event.number or 0).events
        assert [each.number for each in rest] == [each.number for each in stored[index + 1 :]]
    for limit in (1, 2, 3):
        viewer = Viewer(site.database)
        while (page := read(site.database, after=viewer.number, limit=limit)).events:
            viewer.seen += page.events
        assert [event.number for event in viewer.seen] == [event.number for event in stored]


CALLS = tuple(ToolCall(f"c{n}", "look", "{}") for n in range(3))


def test_a_turn_is_the_same_while_it_runs_and_when_it_is_over(site: Site) -> None:
    turn_id = site.send("hello")
    assert site.viewer.look() == []
    claimed = site.claim()
    assert story(site.viewer.look()) == ["attempt 1", "user: hello"]
    site.record(claimed, reply(0, "let me see", *CALLS), *(intent(n + 1, call) for n, call in enumerate(CALLS)))
    assert story(site.viewer.look()) == ["assistant: let me see", "calls c0", "calls c1", "calls c2"]
    site.record(claimed, done(2, CALLS[1]))
    assert site.viewer.look() == [], "a result waits for those before it"
    site.record(claimed, done(1, CALLS[0], "0"))
    assert story(site.viewer.look()) == ["tool: 0", "tool: 1"]
    site.record(claimed, done(3, CALLS[2], "2"))
    site.viewer.look()
    running = site.viewer.seen.copy()
    steps = (
        reply(0, "let me see", *CALLS),
        *(done(n + 1, call, str(n)) for n, call in enumerate(CALLS)),
        reply(4, "yes"),
    )
    site.complete(claimed, *steps)

    assert story(site.viewer.look()) == ["assistant: yes", "completed"]
    assert_continues(site)
    over = read(site.database).events
    assert [event_json(e) | {"message": 0} for e in over[: len(running)]] == [
        event_json(e) | {"message": 0} for e in running
    ]
    assert [e.message.id for e in over if isinstance(e, MessageDone)] == [
        e.message.id for e in site.viewer.seen if isinstance(e, MessageDone)
    ]
    of_turn = site.database.run(read_turn_events, turn_id)
    assert [event.number for event in of_turn.events] == [event.number for event in over]
    assert over[-1].number == number_of_end(1)


def test_a_crash_begins_another_attempt_and_repeats_nothing(site: Site) -> None:
    site.send("hello")
    first = site.claim()
    site.record(first, reply(0, "", *CALLS[:2]), intent(1, CALLS[0]), intent(2, CALLS[1]))
    site.record(first, done(2, CALLS[1], "second"))
    site.viewer.look()
    site.die()
    second = site.claim()
    assert story(site.viewer.look()) == ["attempt 2"]
    site.record(second, done(1, CALLS[0], "first"))
    assert story(site.viewer.look()) == ["tool: first", "tool: second"]
    site.die()
    third = site.claim()
    site.viewer.look()
    steps = (reply(0, "", *CALLS[:2]), done(1, CALLS[0], "first"), done(2, CALLS[1], "second"), reply(3, "yes"))
    site.complete(third, *steps)

    site.viewer.look()
    assert story(site.viewer.seen)[-3:] == ["attempt 3", "assistant: yes", "completed"]
    assert_continues(site, without=("attempt 2",))


def test_turns_follow_each_other_and_those_that_wait_are_told_of(site: Site) -> None:
    first, second = site.send("one"), site.send("two")
    due = datetime.now(UTC) + timedelta(hours=1)
    later = site.send("three", not_before=due)
    waiting = [(notice.turn_id, getattr(notice, "position", None)) for notice in read(site.database).notices]
    assert waiting == [(first, 0), (second, 1), (later, 2)]
    claimed = site.claim()
    page = read(site.database)
    assert page.running == first
    assert [notice.turn_id for notice in page.notices] == [second, later]
    assert getattr(page.notices[1], "due_at", None) == due
    site.complete(claimed, reply(0, "re one"))
    site.viewer.look()
    site.complete(site.claim(), reply(0, "re two"))

    assert story(site.viewer.look()) == ["attempt 1", "user: two", "assistant: re two", "completed"]
    assert_continues(site)
    of_later = site.database.run(read_turn_events, later)
    assert [(notice.kind, getattr(notice, "position", None)) for notice in of_later.notices] == [("turn.queued", 0)]


def test_what_is_tried_again_or_requeued_goes_on_behind_all_that_was_shown(site: Site) -> None:
    turn_id = site.send("hello")
    error = TurnError("model_error", "away", retryable=True)
    site.settle(site.claim(), RetryLater(after=timedelta(0), error=error))
    page = read(site.database)
    assert story(list(page.events)) == ["attempt 1", "user: hello"]
    assert getattr(page.notices[0], "error", None) == error
    site.viewer.look()
    site.settle(site.claim(), HandOver())
    site.viewer.look()
    site.settle(site.claim(), Failed(error=TurnError("agent_error", "broke")))
    assert story(site.viewer.look())[-1] == "failed"
    site.database.run(requeue.requeue, turn_id, new_turn_id=new_id(), new_message_id=new_id())
    site.viewer.look()
    site.complete(site.claim(), reply(0, "now"))

    assert story(site.viewer.look()) == ["attempt 4", "assistant: now", "completed"]
    assert_continues(site, without=("attempt 2", "attempt 3", "failed"))


def test_what_agents_do_that_were_called_as_tools_is_a_notice_while_the_turn_runs(site: Site) -> None:
    turn_id = site.send("ask them")
    claimed = site.claim()
    ask, look = ToolCall("c", "helper", "{}"), ToolCall("c", "look", "{}")
    nest = partial(replace, parent=1, agent="helper")
    site.record(claimed, reply(0, "I ask", ask), intent(1, ask))
    site.viewer.look()
    site.record(claimed, nest(reply(2, "secret", look)), nest(intent(3, look)))

    page = read(site.database)
    (notice,) = page.notices
    assert site.database.run(read_turn_events, turn_id).notices == page.notices
    assert isinstance(notice, AgentSteps)
    assert [(s.index, s.parent, s.agent, s.kind, s.name, s.state) for s in notice.steps] == [
        (2, 1, "helper", "model", "m", "finished"),
        (3, 1, "helper", "tool", "look", "started"),
    ]
    assert "secret" not in str(event_json(notice))
    # What has numbers goes on as if they were not there: the result, and the next reply behind it.
    assert site.viewer.look() == []
    site.record(claimed, nest(done(3, look)))
    site.record(claimed, done(1, ask, "found"))
    assert story(site.viewer.look()) == ["tool: found"]
    site.complete(claimed, reply(0, "I ask", ask), done(1, ask, "found"), reply(4, "there"))
    assert story(site.viewer.look()) == ["assistant: there", "completed"]
    assert read(site.database).notices == ()
    assert_continues(site)


def test_messages_of_no_turn_come_after_the_turn_in_which_they_were_added(site: Site) -> None:
    def append(content: str) -> None:
        thread = site.database.run(repository.load, "default", "t")
        added = Message(role="system", content=content)
        thread.messages.append(added)
        site.database.run(repository.save, thread, new=[added])

    site.send("hello")
    claimed = site.claim()
    append("meanwhile")
    assert story(site.viewer.look()) == ["attempt 1", "user: hello"]
    site.complete(claimed, reply(0, "hi"))
    append("afterwards")
    append("once more")
    assert story(site.viewer.look())[-4:] == [
        "completed",
        "system: meanwhile",
        "system: afterwards",
        "system: once more",
    ]
    site.send("again")
    site.complete(site.claim(), reply(0, "hi again"))

    assert_continues(site)


def test_a_turn_that_nobody_began_ends_by_a_notice_alone(site: Site) -> None:
    turn_id = site.send("hello")
    site.database.run(cancel.request_cancel, turn_id)

    assert read(site.database) == EventPage(address="t")
    page = site.database.run(read_turn_events, turn_id)
    assert page.events == ()
    assert [(notice.kind, notice.number) for notice in page.notices] == [("turn.ended", None)]


def test_half_an_answer_and_calls_that_were_cut_have_numbers_of_their_own(site: Site) -> None:
    site.send("hello")
    claimed = site.claim()
    cut = reply(0, "I will", CALLS[0], finish_reason="length")
    site.record(claimed, cut)
    transcript = replay_transcript(claimed.id, {0: cut}, SOURCE)
    transcript.close_block()
    transcript.partial_text, transcript.partial_id = "half", f"{claimed.id}-1"
    site.viewer.look()
    site.settle(claimed, Cancelled(messages=transcript.close(source=SOURCE)))

    told = story(site.viewer.look())
    assert told[0].startswith("tool: ")
    assert told[1:] == ["assistant: half", "cancelled"]
    assert_continues(site)


def test_each_message_of_a_history_says_where_its_stream_goes_on(site: Site) -> None:
    for text in ("one", "two", "three"):
        site.send(text)
        site.complete(site.claim(), reply(0, f"re {text}"))
    thread = site.database.run(repository.load, "default", "t")
    row = site.database.run(lambda c: c.execute(tables.threads.select()).one())
    events = {e.message.id: e.number for e in read(site.database).events if isinstance(e, MessageDone)}

    assert site.database.run(number_messages, row, thread.messages) == events
    assert site.database.run(number_messages, row, thread.messages[2:3]).items() <= events.items()


def test_marks_change_with_what_there_is_to_read(site: Site) -> None:
    def mark() -> object:
        return site.database.run(peek_threads, [("default", "t"), ("default", "other")])

    assert mark() == {}
    marks = []
    site.send("hello")
    marks.append(mark())
    claimed = site.claim()
    marks.append(mark())
    site.complete(claimed, reply(0, "hi"))
    marks.append(mark())

    assert all(one != other for n, one in enumerate(marks) for other in marks[:n])


def test_what_is_not_stored_is_named(any_database: Database) -> None:
    with pytest.raises(ThreadNotFound, match="'nowhere'"):
        any_database.run(read_thread_events, "default", "nowhere")
    with pytest.raises(TurnNotFound, match="turn_id"):
        any_database.run(read_turn_events, "no id")
    assert number_of_start(7) < number_of_end(7) < number_of_start(8) < 2**53


class Between:
    """Does something between two statements of a reading, as another process may."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements = 0

    def read(self, after: int, act: Callable[[], object], at: int) -> EventPage:
        """Read a page, and act before its statement of this index."""

        def reading(connection: Connection) -> EventPage:
            self.statements = 0

            def count(*_: object) -> None:
                self.statements += 1
                if self.statements == at:
                    act()

            sql_event.listen(connection, "before_cursor_execute", count)
            try:
                return read_thread_events(connection, "default", "t", after=after)
            finally:
                sql_event.remove(connection, "before_cursor_execute", count)

        return self._database.run(reading)


def act_out(site: Site) -> Iterator[Callable[[], object]]:
    """What happens to a thread, in steps: two turns are sent, one of them through the death of its worker."""
    claimed: list[ClaimedTurn] = []
    call = ToolCall(id="c", name="m", arguments="{}")
    first, second = reply(0, "", call, finish_reason="tool_calls"), reply(2, "It is.")
    yield lambda: site.send("Is it?")
    yield lambda: claimed.append(site.claim())
    yield lambda: site.record(claimed[-1], first, intent(1, call))
    yield site.die
    yield lambda: claimed.append(site.claim())
    yield lambda: site.record(claimed[-1], done(1, call))
    yield lambda: site.send("And then?")
    yield lambda: site.complete(claimed[-1], first, done(1, call), second)
    yield lambda: claimed.append(site.claim())
    yield lambda: site.complete(claimed[-1], reply(0, "That is all."))


def test_whatever_happens_between_two_statements_of_a_reading_no_event_is_passed_over(database: Database) -> None:
    """Each statement sees another moment."""
    for at in range(1, 9):
        site = Site(database, Viewer(database))
        site.register()
        database.run(lambda connection: connection.execute(delete(tables.threads)))
        between, seen = Between(database), []
        site.send("Before.")
        site.complete(site.claim(), reply(0, "Hello."))
        for act in act_out(site):
            page = between.read(seen[-1].number if seen else 0, act, at)
            if between.statements < at:
                act()
            seen += page.events
            waiting = {notice.turn_id for notice in page.notices}
            for index, each in enumerate(page.events):
                # A reply's first delta may come at once behind both.
                if isinstance(each, TurnStarted) and each.attempt == 1:
                    assert story(list(page.events[index + 1 : index + 2]))[0].startswith("user: ")
            assert not waiting & {event.turn_id for event in page.events if isinstance(event, TurnStarted)}
        seen += read(database, after=seen[-1].number or 0).events

        assert story(seen) == story(list(read(database).events)), f"before statement {at}"
