"""What a worker publishes of a turn: nothing while nobody looks, and all that a viewer needs as soon as one does."""

import asyncio
import json

import pytest

from conversation.events import DONE_POSITION, number_of
from store.live.event_channel import (
    WATCHED_TOPICS_MAX,
    Deltas,
    Envelope,
    OpenPiece,
    Ring,
    read_watch,
    seal,
    topic_of,
    unseal,
    write_watch,
)
from store.live.event_publisher import DELTA_SECONDS, SHOW_AGAIN_SECONDS, EventPublisher, TurnFeed

KEY = b"k" * 32
TOPIC, OWNER_TOPIC = topic_of("thread", "shop", "t"), topic_of("owner", "shop", "ann")
BASE = number_of(7, 1, 0)
MAX_NUMBER = number_of(7, 1, DONE_POSITION - 1)


class Valkey:
    """Where a publisher's envelopes arrive."""

    def __init__(self) -> None:
        self.publisher = EventPublisher(lambda topic, text: self.texts.append((topic, text)), KEY)
        self.texts: list[tuple[str, str]] = []

    def take(self) -> list[Envelope | None]:
        """The envelopes that came since the last call."""
        taken, self.texts = self.texts, []
        return [unseal(topic, text.encode(), KEY) for topic, text in taken]

    def watch(self, *topics: str, is_fresh: bool = False) -> None:
        self.publisher.hear_watch(write_watch(list(topics), is_fresh=is_fresh).encode())

    def feed(self) -> TurnFeed:
        return self.publisher.open_feed(tenant="shop", thread_id="t", turn_id="turn", owner="ann")


@pytest.fixture
def valkey() -> Valkey:
    return Valkey()


def deltas(number: int, text: str | None) -> Deltas:
    return Deltas(
        thread_id="t",
        turn_id="turn",
        message_id="m",
        base=BASE,
        previous=BASE + number - 1,
        deltas=((BASE + number, text),),
    )


async def test_nobody_looks_and_nothing_is_published(valkey: Valkey) -> None:
    feed = valkey.feed()
    feed.ring(1)
    feed.begin_piece("m", base=BASE, max_number=MAX_NUMBER)
    feed.add_text("hello")
    await asyncio.sleep(2 * DELTA_SECONDS)
    feed.end_piece()
    valkey.publisher.close_feed(feed)

    assert valkey.texts == []


async def test_the_first_delta_goes_out_at_once_and_what_follows_together(valkey: Valkey) -> None:
    valkey.watch(TOPIC)
    feed = valkey.feed()
    feed.begin_piece("m", base=BASE, max_number=MAX_NUMBER)
    feed.add_text("He")
    assert valkey.take() == [deltas(1, "He")]
    for text in "llo":
        feed.add_text(text)
    assert valkey.take() == []
    await asyncio.sleep(2 * DELTA_SECONDS)

    assert valkey.take() == [deltas(2, "llo")]
    feed.ring(BASE + DONE_POSITION)
    assert valkey.take() == [Ring(thread_id="t", number=BASE + DONE_POSITION)]


async def test_who_comes_in_the_middle_gets_the_whole_piece(valkey: Valkey) -> None:
    feed = valkey.feed()
    feed.ring(5)
    feed.begin_piece("m", base=BASE, max_number=MAX_NUMBER)
    feed.add_text("Hello")
    valkey.watch(OWNER_TOPIC)
    piece = OpenPiece(
        thread_id="t", turn_id="turn", message_id="m", base=BASE, restarted=None, text="Hello", ends=((BASE + 1, 5),)
    )
    assert valkey.take() == [deltas(1, "Hello"), Ring(thread_id="t", number=5), piece]
    valkey.watch(OWNER_TOPIC)
    assert valkey.take() == [], "it is followed already"
    for _ in range(100):
        valkey.watch(OWNER_TOPIC, is_fresh=True)
    assert valkey.take() == [], "it was shown a moment ago"
    await asyncio.sleep(2 * SHOW_AGAIN_SECONDS)

    assert valkey.take() == [Ring(thread_id="t", number=5), piece]


