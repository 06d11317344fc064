"""What cannot be stored is refused with its field and its remedy; all else is read back as it was sent."""

import math
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from conversation.attachment import Attachment
from conversation.errors import FileRejected, InvalidInput
from conversation.validation import METADATA_MAX_BYTES, METADATA_MAX_DEPTH
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.backend import NOTHING, counts, queued_wake_ups, said

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"


def nested(levels: int) -> dict[str, Any]:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return {"a": value}


class NoZone(datetime):
    def utcoffset(self) -> timedelta | None:
        return None


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "thread id empty": ("thread_id", {"thread_id": ""}),
    "thread id too long": ("thread_id", {"thread_id": "x" * 256}),
    "thread id with a control character": ("thread_id", {"thread_id": "a\x07b"}),
    "thread id with NUL": ("thread_id", {"thread_id": "a\x00b"}),
    "thread id with a newline": ("thread_id", {"thread_id": "a\n"}),
    "thread id with a slash": ("thread_id", {"thread_id": "a/b"}),
    "thread id with a backslash": ("thread_id", {"thread_id": "a\\b"}),
    "thread id a way up": ("thread_id", {"thread_id": ".."}),
    "thread id a number": ("thread_id", {"thread_id": 5}),
    "thread id nothing": ("thread_id", {"thread_id": None}),
    "thread id a lone surrogate": ("thread_id", {"thread_id": "a\ud800"}),
    "thread id with a space of no width": ("thread_id", {"thread_id": "ann\u200b"}),
    "thread id turned around": ("thread_id", {"thread_id": "user-\u202egpj.exe"}),
    "thread id of a filler": ("thread_id", {"thread_id": "\u3164"}),
    "thread id with a hidden text": ("thread_id", {"thread_id": "a" + "".join(chr(0xE0000 + ord(c)) for c in "hi")}),
    "thread id decomposed": ("thread_id", {"thread_id": "cafe\u0301"}),
    "user with a mark of order": ("user", {"user": "\ufeffann"}),
    "user decomposed": ("user", {"user": "A\u030a"}),
    "user of metadata invisible": ("metadata.user", {"metadata": {"user": "ann\u00ad"}}),
    "user empty": ("user", {"user": ""}),
    "user too long": ("user", {"user": "x" * 256}),
    "user with a newline": ("user", {"user": "ann\n"}),
    "user with an escape": ("user", {"user": "\x1b]52;c;ZXZpbA==\x07"}),
    "user with a C1 control": ("user", {"user": "ann\x9b31m"}),
    "user with white space": ("user", {"user": "ann lee"}),
    "user with NUL": ("user", {"user": "ann\x00"}),
    "user a way up": ("user", {"user": ".."}),
    "user a number": ("user", {"user": 42}),
    "user a lone surrogate": ("user", {"user": "a\ud800"}),
    "user of metadata no id": ("metadata.user", {"metadata": {"user": "Ann Lee"}}),
    "user of metadata too long": ("metadata.user", {"metadata": {"user": "x" * 256}}),
    "tenant empty": ("tenant", {"tenant": ""}),
    "tenant a way up": ("tenant", {"tenant": "a..b"}),
    "tenant with a slash": ("tenant", {"tenant": "a/b"}),
    "tenant nothing": ("tenant", {"tenant": None}),
    "tenant too long": ("tenant", {"tenant": "a" * 64}),
    "content with NUL": ("content", {"content": "a\x00b"}),
    "content a lone surrogate": ("content", {"content": "a\udfff"}),
    "content too long": ("content", {"content": "x" * 1_000_001}),
    "content bytes": ("content", {"content": b"hello"}),
    "content nothing": ("content", {"content": None}),
    "content empty": ("content", {"content": ""}),
    "content blank": ("content", {"content": " \n\t"}),
    "content no parts": ("content", {"content": []}),
    "content an empty part": ("content", {"content": [{"type": "text", "text": " "}]}),
    "content of a part of no kind": ("content.type", {"content": [{"type": "sound"}]}),
    "content a dict": ("content", {"content": {"type": "text", "text": "hello"}}),
    "content a number in a list": ("content", {"content": [5]}),
    "content of a file that is not attached": (
        "parts",
        {"content": ["hello", {"type": "file", "file": {"filename": "a.txt"}}]},
    ),
    "content nothing beside a file": (
        "content",
        {"content": None, "attachments": [Attachment(filename="a.txt", content=b"a")]},
    ),
    "metadata a list": ("metadata", {"metadata": ["a"]}),
    "metadata with a number as key": ("metadata", {"metadata": {1: "a"}}),
    "metadata with a number as a key below": ("metadata", {"metadata": {"a": [{1: "a"}]}}),
    "metadata with an object": ("metadata", {"metadata": {"a": object()}}),
    "metadata with bytes": ("metadata", {"metadata": {"a": b"a"}}),
    "metadata with a set": ("metadata", {"metadata": {"a": {1}}}),
    "metadata with NaN": ("metadata", {"metadata": {"a": {"b": math.nan}}}),
    "metadata with infinity": ("metadata", {"metadata": {"a": -math.inf}}),
    "metadata with an endless number": ("metadata", {"metadata": {"a": 10**5000}}),
    "metadata too large": ("metadata", {"metadata": {"a": "x" * METADATA_MAX_BYTES}}),
    "metadata too deep": ("metadata", {"metadata": nested(METADATA_MAX_DEPTH + 1)}),
    "metadata far too deep": ("metadata", {"metadata": nested(5000)}),
    "metadata with NUL deep inside": ("metadata", {"metadata": {"a": [{"b": "c\x00"}]}}),
    "metadata with NUL in a key": ("metadata", {"metadata": {"a": {"b\x00": 1}}}),
    "metadata with a lone surrogate": ("metadata", {"metadata": {"a": ["\ud83d"]}}),
    "priority too high": ("priority", {"priority": 10}),
    "priority below zero": ("priority", {"priority": -1}),
    "priority a float": ("priority", {"priority": 1.0}),
    "priority a flag": ("priority", {"priority": True}),
    "priority text": ("priority", {"priority": "9"}),
    "not_before without a zone": ("not_before", {"not_before": datetime(2030, 1, 1)}),  # noqa: DTZ001 - the point
    "not_before with half a zone": ("not_before", {"not_before": NoZone(2030, 1, 1, tzinfo=UTC)}),
    "not_before a day": ("not_before", {"not_before": date(2030, 1, 1)}),
    "not_before text": ("not_before", {"not_before": "tomorrow"}),
    "not_before past all calendars": (
        "not_before",
        {"not_before": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))},
    ),
    "deadline without a zone": ("deadline", {"deadline": datetime(2030, 1, 1)}),  # noqa: DTZ001 - the point
    "role assistant": ("role", {"role": "assistant"}),
    "role tool": ("role", {"role": "tool"}),
    "role unheard of": ("role", {"role": "root"}),
    "agent empty": ("agent", {"agent": ""}),
    "agent a number": ("agent", {"agent": 5}),
    "agent invisible": ("agent", {"agent": "assistant\u2060"}),
    "idempotency key invisible": ("idempotency_key", {"idempotency_key": "k\u200d"}),
    "idempotency key empty": ("idempotency_key", {"idempotency_key": ""}),
    "idempotency key too long": ("idempotency_key", {"idempotency_key": "k" * 256}),
    "attachments one path": ("attachments", {"attachments": "note.txt"}),
    "attachments one file": ("attachments", {"attachments": Attachment(filename="a.txt", content=b"a")}),
    "attachments a number": ("attachments", {"attachments": 5}),
    "attachments of numbers": ("attachments", {"attachments": [5]}),
    "attachments of bytes": ("attachments", {"attachments": [b"hello"]}),
    "attachments of nothing": ("attachments", {"attachments": [None]}),
    "attachments too many": (
        "attachments",
        {"attachments": [Attachment(filename=f"{n}.txt", content=b"a") for n in range(21)]},
    ),
    "attachments missing": ("attachments", {"attachments": ["/no/such/file.txt"]}),
    "attachments a folder": ("attachments", {"attachments": ["/"]}),
    "attachments a device": ("attachments", {"attachments": ["/dev/zero"]}),
    "attachments a name too long": ("attachments", {"attachments": ["x" * 5000]}),
    "attachments without bytes": (
        "attachments.content",
        {"attachments": [Attachment(filename="a.txt", sha256="0" * 64)]},
    ),
}


