"""The capabilities of a model: what it takes beside text, and how much.

What stays true: an unknown model is taken to accept pictures and no sound: most take the
one, few the other, and a request with what a model does not take fails as a whole.
"""

from dataclasses import dataclass
from typing import Protocol, cast

from agent.models.protocol import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The capabilities of a model: kinds of content beside text, and how much it takes."""

    #: Pictures: PNG, JPEG, GIF, WebP.
    images: bool = True
    #: Sound: WAV, MP3.
    audio: bool = False
    #: Tokens of a request, at most; None where that is not known.
    max_input_tokens: int | None = None


class KnowsCapabilities(Protocol):
    """A `Model` that can say what the models behind it take."""

    async def capabilities_of(self, model_name: str) -> Capabilities:
        """The capabilities of a model, the same each time; must not hold up the event loop."""
        ...


async def capabilities_of(model: Model, model_name: str) -> Capabilities:
    """The capabilities of the model of that name, as far as its adapter knows them."""
    # `isinstance` would look for what the protocol asks for through all of its bases, with every turn.
    if hasattr(model, "capabilities_of"):
        return await cast("KnowsCapabilities", model).capabilities_of(model_name)
    return Capabilities()
