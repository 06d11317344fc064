"""Roads to providers: the last step of a request, which alone differs between libraries.

What stays true: what is asked is fitted before a road takes it, and whatever comes back is put together, told and
counted behind it. A road raises whatever its library raises.
"""

from typing import Any, Protocol

from agent.models.protocol import ModelRequest
from agent.models.stream_assembly import ReplyPieces
from agent.models.stream_watch import StreamWatch
from conversation.message import Usage


class Call(Protocol):
    """One call: a question on its way, and its answer."""

    async def open(self) -> None:
        """Send the question. Returns as soon as the answer begins; of a whole one, when it is there."""
        ...

    async def next_chunk(self) -> Any:
        """The next chunk of the answer, an object in the format of chat completions; None at its end."""
        ...

    def has_ended(self) -> bool:
        """Whether the provider said that its answer, of which all chunks are taken, is whole."""
        ...

    async def close(self) -> None:
        """Let go of the connection, however the answer ended."""
        ...


class Road(Protocol):
    """A road to providers."""

    async def prepare(self) -> None:
        """Import what is slow, off the event loop."""
        ...

    def call(
        self, model: str, request: ModelRequest, pieces: ReplyPieces, watch: StreamWatch, *, is_streamed: bool
    ) -> Call:
        """The call that asks a model by its plain name, whose chunks `pieces` takes. Nothing is sent yet."""
        ...

    def price(self, model: str, usage: Usage, chunk: Any) -> float | None:
        """The price of so many tokens in US dollars; None where no price is known or nothing was counted."""
        ...