async def test_bad_input_is_refused_by_field_with_a_remedy_and_nothing_is_stored(
    producer: Producer, async_producer: Producer, database: Database, settings: Settings
) -> None:
    wrong = {case: await refusal_of(producer, async_producer, **values) for case, (_, values) in REFUSED.items()}

    assert wrong == {case: (field, f"{field}: ", True) for case, (field, _) in REFUSED.items()}
    assert (counts(database), queued_wake_ups(settings)) == (NOTHING, [])


async def refusal_of(producer: Producer, async_producer: Producer, **values: Any) -> tuple[str, str, bool] | None:
    """The field of a refusal, the beginning of its text, and whether it has a remedy; None for none."""
    sent: dict[str, Any] = {"thread_id": "t", "content": "hello"} | values
    try:
        await async_producer.send_async(**sent)
    except InvalidInput:
        pass
    else:
        return None
    try:
        producer.send(**sent)
    except InvalidInput as refused:
        return refused.field, str(refused)[: len(refused.field) + 2], bool(refused.fix)
    return None


LYING: dict[str, tuple[str, Callable[[], Attachment]]] = {
    "empty": ("is empty", lambda: Attachment(filename="a.txt", content=b"")),
    "too large": ("at most 20971520", lambda: Attachment(filename="a.txt", content=b"a" * 20_971_521)),
    "a picture in name only": ("called image/png", lambda: Attachment(filename="a.png", content=b"<html>")),
    "a picture by its word only": (
        "called image/png",
        lambda: Attachment(filename="a", content=b"%PDF-1.7\n", media_type="image/png"),
    ),
    "of no welcome type": ("not accepted", lambda: Attachment(filename="a.bin", content=b"\x7fELF\x02\x01")),
}


