"""A conversation of ten turns: each provider answers it, and each takes it over in the middle from each other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from agent.agent import Agent
from agent.dependencies import RunDependencies
from agent.loop import Run
from agent.models.profiles import PROFILES
from agent.models.provider_model import ProviderModel
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.parts import ImagePart, TextPart
from conversation.turn import ClaimedTurn, Ending, FinalEnding, Lease
from tests.integration.scripted import THREADS, Memory, NoFiles
from tests.stub_providers import Said, StubProviders, sign

pytestmark = pytest.mark.soak

#: Providers that sign what they think are asked to think.
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
THINKERS = ("anthropic", "bedrock")


def look(at: int) -> str:
    """Look at a place."""
    return f"place {at}"


@dataclass
class Talk:
    """A thread in memory, answered by the real loop and the real adapter."""

    stubs: StubProviders
    model: ProviderModel
    history: list[Message] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)

    async def turn(self, family: str, inputs: Sequence[Message], *said: Said, max_steps: int = 5) -> Ending:
        """Run one turn with a provider whose answers these are, and keep what the store would keep."""
        self.stubs.script(*said)
        turn_id = new_id()
        for message in inputs:
            message.turn_id = turn_id
        run = self._build_run(family, turn_id, inputs, max_steps)
        ending = await run.run()
        assert isinstance(ending, FinalEnding)
        # The picture that cannot be opened refuses one request of the thread, and no other.
        self.refusals += self.stubs.refused
        self.stubs.refused = []
        assert all("a.png" in rule for _, rule in self.refusals), self.refusals
        assert len(self.refusals) < 2
        # As the store gives them back.
        stored = [Message.from_json(json.loads(json.dumps(m.to_json()))) for m in (*inputs, *ending.messages)]
        for message in stored:
            message.turn_id = turn_id
            message.seq = len(self.history) + 1
            self.history.append(message)
        return ending

    def _build_run(self, family: str, turn_id: str, inputs: Sequence[Message], max_steps: int) -> Run:
        parameters = self.stubs.parameters(family) | (THINKING if family in THINKERS else {})
        agent = Agent(
            name="guide",
            purpose="Be kind.",
            tools=[look],
            model_name=self.stubs.model(family),
            profile=PROFILES[family],
            parameters=parameters,
            streams=False,
            max_steps=max_steps,
            model_max_attempts=1,
        )
        claimed = ClaimedTurn(
            lease=Lease(thread_key=1, worker="w", fencing_token=1),
            id=turn_id,
            tenant="default",
            thread_id="thread",
            agent="guide",
            attempt=1,
            window=(*self.history, *inputs),
        )
        dependencies = RunDependencies(
            model=self.model,
            model_name=self.stubs.model(family),
            journal=Memory(),
            attachments=NoFiles(),
            tool_threads=THREADS,
        )
        return Run(agent, claimed, dependencies)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def calls(*places: int) -> list[ToolCall]:
    return [ToolCall(f"call_{'x' * 41}[{place}]", "look", json.dumps({"at": place})) for place in places]


def loop(*places: int) -> list[Said]:
    """An answer that asks for tools after some thought, and one with their results."""
    return [Said("Let me see.", calls(*places), thought="Where is it?"), Said("There.", thought="There it is.")]


async def first_half(talk: Talk, family: str) -> None:
    """Five turns: a greeting, tools in parallel with reasoning, a picture, a failure, and a question after it."""
    talk.history.append(Message(role="assistant", content="Hello! Shall I look?", seq=1))
    await talk.turn(family, [user("Yes, please.")], Said("Where?"))
    await talk.turn(family, [user("Here and there.")], *loop(1, 2))
    picture = Message(role="user", parts=(TextPart("And this?"), ImagePart("https://pictures.test/a.png")))
    talk.stubs.dead_addresses = {"https://pictures.test/a.png"}
    await talk.turn(family, [picture], Said("I cannot open it."))
    talk.history.append(Message(role="user", content="This one failed.", turn_id=new_id(), seq=len(talk.history) + 1))
    await talk.turn(family, [user("Are you there?")], Said("I am."))


async def second_half(talk: Talk, family: str) -> None:
    """Five turns: a system message that asks, one that holds, a cut reply, a turn cut after its tools, and tools."""
    await talk.turn(family, [Message(role="system", content="Ask how it went.")], Said("How did it go?"))
    await talk.turn(family, [Message(role="system", content="Speak French."), user("Well.")], *loop(3))
    await talk.turn(family, [user("Tell me all.")], Said("It was a long", is_cut=True))
    await talk.turn(family, [user("Look once more.")], loop(4)[0], max_steps=1)
    await talk.turn(family, [user("And now?")], *loop(5, 6))


@pytest.fixture
def talk(stubs: StubProviders, model: ProviderModel) -> Talk:
    return Talk(stubs, model)


@pytest.mark.parametrize("first", PROFILES)
async def test_a_conversation_goes_on_with_any_provider(first: str, talk: Talk, stubs: StubProviders) -> None:
    await first_half(talk, first)
    history = list(talk.history)

    for second in PROFILES:
        continued = replace(talk, history=list(history), refusals=list(talk.refusals))
        await second_half(continued, second)
        assert continued.history[-1].content == "There."
        assert "Hello! Shall I look?" in json.dumps(stubs.taken[-1][1])
        assert "Speak French." in json.dumps(stubs.taken[-1][1])


@pytest.mark.parametrize("family", ["anthropic", "bedrock", "gemini", "deepseek", "openrouter"])
async def test_what_a_provider_thinks_is_sent_back_to_it_alone(family: str, talk: Talk, stubs: StubProviders) -> None:
    secret = sign("look") if family == "gemini" else "Where is it?" if family == "deepseek" else sign("Where is it?")

    await talk.turn(family, [user("Look.")], *loop(1))
    same = json.dumps(stubs.taken[-1][1])
    await talk.turn("openai", [user("Again.")], *loop(2))

    assert secret in same
    assert secret not in json.dumps(stubs.taken[-1][1])
    assert "__thought__" not in talk.history[1].tool_calls[0].id
