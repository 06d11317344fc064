"""What was said long ago is still in front of the model after three rounds of summaries, without a model."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.agent import Agent
from conversation.attachment import Attachment
from conversation.message import Message
from conversation.summary import Summary
from conversation.thread import Thread
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.files.ingest import FileIngest
from store.settings import load
from store.summaries.summarize import defaults_of, summarize_to_low_mark
from tests.integration.desk import Desk

pytestmark = pytest.mark.soak

#: By the kind of what must not be lost.
PLANTED = {
    "order id": ("My order is #W1234567.", "#W1234567"),
    "uuid": ("The ticket is 7c9e6679-7425-40de-944b-e07fc1f90ae7.", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    "mail address": ("You reach me at ann.lee@mail.example.", "ann.lee@mail.example"),
    "date": ("The flight leaves on 2026-12-24.", "2026-12-24"),
    "date in words": ("We met on March 3rd, 2024.", "March 3rd, 2024"),
    "amount": ("I paid $1,250.50 for it.", "$1,250.50"),
    "amount in words": ("It costs 300 euros.", "300 euros"),
    "number": ("The room number is 42.", "The room number is 42."),
    "decision": ("We decided to paint the door blue.", "We decided to paint the door blue."),
    "name of somebody else": ("My sister is called Philippa.", "Philippa"),
    "attachment": ("Here you are.", "plan-of-the-house.txt"),
    "preference": ("I prefer a window seat.", "I prefer a window seat."),
    "name": ("Call me Margaret.", "Call me Margaret."),
    "open task": ("Please remind me to water the plants.", "remind me to water the plants"),
    "open task with a number": ("Please book 3 seats by Friday.", "book 3 seats by Friday"),
}


#: Which of them share a section with a crowd below; the others are facts.
OF_SECTION = {
    "number": "numbers",
    "decision": "decisions",
    "name of somebody else": "names",
    "attachment": "attachments",
    "preference": "preferences",
    "name": "preferences",
    "open task": "open_tasks",
    "open task with a number": "open_tasks",
}
#: A sentence for a number, by the section in which it ends up.
CROWDS = {
    "facts": "My order is #W{}.",
    "open_tasks": "Please refund order #W{}.",
    "preferences": "I prefer the hotel of #W{}.",
    "decisions": "We decided to keep #W{}.",
    "names": "My cat number {} is called Philippa.",
    "numbers": "The flat has {} rooms.",
    "attachments": "plan-{}.txt",
}
ROUNDS = 3
OF_A_ROUND = 150


@pytest.fixture
async def desk(any_database: Database) -> AsyncIterator[Desk]:
    yield Desk(any_database)
    await any_database.close_async()


@pytest.fixture
def keeper(desk: Desk, tmp_path: Path) -> FileIngest:
    return FileIngest(desk.database, LocalBlobs(tmp_path))


def asked(keeper: FileIngest, said: str, filename: str | None = None) -> Message:
    files = []
    if filename is not None:
        files = [Attachment(filename=filename, content=filename.encode(), media_type="text/plain")]
        keeper.store("default", files)
    return Message(role="user", content=said, attachments=files)


def talk(desk: Desk, count: int, *planted: Message) -> None:
    thread = Thread("t")
    for index in range(count):
        said = Message(role="user", content=f"We talk about the weather again, part {index}.")
        thread.add_message(planted[0] if planted and index == 1 else said)
        thread.add_message(Message(role="assistant", content=f"Yes, part {index} is fine."))
    desk.save(thread)


async def summarized(desk: Desk) -> list[Summary]:
    agent, defaults = Agent(name="a", summarize_keep_messages=10), defaults_of(load())
    marks = agent.water_marks(defaults)
    return await summarize_to_low_mark(desk.database, "default", "t", agent.summarizer(defaults), marks)


@pytest.mark.parametrize("kind", sorted(PLANTED))
async def test_it_outlives_three_rounds(desk: Desk, keeper: FileIngest, kind: str) -> None:
    said, value = PLANTED[kind]
    talk(desk, 60, asked(keeper, said, value if kind == "attachment" else None))

    for _ in range(ROUNDS):
        assert await summarized(desk)
        talk(desk, 60)
    await summarized(desk)

    claimed = desk.claim()
    assert len(desk.listed()) == 4
    assert not any(value in message.content for message in claimed.window)
    assert value in claimed.context[-1]
    assert len(claimed.context[-1]) < 1000


@pytest.mark.parametrize("any_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "crowd", ["facts", *(pytest.param(kind, marks=pytest.mark.endurance) for kind in sorted(CROWDS.keys() - {"facts"}))]
)
async def test_many_of_one_kind_push_out_no_other_and_what_does_not_fit_is_told(
    desk: Desk, keeper: FileIngest, crowd: str
) -> None:
    talk(desk, 2, asked(keeper, " ".join(PLANTED[kind][0] for kind in PLANTED), "plan-of-the-house.txt"))
    entries = []
    for number in range(ROUNDS * OF_A_ROUND):
        entries.append(CROWDS[crowd].format(1_000_000 + number))
        is_file = crowd == "attachments"
        message = asked(keeper, "see" if is_file else entries[-1], entries[-1] if is_file else None)
        desk.save(Thread("t", messages=[message]))
        if (number + 1) % OF_A_ROUND == 0:
            talk(desk, 20)
            await summarized(desk)

    current, *before = desk.listed()
    told = [summary.report or {} for summary in (current, *before)]
    kept = [entry for entry in entries if entry in current.content]
    others = [value for kind, (_, value) in PLANTED.items() if OF_SECTION.get(kind, "facts") != crowd]
    assert [value for value in others if value not in current.content] == []
    assert 0 < len(kept) < len(entries) == ROUNDS * OF_A_ROUND
    assert kept == entries[-len(kept) :]
    # Of the crowd's own kind, what was planted went out as well, but for what was short enough for a gap.
    own = [PLANTED[kind][kind == "attachment"] for kind in PLANTED if OF_SECTION.get(kind, "facts") == crowd]
    gone = len(entries) - len(kept) + sum(entry not in current.content for entry in own)
    assert sum(report["counts"]["crowded_out"] for report in told) == gone
