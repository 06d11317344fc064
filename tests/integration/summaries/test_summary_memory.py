"""What was said long ago is still in front of the model after three rounds of summaries, without a model."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from agent.agent import Agent
from conversation.message import Message
from conversation.thread import Thread
from store.engine import Database
from store.settings import load
from store.summarizing import defaults_of, summarize_down
from tests.integration.desk import Desk

#: By the kind of what must not be lost.
PLANTED = {
    "order id": ("My order is #W1234567.", "#W1234567"),
    "uuid": (
        "The ticket is 7c9e6679-7425-40de-944b-e07fc1f90ae7.",
        "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    ),
    "mail address": ("You reach me at ann.lee@mail.example.", "ann.lee@mail.example"),
    "date": ("The flight leaves on 2026-12-24.", "2026-12-24"),
    "date in words": ("We met on March 3rd, 2024.", "March 3rd, 2024"),
    "amount": ("I paid $1,250.50 for it.", "$1,250.50"),
    "amount in words": ("It costs 300 euros.", "300 euros"),
    "preference": ("I prefer a window seat.", "I prefer a window seat."),
    "name": ("Call me Margaret.", "Call me Margaret."),
    "open task": ("Please remind me to water the plants.", "remind me to water the plants"),
    "open task with a number": ("Please book 3 seats by Friday.", "book 3 seats by Friday"),
}


@pytest.fixture
async def desk(any_database: Database) -> AsyncIterator[Desk]:
    yield Desk(any_database)
    await any_database.close_async()


def talk(desk: Desk, count: int, *planted: str) -> None:
    thread = Thread("t")
    for index in range(count):
        said = planted[0] if planted and index == 1 else f"We talk about the weather again, part {index}."
        thread.add_message(Message(role="user", content=said))
        thread.add_message(Message(role="assistant", content=f"Yes, part {index} is fine."))
    desk.save(thread)


@pytest.mark.parametrize("kind", sorted(PLANTED))
async def test_it_outlives_three_rounds(desk: Desk, kind: str) -> None:
    said, value = PLANTED[kind]
    defaults = defaults_of(load())
    agent = Agent(name="a", summarize_keep_messages=10)
    talk(desk, 60, said)

    for _ in range(3):
        down = partial(summarize_down, desk.database, "default", "t")
        assert await down(agent.summarizer(defaults), agent.water_marks(defaults))
        talk(desk, 60)
    await down(agent.summarizer(defaults), agent.water_marks(defaults))

    claimed = desk.claim()
    assert len(desk.listed()) == 4
    assert not any(value in message.content for message in claimed.window)
    assert value in claimed.context[-1]
    assert len(claimed.context[-1]) < 1000
