"""Makes `providers.md` out of the profiles: `python docs/reference/make_providers.py --write`.

What stays true: nothing is written twice. The rules and their words come from `ProviderProfile`, the cells from
`PROFILES`; a test compares the page with what is made here, and others try each cell against a strict stub.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from agent.models.http.endpoints import ENDPOINTS
from agent.models.profiles import PROFILES, PROVIDERS, ProviderProfile

PAGE = Path(__file__).with_name("providers.md")
INTRODUCTION = """\
# Providers

Before a request is sent, it is fitted to the provider that is asked. What is stored stays as it is, so that a
thread can go on with another provider at any time. Each fallback is fitted to its own provider. A
*profile* holds the rules of a family of providers.

This page is made by `python docs/reference/make_providers.py --write`.

"""
WORDS_OF_ROADS = """\
Every other provider is asked through litellm, and so is one of these where only litellm knows how: with a parameter
that it translates (`drop_params`, `reasoning_effort` for Anthropic or Mistral, a class as `response_format`, …) or
takes for itself, for a model of OpenAI's that answers only in the format of responses, and with the name
`litellm/openai/gpt-5`. The rules, prices, errors and retries are the same on both roads. A process imports litellm,
which takes seconds, only for an agent that needs it. What a program sets on litellm itself (callbacks,
`litellm.drop_params`, prices of its own) holds on litellm's road alone. See [the
decision](../decisions/0019-a-lean-road-to-models.md).
"""
CLOSING = """\

## What happens where a rule applies

- A system text that holds goes to the front. One that its turn only consists of, as a
  [message for later](../how-to/schedule-a-message.md), is sent where it stands, as a user's message that says whose
  words it is.
- Where a user has to speak first, or nobody asks, a line in brackets stands for them: `[The assistant speaks first.]`,
  `[Go on.]`. `[No reply was given.]` stands between a tool's result and a user.
- An id of a tool call that does not match, or that stood in the request before, is replaced by one that is made of it.
- An argument such as `NaN` or `1e999` is sent as text. Arguments that are no JSON object are quoted in one.
- A picture or a sound that a model does not take becomes a line. So does a picture whose address the provider cannot
  open, after one refusal; its thread remembers that.
- Names and the number of tools cannot be changed in a request: `Agent` refuses those that its model's provider refuses,
  and warns of those that a fallback's does.
- What a provider sent beside the text and wants back (signed thinking, signatures, `reasoning_content`) is kept with
  the message, as it came, and sent to the same family alone. A loop of tools that another family began, as a
  fallback does, is gone on with without thinking.

## Choose a profile yourself

```python
from dataclasses import replace

from agent.models.http.endpoints import ENDPOINTS
from agent.models.profiles import PROFILES
from threadmill import Agent

by_name = Agent(name="local", model_name="openai/our-model", profile="mistral")
by_rules = Agent(name="lax", model_name="openai/our-model", profile=replace(PROFILES["compatible"], text_lists=True))
```

## Held by

`tests/integration/agent/providers/`: each cell of the table against a stub that refuses what the provider refuses, a
conversation of ten turns that each provider takes over from each other, and any history that the store accepts.
"""


def page() -> str:
    """The whole page, as Markdown."""
    rows = [*_table_of_providers(), "", *_words_of_roads(), "", "## The rules", "", *_table_of_rules()]
    return INTRODUCTION + "".join(f"{row}\n" for row in rows) + CLOSING


def _table_of_providers() -> Iterator[str]:
    yield "| Profile | Models whose names begin with |"
    yield "|---|---|"
    for name in PROFILES:
        prefixes = [f"`{prefix}/`" for prefix, profile in PROVIDERS.items() if profile == name]
        yield f"| `{name}` | {', '.join(prefixes) or 'anything else'}{_NOTES.get(name, '')} |"


def _words_of_roads() -> Iterator[str]:
    straight = ", ".join(f"`{provider}/`" for provider in ENDPOINTS)
    yield "## The two roads"
    yield ""
    yield f"{straight} are asked straight over HTTP."
    yield from WORDS_OF_ROADS.splitlines()


#: What the prefix alone does not tell.
_NOTES = {
    "openai": ", at OpenAI's or Azure's own address, or with a name of OpenAI's models",
    "compatible": ", `openai/` with another name at another address: vLLM, Ollama, llama.cpp, gateways",
    "anthropic": ", `vertex_ai/claude…`",
    "mistral": ", and Mistral's models on any server of OpenAI's format",
    "deepseek": ", and DeepSeek's and Kimi's models on any server of OpenAI's format",
}


def _table_of_rules() -> Iterator[str]:
    yield f"| Rule | Field | {' | '.join(PROFILES)} |"
    yield f"|---|---|{'---|' * len(PROFILES)}"
    for rule in fields(ProviderProfile):
        if rule.name != "name":
            cells = [_describe(getattr(profile, rule.name)) for profile in PROFILES.values()]
            yield f"| {rule.metadata['rule']} | `{rule.name}` | {' | '.join(cells)} |"


def _describe(value: object) -> str:
    match value:
        case True | False:
            return "yes" if value else "no"
        case None | ():
            return "no"
        case tuple():
            return ", ".join(f"`{item}`" for item in value)
        case int():
            return f"{value:,}"
    return f"`{value}`".replace("|", "\\|")


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
