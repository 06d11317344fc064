"""`send --stream`, `turns tail` and `threads tail`: what happens, as it happens, and nothing that a terminal obeys."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import typer

from conversation.events import DONE_POSITION, MessageDelta, MessageDone, MessageRestarted, ThreadEvent, ToolCallStarted
from conversation.message import Message, ToolCall
from producers import Producer
from store.database.engine import Database
from store.live.event_channel import Ring, seal, topic_of
from store.settings import Settings
from tests.command import run_command
from tests.integration.producers.backend import answer, register_agent
from threadmill.cli.tail import INTERRUPTED, EventPrinter

REPLY = "0197-turn-0"


def delta(number: int, text: str) -> MessageDelta:
    return MessageDelta(thread_id="t", turn_id="turn", number=number, message_id=REPLY, text=text)


def done(content: str, role: str = "assistant", **fields: object) -> MessageDone:
    message = Message(role=role, content=content, id=REPLY, **fields)  # type: ignore[arg-type]
    return MessageDone(thread_id="t", turn_id="turn", number=DONE_POSITION, message=message)


def answer_and_ring(settings: Settings, database: Database, worker: str, thread: str, text: str) -> None:
    """What a worker does with a thread's next turn, and what it tells those who follow it."""
    answer(database, worker, thread, text)
    topic = topic_of("thread", "default", thread)
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client:
        client.publish(topic, seal(topic, Ring(thread_id=thread, number=0), b""))


RESTARTED = MessageRestarted(thread_id="t", turn_id="turn", number=5, message_id=REPLY)
TOOL = ToolCall("call-1", "look", '{"at": "\x1b[31m"}')
CALL = ToolCallStarted(thread_id="t", turn_id="turn", number=DONE_POSITION + 1, message_id=REPLY, call=TOOL)


@pytest.mark.parametrize(
    ("events", "printed"),
    [
        ([delta(1, "one "), delta(2, "two"), done("one two")], "one two\n"),
        ([done("one two")], "one two\n"),
        ([delta(1, "one\n"), done("one\n")], "one\n"),
        ([delta(1, "wrong "), RESTARTED, delta(6, "right"), done("right")], "wrong \nright\n"),
        ([delta(1, "wrong"), RESTARTED, done("right")], "wrong\nright\n"),
        ([delta(1, "\x1b]52;c;"), delta(2, "x\x07\r"), done("\x1b]52;c;x\x07\r")], "\\x1b]52;c;x\\x07\\r\n"),
        ([delta(1, "I look"), done("I look", tool_calls=(TOOL,)), CALL], "I look\n"),
        ([done("hello", "user")], "user: hello\n"),
    ],
)
def test_text_is_printed_once_as_it_grows(
    events: list[ThreadEvent], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printer = EventPrinter()

    for event in events:
        printer.print_event(event)

    said = capsys.readouterr()
    assert said.out == printed
    assert not {"\x1b", "\x07", "\r"} & {*said.out, *said.err}


def test_ctrl_c_stops_the_looking_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> Iterator[ThreadEvent]:
        yield delta(7, "I wa")
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        EventPrinter().print_all(interrupt(), "go on with: threadmill turns tail turn")

    said = capsys.readouterr()
    assert ended.value.exit_code == INTERRUPTED
    assert said.out == "I wa\n"
    assert said.err.endswith("go on with: threadmill turns tail turn --after 7\n")


def test_a_turn_is_sent_streamed_and_followed_again(settings: Settings, database: Database, tmp_path: Path) -> None:
    environment = {
        "THREADMILL_DATABASE_URL": settings.database_url.get_secret_value(),
        "THREADMILL_BROKER_URL": settings.broker_url.get_secret_value(),
        "PATH": "/usr/bin:/bin",
    }
    worker = register_agent(database)
    producer = Producer(settings)
    turn = producer.send("other", "first")
    answering = threading.Timer(0.3, answer_and_ring, args=(settings, database, worker, "other", "here"))
    answering.start()

    def run(*arguments: str) -> tuple[int, str, str]:
        ended = run_command(*arguments, folder=tmp_path, environment=environment)
        return ended.returncode, ended.stdout, ended.stderr

    of_turn = run("turns", "tail", turn.id)
    answering.join()
    of_thread = run("threads", "tail", "other", "--once", "--json")
    events = [json.loads(line) for line in of_thread[1].splitlines()]
    rest = run("threads", "tail", "other", "--once", "--after", str(events[1]["id"]))
    nothing = run("threads", "tail", "never")
    waiter = threading.Timer(0.5, answer_and_ring, args=(settings, database, worker, "t", "it is here"))
    waiter.start()
    sent = run("send", "t", "where?", "--agent", "assistant", "--stream")
    waiter.join()
    producer.close()

    assert of_turn[:2] == (0, "user: first\nhere\n")
    assert [event["type"] for event in events] == ["turn.started", "message.done", "message.done", "turn.ended"]
    assert rest[1] == "here\n"
    assert nothing[0] == 1
    assert "never" in nothing[2]
    assert sent[:2] == (0, "it is here\n")
