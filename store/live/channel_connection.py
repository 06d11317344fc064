"""A connection that listens to one channel after the other.

What stays true: what signals say is not read, so that nothing that somebody publishes can be too much or wrong:
bytes are a signal. Nothing of one channel is taken for the next one's: it is left with a word that nobody could
guess before, and what comes until the server repeats that is dropped.
"""

import secrets
import time

from store.live.broker_connection import BrokerConnection, BrokerRefusal

#: Bytes that are dropped for a new channel, at most: beyond them a new connection costs less.
DROPPED_BYTES_MAX = 4_096


class ChannelConnection(BrokerConnection):
    """One connection, for one listener at a time."""

    #: The channel is listened to.
    is_confirmed = False
    _channel = ""
    #: The reply that ends the last channel, while it has not come.
    _end_of_last = b""
    #: The replies after which the channel is listened to, what has come before them, and then what came with them.
    _awaited = b""
    _received = b""

    def listen(self, channel: str, *, within_seconds: float) -> None:
        """Listen to a channel. Raises `OSError`, or `BrokerRefusal` for an error as reply."""
        give_up_at = self._ask_for(channel, within_seconds)
        while not self.is_confirmed:
            self._take(self.receive(_remaining_seconds(give_up_at)))

    async def listen_async(self, channel: str, *, within_seconds: float) -> None:
        """As `listen`, on the event loop."""
        give_up_at = self._ask_for(channel, within_seconds)
        while not self.is_confirmed:
            self._take(await self.receive_async(_remaining_seconds(give_up_at)))

    def hear(self, seconds: float) -> bool:
        """Wait so many seconds for a signal, at most; whether there was one. Raises `OSError`."""
        return self._take_early_signal() or bool(self.receive(seconds))

    async def hear_async(self, seconds: float) -> bool:
        """As `hear`, on the event loop."""
        return self._take_early_signal() or bool(await self.receive_async(seconds))

    def end(self) -> None:
        """Leave the channel. Does not wait: whoever listens next drops what is on its way. Raises `OSError`."""
        end = secrets.token_hex(16)
        # Nobody listens to it: the server confirms it all the same, behind the channel.
        self.send_now(("UNSUBSCRIBE", self._channel, end))
        self._end_of_last, self._received = _reply("unsubscribe", end, 0), b""

    def is_usable(self) -> bool:
        """As every connection's; the end of the last channel may have come, or be on its way."""
        if not self._end_of_last:
            return super().is_usable()
        try:
            self._received += self.receive(0)
        except OSError:
            return False
        if self._received.endswith(self._end_of_last):
            self._end_of_last = self._received = b""
            return super().is_usable()
        return len(self._received) < DROPPED_BYTES_MAX

    def _ask_for(self, channel: str, within_seconds: float) -> float:
        """Ask for a channel; returns when to give up waiting for the confirmation, by the monotonic clock."""
        self._channel, self.is_confirmed = channel, False
        self._awaited = self._end_of_last + _reply("subscribe", channel, 1)
        self.send_now(("SUBSCRIBE", channel))
        return time.monotonic() + within_seconds

    def _take(self, received: bytes) -> None:
        """Look whether the confirmation has come."""
        self._received += received
        _, confirmation, signals = self._received.partition(self._awaited)
        if confirmation:
            self.is_confirmed, self._end_of_last, self._received = True, b"", signals
        elif (refusal := self._find_refusal()) is not None:
            raise BrokerRefusal(refusal)
        elif len(self._received) >= DROPPED_BYTES_MAX + len(self._awaited):
            raise ConnectionError("more came for the last channel than is dropped")

    def _find_refusal(self) -> str | None:
        """The code of the error that the server replied with, if it did.

        What comes before the last channel's end may be anything.
        """
        reply = self._received
        if self._end_of_last:
            _, _, reply = reply.partition(self._end_of_last)
        return reply[1:].partition(b" ")[0].decode("ascii", "replace") if reply.startswith(b"-") else None

    def _take_early_signal(self) -> bool:
        """Whether a signal came in one piece with the confirmation; True once."""
        signals, self._received = self._received, b""
        return bool(signals)


def _remaining_seconds(give_up_at: float) -> float:
    remaining_seconds = give_up_at - time.monotonic()
    if remaining_seconds <= 0:
        raise TimeoutError("the broker did not confirm the channel in time")
    return remaining_seconds


def _reply(kind: str, channel: str, count: int) -> bytes:
    """The server's confirmation of a channel, with how many this connection listens to then."""
    name = channel.encode()
    return b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n:%d\r\n" % (len(kind), kind.encode(), len(name), name, count)
