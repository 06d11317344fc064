"""Messages longer than what a summarizer is shown of one: nothing behind that is lost in silence."""

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from agent.models.capabilities import Capabilities
from agent.models.protocol import RECALL_MODEL, ModelReply, ModelRequest
from agent.offline.model import RecallModel
from agent.summaries.prompt import OMISSION_MARK, PICKED_CHARS, SHOWN_CHARS, select_shown_text
from agent.summaries.summarizer import ModelSummarizer
from conversation.attachment import Attachment
from conversation.errors import ModelError
from conversation.message import Message, ToolCall
from conversation.summary import Draft, NewSummary
from tests.integration.scripted import Scripted, says

pytestmark = pytest.mark.soak

TALK = "The weather was fine and we talked about it. "
#: Longer than what is shown.
LONG = TALK * (2 * SHOWN_CHARS // len(TALK))


async def summarized(covered: Sequence[Message], *answers: str, max_chars: int = 24_000) -> NewSummary:
    """By a model that gives these answers; without one, by the offline model."""
    model = Scripted(*map(says, answers)) if answers else RecallModel()
    name = "scripted" if answers else RECALL_MODEL
    summarizer = ModelSummarizer(model=model, model_name=name, max_chars=max_chars)
    draft = Draft(thread_key=1, previous_id=None, previous_content="", from_seq=1, to_seq=9, covered_messages=covered)
    return await summarizer.summarize(draft)


def user(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


@pytest.mark.parametrize(
    "said",
    [
        "My order is #W1234567.",
        "The flight leaves on 2026-12-24.",
        "I paid $1,250.50 for it.",
        "I prefer a window seat.",
        "Please remind me to water the plants.",
        "We decided to paint it blue.",
        "My sister is called Margaret.",
        "The room number is 42.",
    ],
)
async def test_the_offline_model_picks_from_the_whole_of_a_message(said: str) -> None:
    found = await summarized(user(f"{LONG}{said} {LONG}"))

    assert said in found.content
    assert found.report is not None
    assert not any(found.report["counts"].values())


async def test_a_sentence_on_the_edge_is_shown_whole() -> None:
    said = "Please refund order #W1234567 by Friday."
    before = TALK * (SHOWN_CHARS // len(TALK))

    for moved in range(0, 60, 7):
        text = "x" * moved + before + said + " " + LONG
        shown, _ = select_shown_text(text)
        assert shown.count(said) == 1
        assert shown.count("Please") == 1
        assert (await summarized(user(text))).content.count("#W1234567") == 1


def test_what_is_picked_is_bounded_and_the_rest_is_named() -> None:
    tasks = [f"Please refund order #W{1_000_000 + n} today." for n in range(300)]

    shown, unseen = select_shown_text(LONG + "\n".join(tasks))

    picked = shown.split(OMISSION_MARK)[1].split("\n")[1:]
    assert sum(map(len, picked)) <= PICKED_CHARS < sum(map(len, picked)) + len(tasks[0])
    assert [*picked, *unseen] == tasks


async def test_what_no_model_saw_of_requests_is_put_back() -> None:
    """Also a request without any value: nothing else could tell that it is missing."""
    tasks = [
        f"Please call the {'very ' * 40}old man by Friday, the {n // 26}{chr(97 + n % 26)} one." for n in range(19)
    ]
    plain = "Please remind me to water the plants."

    found = await summarized(user(LONG + " ".join([*tasks, plain])), json.dumps({"facts": ["x"]}))

    assert found.sections is not None
    assert plain in found.sections["open_tasks"]


async def test_what_a_model_leaves_out_is_dropped_by_all_that_is_covered() -> None:
    covered = [
        *user(f"{LONG}My order is #W1234567."),
        Message(role="assistant", content=f"{LONG}It arrives on 2026-12-24."),
        *user(f"{LONG}Please send {'a long, long list of things, ' * 20} to Margaret in 3 days."),
    ]

    found = await summarized(covered, json.dumps({"facts": ["They talked about #W1234567."]}))

    assert found.report is not None
    # The request is longer than what is repeated: its number and its names are told.
    assert found.report["dropped"] == ["2026-12-24", "3", "Margaret"]


async def test_what_stands_behind_a_hundred_thousand_characters_is_put_back() -> None:
    far = TALK * (150_000 // len(TALK))

    found = await summarized(user(f"{far}Please refund order #W1234567."), json.dumps({"facts": ["x"]}))

    assert "Please refund order #W1234567." in found.content


async def test_the_calls_of_a_long_message_are_shown() -> None:
    model = Scripted(says(json.dumps({"facts": ["x"]})))
    call = ToolCall("c1", "refund", '{"order": "#W1234567"}')
    covered = [Message(role="assistant", content=LONG, tool_calls=(call,))]
    draft = Draft(thread_key=1, previous_id=None, previous_content="", from_seq=1, to_seq=9, covered_messages=covered)

    await ModelSummarizer(model=model, model_name="scripted", max_chars=4000).summarize(draft)

    assert "asks for refund" in str(model.requests[0].messages)


def crowd(count: int) -> list[Message]:
    """So many of each kind, and as many files."""
    said = (
        "#W{}.", "I prefer {}.", "Please book {}.", "We decided {}.", "The cat named Tom has {}.", "Room {}.",
    )  # fmt: skip
    files = [Attachment(filename=f"{n}.txt", sha256=f"{n:064}", size=1) for n in range(count)]
    covered = [
        Message(role="user", content=" ".join(text.format(1_000 + number) for text in said)) for number in range(count)
    ]
    return [*covered, *(Message(role="user", content="see", attachments=[file]) for file in files)]


def at_length(*values: Any) -> list[Any]:
    """Values that are tried where there is time: the bounds on both sides of them are always tried."""
    return [pytest.param(value, marks=pytest.mark.soak) for value in values]


@pytest.mark.parametrize("max_chars", [1_000, 24_000, *at_length(1_001, 2_500, 10_000, 200_000)])
@pytest.mark.parametrize("length", [0, 480, *at_length(60, 240)])
async def test_the_offline_model_writes_no_more_than_there_is_room_for(max_chars: int, length: int) -> None:
    """Nor less than something of each kind, whether the newest of it is long or not."""
    kinds = ("#W77 is", "I prefer #W78", "Please book #W79", "We decided", "The cat named Tom", "Room 7")
    long = " ".join(f"{kind} {'x' * length}." for kind in kinds)

    found = await summarized([*crowd(2_000), *user(long)], max_chars=max_chars)

    assert max_chars // 2 < len(found.content) <= max_chars or max_chars == 200_000
    assert found.sections is not None
    assert all(found.sections.values()), found.sections


async def test_a_model_is_told_how_long_a_summary_may_be() -> None:
    told = []
    for max_chars in (1_000, 24_000):
        model = Scripted(says(json.dumps({"facts": ["x"]})))
        draft = Draft(
            thread_key=1, previous_id=None, previous_content="", from_seq=1, to_seq=9, covered_messages=user("hi")
        )
        summarizer = ModelSummarizer(model=model, model_name="scripted", max_chars=max_chars)
        told.append((model, (await summarizer.summarize(draft)).prompt_version))

    (short, version), (long, other) = told
    assert "226 characters each, all other lists together for 453;" in short.requests[0].messages[0]["content"]
    assert "together for 11953;" in long.requests[0].messages[0]["content"]
    assert version != other


async def test_an_answer_as_long_as_it_may_be_has_room_for_all_that_is_put_back() -> None:
    answer = {"facts": [f"{n:03}{'x' * 44}" for n in range(11_953 // 50)]}
    tasks = [f"Please refund order #W{1_000_000 + n} today." for n in range(100)]

    found = await summarized(user(" ".join(tasks)), json.dumps(answer))

    assert found.sections is not None
    assert len(found.sections["facts"]) == 239
    assert found.sections["open_tasks"] == tasks


async def test_a_long_request_pushes_out_no_shorter_ones() -> None:
    tasks = ["Please call Ann.", "Please call Ben."]
    long = f"Please send {'a long list of things, ' * 15}to Margaret."

    found = await summarized(user(" ".join([*tasks, long])), json.dumps({"facts": ["x"]}), max_chars=1_000)

    assert found.sections is not None
    assert found.sections["open_tasks"] == tasks
    assert found.report is not None
    assert found.report["crowded_out"] == [long[:200]]


async def test_the_offline_model_fills_every_section_and_still_fits() -> None:
    covered = crowd(1_000)

    found = await summarized(covered)

    assert found.sections is not None
    assert all(len(entries) > 30 for entries in found.sections.values()), found.sections
    assert 20_000 < len(found.content) <= 24_000
    assert found.report is not None
    kept = sum(map(len, found.sections.values()))
    plain = sum(entry == "see" for entry in found.sections["facts"])
    assert found.report["counts"]["crowded_out"] == 7_000 - kept + plain


@pytest.mark.parametrize("piece", ["1,", "#W1234567 ", *at_length("1", "Please book 3 seats. ", "a@")])
async def test_a_message_as_long_as_they_may_be_is_read_in_seconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()

    await summarized(user(text), json.dumps({"facts": ["x"]}))

    assert time.process_time() - began < 30


class Small(Scripted):
    """Refuses what is longer than it takes, as providers do."""

    def __init__(self, max_chars: int, *, max_input_tokens: int | None = None) -> None:
        self.sent: list[int] = []
        self.answered = ""
        self.max_input_tokens = max_input_tokens

        def ask(request: ModelRequest) -> ModelReply:
            text = json.dumps(list(request.messages))
            self.sent.append(len(text))
            if len(text) > max_chars:
                raise ModelError("context_length", "too long", retryable=False)
            self.answered += text
            return says(json.dumps({"facts": [f"fact {len(self.sent)}"]}))

        super().__init__(ask)

    async def capabilities_of(self, model_name: str) -> Capabilities:
        return Capabilities(max_input_tokens=self.max_input_tokens)


async def summary_of(model: Small, texts: list[str]) -> NewSummary:
    covered = tuple(Message(role="user", content=text) for text in texts)
    draft = Draft(thread_key=1, previous_id=None, previous_content="", from_seq=1, to_seq=9, covered_messages=covered)
    return await ModelSummarizer(model=model, model_name="scripted", max_chars=4000).summarize(draft)


@pytest.mark.parametrize("words", [[700] * 12, [12_000], [1, 12_000, 1]])
async def test_what_a_model_finds_too_long_is_covered_in_parts(words):
    model = Small(6_000)

    await summary_of(model, [f"message {number} " + "word " * count for number, count in enumerate(words)])

    # Each message, its beginning at least, was in a request that the model took.
    assert all(f"message {number} " in model.answered for number in range(len(words)))
    assert len(model.sent) < 40


async def test_a_request_never_holds_more_than_the_known_window():
    model = Small(10**9, max_input_tokens=2_000)

    await summary_of(model, ["word " * 700] * 12)

    # Four characters a token, about.
    assert len(model.sent) > 1
    assert max(model.sent) < 2_000 * 4


async def test_a_model_that_takes_nothing_is_an_error():
    with pytest.raises(ModelError, match="too long"):
        await summary_of(Small(10), ["word " * 12_000])