def test_a_file_that_is_not_welcome_is_refused_by_name_and_nothing_is_stored(
    producer: Producer, database: Database, tmp_path: Path
) -> None:
    good = Attachment(filename="good.txt", content=b"good")

    for problem, attachment in LYING.values():
        with pytest.raises(FileRejected, match=problem) as refused:
            producer.send("t", "see this", attachments=[good, attachment()])

        assert repr(attachment().filename) in str(refused.value)
    assert counts(database) == NOTHING
    assert not (tmp_path / "files").exists()


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    producer: Producer, database: Database, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(100 * 1024**3)

    with pytest.raises(FileRejected, match="107374182400 bytes"):
        producer.send("t", "see this", attachments=[huge])

    assert counts(database) == NOTHING


def test_a_file_that_may_not_be_read_is_refused(producer: Producer, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    secret.chmod(0)
    if os.access(secret, os.R_OK):  # root may read everything: a loop of links nobody can
        secret.unlink()
        secret.symlink_to(secret)

    with pytest.raises(InvalidInput, match=r"attachments: .*secret\.txt"):
        producer.send("t", "see this", attachments=[secret])


@pytest.mark.parametrize(
    "wrong",
    [
        {"filename": "a.txt", "content": 5},
        {"filename": "a.txt", "content": [1, 2]},
        {"filename": "a.txt", "content": "text"},
        {"filename": "a.txt", "content": None},
        {"filename": "../a.txt", "content": b"a"},
        {"filename": "", "content": b"a"},
        {"filename": "a\x00.txt", "content": b"a"},
        {"filename": 5, "content": b"a"},
        {"filename": "x" * 256, "content": b"a"},
        {"filename": "a.txt", "content": b"a", "media_type": 5},
    ],
)
def test_an_attachment_that_is_none_is_refused_when_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^attachments\.\w+: .*; "):
        Attachment(**wrong)


@pytest.mark.parametrize("option", [{"attachments": None}, {"metadata": None}, {"agent": None}])
def test_an_option_that_is_none_is_one_that_was_left_out(producer: Producer, option: dict[str, Any]) -> None:
    assert producer.send("t", "hello", **option).is_new


def test_metadata_up_to_the_last_level_is_stored(producer: Producer, database: Database) -> None:
    metadata = nested(METADATA_MAX_DEPTH - 1)

    turn = producer.send("t", "hello", metadata=metadata)

    assert said(database, turn.id).metadata == metadata


ANY_TEXT = st.text(alphabet=st.characters(), max_size=40)
ANY_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=3)
ANY_VALUE = st.recursive(
    ANY_SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(content=ANY_TEXT, metadata=st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=4))
@example(content="ok", metadata={"a": 1e23, "b": -1.5e300, "c": 5e-324, "d": 2.0**53, "e": -0.0})
@example(content="\ufeff\u2028\ud7ff\ue000\U0010ffff", metadata={"": {"": []}})
@example(content="a\r\nb\x1a\x7f\x85", metadata={"int": int(1.7976931348623157e308)})
@run_with(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the database is one for all examples: each asks only for its own turn
def test_whatever_comes_in_is_refused_or_read_back_equal(
    producer: Producer, spy: Any, database: Database, content: str, metadata: dict[str, Any]
) -> None:
    before = len(spy.notified)

    try:
        turn = producer.send("t", content, metadata=metadata)
    except InvalidInput:
        assert len(spy.notified) == before
        return

    stored = said(database, turn.id)
    assert (stored.content, stored.metadata) == (content, metadata)
