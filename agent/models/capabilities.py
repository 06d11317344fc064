"""What a model takes beside text.

What stays true: of a model that nobody knows, pictures are believed and sound is not: most take the
one, few the other, and a request with what a model does not take fails as a whole.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.models.protocol import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model takes beside text."""

    #: Pictures: PNG, JPEG, GIF, WebP.
    images: bool = True
    #: Sound: WAV, MP3.
    audio: bool = False


@runtime_checkable
class KnowsCapabilities(Protocol):
    """A `Model` that can say what the models behind it take."""

    async def capabilities_of(self, model_name: str) -> Capabilities:
        """Must not hold up the event loop, and gives the same answer each time."""
        ...


async def capabilities_of(model: Model, model_name: str) -> Capabilities:
    """What the model of that name takes, as far as the one who asks it knows."""
    if isinstance(model, KnowsCapabilities):
        return await model.capabilities_of(model_name)
    return Capabilities()