async def test_a_model_that_begins_anew_voids_what_came(valkey: Valkey) -> None:
    valkey.watch(TOPIC)
    feed = valkey.feed()
    feed.begin_piece("m", base=BASE, max_number=MAX_NUMBER)
    feed.restart()
    assert valkey.take() == [], "there is nothing to void"
    feed.add_text("Hel")
    feed.add_text("never sent")
    feed.begin_piece("m", base=BASE, max_number=MAX_NUMBER)
    feed.add_text("Bye")
    await asyncio.sleep(2 * DELTA_SECONDS)
    assert valkey.take() == [deltas(1, "Hel"), deltas(2, None), deltas(3, "Bye")]
    valkey.watch(TOPIC, is_fresh=True)

    assert valkey.take()[-1] == OpenPiece(
        thread_id="t", turn_id="turn", message_id="m", base=BASE, restarted=BASE + 2, text="Bye", ends=((BASE + 3, 3),)
    )


async def test_a_reply_without_an_end_ends_its_deltas_and_not_its_slot(valkey: Valkey) -> None:
    valkey.watch(TOPIC)
    feed = valkey.feed()
    feed.begin_piece("m", base=BASE, max_number=BASE + 1)
    feed.add_text("a")
    feed.add_text("b")
    await asyncio.sleep(2 * DELTA_SECONDS)

    assert valkey.take() == [deltas(1, "a")]


async def test_a_turn_that_is_over_is_forgotten(valkey: Valkey) -> None:
    valkey.watch(TOPIC)
    feed = valkey.feed()
    feed.begin_piece("m", base=BASE, max_number=MAX_NUMBER)
    feed.add_text("a")
    feed.add_text("b")
    valkey.publisher.close_feed(feed)
    valkey.take()
    valkey.watch(TOPIC, is_fresh=True)
    await asyncio.sleep(2 * DELTA_SECONDS)

    assert valkey.take() == []
    assert not valkey.publisher._feeds


def test_topics_that_a_worker_remembers_are_bounded(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.live.event_publisher.WATCHED_TOPICS_MAX", 3)
    names = [topic_of("thread", "shop", str(number)) for number in range(5)]
    valkey.watch(*names)

    assert [valkey.publisher.is_watched(name) for name in names] == [False, False, True, True, True]
    assert WATCHED_TOPICS_MAX > 1000


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"{}",
    b"[]",
    b"null",
    b'{"thread": 1, "number": 1}',
    b'{"thread": "t", "number": "1"}',
    b'{"thread": "t", "number": -1}',
    b'{"thread": "t", "number": 9007199254740992}',
    b'{"thread": "t", "number": true}',
    b"[" * 100_000,
    b"{" * 100_000,
    b"0" * 64 + b'{"kind": "deltas"}',
    b"\xc3\xa9" * 64,
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_what_no_worker_wrote_is_nothing(data: bytes) -> None:
    assert unseal(TOPIC, data, KEY) is None
    assert read_watch(data) == ([], False)


def test_words_are_taken_from_workers_alone() -> None:
    sealed = seal(TOPIC, deltas(1, "Hello"), KEY)
    assert unseal(TOPIC, sealed.encode(), KEY) == deltas(1, "Hello")

    assert unseal(OWNER_TOPIC, sealed.encode(), KEY) is None, "of another topic"
    assert unseal(TOPIC, sealed.replace("Hello", "Hullo").encode(), KEY) is None
    assert unseal(TOPIC, seal(TOPIC, deltas(1, "Hello"), b"x" * 32).encode(), KEY) is None
    assert unseal(TOPIC, json.dumps({"kind": "deltas"}).encode(), KEY) is None
    ring = Ring(thread_id="t", number=3)
    assert unseal(TOPIC, seal(TOPIC, ring, b"").encode(), KEY) == ring, "whoever can write may ring"


def test_announcements_name_topics_alone() -> None:
    odd = ["threadmill:cancel", TOPIC + "0", 5, None, TOPIC[:-1]]
    assert read_watch(json.dumps({"topics": [TOPIC, *odd], "fresh": 1}).encode()) == ([TOPIC], False)
    assert read_watch(write_watch([TOPIC] * 600, is_fresh=True).encode()) == ([TOPIC] * 500, True)
