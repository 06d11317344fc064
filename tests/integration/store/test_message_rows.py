"""Rows of messages: the same message out of a statement's row and out of JSON that the database wrote."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.parts import FilePart, ImagePart, TextPart
from store.database.engine import Database
from store.history import message_rows
from store.history.message_rows import ROW_COLUMNS
from store.lineage import row_lineage
from store.tables import messages, threads

EAST = timezone(timedelta(hours=5, minutes=30))
FILE = Attachment(filename="a.txt", media_type="text/plain", sha256="0" * 64, size=3)
SPOKEN_MESSAGES = (
    Message(role="system", content="Be kind.", created_at=datetime(2026, 1, 31, 12, tzinfo=UTC)),
    Message(
        role="user",
        parts=(TextPart("see"), FilePart("a.txt"), ImagePart("https://a.example/b.png")),
        attachments=[FILE],
        name="Zoë",
        metadata={"z": [1, 2.5, None, True], "a": {"e": 1e23, "text": 'quo"te\\'}},
        source={"from": "import"},
        created_at=datetime(2026, 7, 1, 1, 2, 3, 100_000, tzinfo=EAST),
    ),
    Message(
        role="assistant",
        tool_calls=(ToolCall("c1", "add", '{"b": 1, "a": 2}'), ToolCall("c2", "add", "{")),
        reasoning="hm\n",
        # Kept as text: in its order, with characters that jsonb refuses.
        provider_fields={"z": "\x00", "a": "1"},
        usage=Usage(3, 2, 1, is_estimate=True),
        created_at=datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC),
    ),
    Message(role="tool", tool_call_id="c1", name="add", content="3"),
    Message(role="assistant", content="It is 3", state="truncated", usage=Usage(9, 1)),
)


@pytest.fixture
def connection(any_database: Database) -> Iterator[Connection]:
    """A transaction that stored `SPOKEN_MESSAGES` in thread 1."""
    with any_database.engine.begin() as connection:
        now = datetime.now(UTC)
        connection.execute(
            insert(threads).values(key=1, tenant="t", id="t", metadata={}, created_at=now, updated_at=now)
        )
        connection.execute(
            messages.insert(), message_rows.reply_rows(1, None, after_seq=0, replies=list(SPOKEN_MESSAGES))
        )
        yield connection


def stored(message: Message, seq: int) -> dict[str, Any]:
    return message.to_json() | {
        "seq": seq,
        "attachments": [],
        "created_at": message.created_at.astimezone(UTC).isoformat(),
    }


def test_a_message_out_of_a_row_is_the_one_that_was_stored(connection: Connection) -> None:
    rows = connection.execute(message_rows.stored_rows(1, after_seq=0, to_seq=9).order_by("seq")).all()

    loaded_messages = message_rows.load(connection, row_lineage(1), rows)

    assert [message.to_json() for message in loaded_messages] == [
        stored(message, seq) for seq, message in enumerate(SPOKEN_MESSAGES, start=1)
    ]
    assert all(message.created_at.tzinfo is UTC for message in loaded_messages)
    loaded_with_files = message_rows.build_messages(rows, {SPOKEN_MESSAGES[1].id: [FILE]})
    assert [message.attachments for message in loaded_with_files] == [[], [FILE], [], [], []]


@pytest.mark.parametrize("any_database", ["postgresql"], indirect=True)
def test_a_message_out_of_json_is_the_one_out_of_the_row(connection: Connection) -> None:
    rows = connection.execute(message_rows.stored_rows(1, after_seq=0, to_seq=9).order_by("seq"))
    loaded_messages = message_rows.load(connection, row_lineage(1), rows)
    json_row = f"json_build_array({', '.join(ROW_COLUMNS)})"
    connection.exec_driver_sql("SET LOCAL TimeZone = 'Asia/Kolkata'")

    texts = connection.exec_driver_sql(f"SELECT cast({json_row} AS text) FROM messages ORDER BY seq").scalars()

    messages_of_json = message_rows.build_messages([json.loads(each) for each in texts], {})
    assert messages_of_json == loaded_messages
    # Equal moments can be in different zones.
    assert [message.to_json() for message in messages_of_json] == [message.to_json() for message in loaded_messages]
