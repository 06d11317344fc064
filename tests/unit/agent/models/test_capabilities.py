"""What a model takes beside text: as its list says, as it says itself, or as is likely."""

import pytest

from agent.models.capabilities import Capabilities, capabilities_of
from agent.models.model_list import load_model_list
from agent.models.provider_model import ProviderModel
from agent.offline.model import RecallModel


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("openai/gpt-4o", Capabilities(images=True, max_input_tokens=128_000)),
        ("gpt-4", Capabilities(images=True, max_input_tokens=8_192)),
        ("gemini/gemini-2.5-flash", Capabilities(images=True, audio=True, max_input_tokens=1_048_576)),
        ("openrouter/made/up/gemini/gemini-2.5-flash", Capabilities(images=True, audio=True)),
        ("openai/a-model-of-my-own", Capabilities(images=True, audio=False)),
        ("", Capabilities(images=True, audio=False)),
    ],
)
async def test_litellms_list_says_what_a_model_takes(name: str, takes: Capabilities) -> None:
    assert await capabilities_of(ProviderModel(), name) == takes


async def test_the_window_of_another_provider_s_model_says_nothing() -> None:
    capabilities = await capabilities_of(ProviderModel(), "openai/deepseek-chat")

    assert capabilities.max_input_tokens is None


async def test_a_model_that_the_list_says_is_blind_gets_no_pictures(monkeypatch) -> None:
    monkeypatch.setitem(load_model_list(), "blind-one", {"supports_vision": False})

    assert await capabilities_of(ProviderModel(), "openai/blind-one") == Capabilities(images=False)


async def test_a_model_of_ones_own_can_say_what_it_takes() -> None:
    class Deaf(RecallModel):
        async def capabilities_of(self, model_name: str) -> Capabilities:
            return Capabilities(images=False)

    assert await capabilities_of(Deaf(), "x") == Capabilities(images=False)
    assert await capabilities_of(RecallModel(), "offline/recall") == Capabilities()
