"""A reader that comes again wherever its stream breaks off, and what has to hold of all that it was sent."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from httpx_sse import aconnect_sse

Event = dict[str, Any]


@dataclass
class ResumingReader:
    """Reads one stream to its end."""

    address: str
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[Event] = field(default_factory=list)
    last_id: str = ""
    connections: int = 0

    async def read(self, is_last: Callable[[Event], bool] = lambda event: event["type"] == "turn.ended") -> None:
        """Read until an event is the last."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(20, connect=5)) as client:
            while not await self._read_once(client, is_last):  # noqa: ASYNC110 - it comes again when it may
                await asyncio.sleep(0.02)

    async def _read_once(self, client: httpx.AsyncClient, is_last: Callable[[Event], bool]) -> bool:
        headers = self.headers | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        self.connections += 1
        try:
            async with aconnect_sse(client, "GET", self.address, headers=headers) as source:
                if source.response.status_code != 200:
                    assert source.response.status_code in {502, 503}, source.response.status_code
                    return False
                async for sse in source.aiter_sse():
                    event = sse.json()
                    assert event["id"] is None or event["id"] > int(self.last_id or 0), (self.last_id, event)
                    self.last_id = sse.id
                    self.seen.append(event)
                    if is_last(self.seen[-1]):
                        return True
        except httpx.TransportError:
            pass
        return False

    @property
    def numbers(self) -> list[int]:
        return [event["id"] for event in self.seen if event["id"] is not None]


def check_story(seen: Sequence[Event], stored: Sequence[tuple[str, str]]) -> None:
    """Whatever happened on the way: no gap, no repeat, and what was read piece by piece is what is stored.

    `stored` has the role and the text of each message, in order.
    """
    numbers = [event["id"] for event in seen if event["id"] is not None]
    assert numbers == sorted(set(numbers)), numbers
    done = [event["message"] for event in seen if event["type"] == "message.done"]
    assert [(message["role"], message["content"]) for message in done] == list(stored)
    assert len({message["id"] for message in done}) == len(done)
    pieces: dict[str, str] = {}
    for event in seen:
        match event["type"]:
            case "turn.started":
                pieces.clear()
            case "message.restarted":
                pieces[event["message_id"]] = ""
            case "message.delta":
                pieces[event["message_id"]] = pieces.get(event["message_id"], "") + event["text"]
            case "message.done":
                message = event["message"]
                # Who came again after the end of a reply was sent all of it: what they had is its beginning.
                assert message["content"].startswith(pieces.pop(message["id"], ""))
    assert not pieces
