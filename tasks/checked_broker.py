"""The broker as our processes read it: kombu's Redis, behind a check of each message that is taken.

What stays true: nothing that somebody writes into the broker ends a process that reads it, or is put back into a
queue. A message of a task is made anew out of what was checked (`tasks.received_messages`), so that Celery meets our
own form alone. Which messages are unacknowledged is kept in memory and nowhere in the broker: anybody could add to the
list that kombu keeps there, and a wake-up that is lost is published again by the sweep. A key of another type than
ours is left alone for some seconds, while the worker goes on with its other queues.
"""

# kombu has annotations on some of its functions alone.
# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from queue import Empty
from time import monotonic
from typing import Any

import structlog
from celery.app.amqp import AMQP
from kombu.connection import Connection, ConnectionPool, PooledConnection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoPermissionError, ResponseError

from conversation.task_contract import TASKS_OF_QUEUES
from store.live.task_messages import compose_message, encode_body
from tasks.received_messages import MessageRefused, read_answer, read_task
from tasks.refusals import note_refusal

#: Seconds for which a key of another type is not read.
WRONG_KEY_SECONDS = 5.0
#: Messages of one list that are taken at once, at most: so far may workers' loads lie apart.
TAKEN_AT_ONCE_MAX = 8
#: Requests for messages that a channel keeps as they are sent: of several queues each order is one of its own.
PACKED_REQUESTS_MAX = 64
#: The parts of a binding as kombu stores it: routing key, pattern, queue.
BINDING_PARTS = 3

_log = structlog.get_logger(__name__)


class MemoryQoS(virtual.QoS):
    """The messages that were taken and not begun with, in memory.

    What cannot be put back when a connection ends is lost, as any wake-up may be: a worker outlives its broker.
    """

    def restore_unacked(self) -> list[Any]:
        """Put back what was not begun with."""
        self._flush()
        try:
            while self._delivered:
                _, message = self._delivered.popitem()
                self.channel._restore(message)
        except Exception as error:  # noqa: BLE001 - a connection that is half gone raises anything
            _log.warning("wake_ups_not_restored", wake_ups=len(self._delivered) + 1, error=type(error).__name__)
            self._delivered.clear()
        return []


class CheckedMessage(virtual.Message):
    """A message that was taken. The body of a task's is what was read of it, and nobody decodes it again."""

    def serializable(self) -> dict[str, Any]:
        """The message as it waits in the broker, to be put back there."""
        message: dict[str, Any] = super().serializable()
        return encode_body(message) if self.content_type is None else message


class CheckedChannel(kombu_redis.Channel):
    """A channel over Redis or Valkey."""

    Message = CheckedMessage

    def __init__(self, *arguments: Any, **options: Any) -> None:
        #: Keys that are not read until then.
        self._skipped_keys: frozenset[str] = frozenset()
        self._skipped_until = 0.0
        #: Counts the messages that can be begun with at once: so many are taken together.
        self.count_free_places: Callable[[], int] = lambda: 1
        #: The command by which messages were asked for last, and whether the server takes the one for several.
        self._asked_by = "BRPOP"
        self._can_ask_for_several = True
        # The same few commands again and again, sent while a turn that was just begun with waits for this thread.
        self._pack_request = lru_cache(PACKED_REQUESTS_MAX)(self._pack_request_anew)
        super().__init__(*arguments, **options)
        self.ack_emulation = False
        self.QoS = MemoryQoS  # type: ignore[assignment]  # kombu's own choice where acknowledgements stay in memory

    def _list_keys(self, queues: Iterable[str]) -> list[str]:
        return [self._q_for_pri(queue, priority) for priority in self.priority_steps for queue in queues]

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for the next messages, as kombu does for one, but not of keys that have another type."""
        now = monotonic()
        if now >= self._skipped_until:
            self._skipped_keys = frozenset()
        count = min(self.count_free_places(), TAKEN_AT_ONCE_MAX) if self._can_ask_for_several else 1
        seconds = (self.brpop_timeout if timeout is None else timeout) or 0
        queues = tuple(self._queue_cycle.consume(len(self.active_queues)))
        packed_request = self._pack_request(queues, self._skipped_keys, count, seconds)
        if packed_request is None:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = now  # type: ignore[assignment]  # None at first
        self._asked_by = "BLMPOP" if count > 1 else "BRPOP"
        self.client.connection.send_packed_command(packed_request)

    def _pack_request_anew(
        self, queues: tuple[str, ...], skipped_keys: frozenset[str], count: int, seconds: float
    ) -> list[bytes] | None:
        """The command that asks for so many messages of these queues, as it is sent; None where no key is left."""
        names = [f"{self.global_keyprefix}{key}" for key in self._list_keys(queues) if key not in skipped_keys]
        if not names:
            return None
        command: list[Any] = ["BRPOP", *names, seconds]
        if count > 1:
            command = ["BLMPOP", seconds, len(names), *names, "RIGHT", "COUNT", count]
        packed_request: list[bytes] = self.client.connection.pack_command(*command)
        return packed_request

    def _brpop_read(self, **options: Any) -> bool:
        """Read the answer, as kombu does, and hand on what was checked. Raises `Empty` where there is nothing."""
        try:
            answer = self._read_answer(**options)
            if not answer:
                raise Empty
            key, messages = answer
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            are_handed_on = [self._take(raw, queue) for raw in messages]
            if not any(are_handed_on):
                raise Empty
            return True
        finally:
            self._in_poll = None  # type: ignore[assignment]  # as kombu does
            self._flush_brpop_reauth()

    def _read_answer(self, **options: Any) -> tuple[bytes | str, list[bytes]] | None:
        """The key of a list, and what was taken from it; None where nothing was."""
        try:
            answer = self.client.parse_response(self.client.connection, self._asked_by, **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        except ResponseError as error:
            if _is_wrong_type(error):
                self._skip_wrong_keys()
            elif self._asked_by == "BLMPOP" and _is_not_known(error):
                self._can_ask_for_several = False
            else:
                raise
            return None
        if not answer:
            return None
        key, taken = answer
        if self._asked_by == "BRPOP":
            return key, [taken]
        # kombu's client takes its prefix off the answers that it knows, and this is none.
        return key.removeprefix(self.global_keyprefix.encode()), taken

    def _skip_wrong_keys(self) -> None:
        keys = self._list_keys(self.active_queues)
        self._skipped_keys = frozenset(key for key, size in self._measure(keys).items() if size is None)
        self._skipped_until = monotonic() + WRONG_KEY_SECONDS

    def _measure(self, keys: list[str]) -> dict[str, int | None]:
        """How many messages wait in each list; None where a key is none."""
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.llen(key)
            sizes = dict(zip(keys, pipe.execute(raise_on_error=False), strict=True))
        if errors := [size for size in sizes.values() if isinstance(size, Exception)]:
            with _wrong_type_noted():
                raise errors[0]
        return {key: size if isinstance(size, int) else None for key, size in sizes.items()}

    def _take(self, raw: bytes, queue: str) -> bool:
        """Hand on a message that is one of ours."""
        try:
            # The other queues are those of who asks workers by remote control, and hears their answers there.
            message = _make_anew(raw, queue) if queue in TASKS_OF_QUEUES else read_answer(raw)
        except MessageRefused as refused:
            note_refusal(refused.kind, refused.message_id)
            return False
        self.connection._deliver(message, queue)
        return True

    def _size(self, queue: str) -> int:
        return sum(size or 0 for size in self._measure(self._list_keys([queue])).values())

    def _queue_bind(self, *arguments: Any) -> None:
        # Neither remote control nor a task is published by what is stored there.
        with _wrong_type_noted():
            super()._queue_bind(*arguments)

    def _delete(self, *arguments: Any, **options: Any) -> None:
        with _wrong_type_noted():
            super()._delete(*arguments, **options)

    def maybe_refresh_binding_expiry(self) -> None:
        try:
            super().maybe_refresh_binding_expiry()
        except ResponseError as error:
            # kombu would try again in a second, and log where it broke.
            self._binding_expiry_refreshed_at = monotonic()
            if not _is_wrong_type(error):
                raise
            note_refusal("wrong_key")

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """The bindings of an exchange, without members that are none."""
        with _wrong_type_noted():
            return [binding for binding in super().get_table(exchange) if len(binding) == BINDING_PARTS]
        return []


class CheckedSentinelChannel(CheckedChannel, kombu_redis.SentinelChannel):
    """A channel over what Sentinel names."""


class CheckedTransport(kombu_redis.Transport):
    """The transport of our own broker."""

    Channel = CheckedChannel


class CheckedSentinelTransport(kombu_redis.SentinelTransport):
    """The same, where Sentinel names the server."""

    Channel = CheckedSentinelChannel


_CHECKED = {kombu_redis.Transport: CheckedTransport, kombu_redis.SentinelTransport: CheckedSentinelTransport}


class CheckedConnection(Connection):
    """A connection to a broker, whichever URL and options a configuration names."""

    def get_transport_cls(self) -> Any:
        """The checked transport in place of kombu's."""
        transport = super().get_transport_cls()
        return _CHECKED.get(transport, transport)

    def Pool(self, limit: int | None = None, **options: Any) -> "CheckedPool":  # noqa: N802 - kombu's name
        """A pool of such connections."""
        return CheckedPool(self, limit, **options)


class CheckedPooledConnection(CheckedConnection, PooledConnection):
    """One of a pool."""


class CheckedPool(ConnectionPool):
    """Connections for who publishes, and for who asks workers by remote control."""

    def new(self) -> CheckedPooledConnection:
        """Make a connection, which connects when it is used."""
        return CheckedPooledConnection(self, **dict(self.connection._info(resolve=False)))


class CheckedAMQP(AMQP):  # type: ignore[misc]  # celery ships no types
    """The connections with which a Celery app sends and consumes."""

    Connection = CheckedConnection


def _make_anew(raw: bytes, queue: str) -> dict[str, Any]:
    task = read_task(raw, queue=queue)
    return compose_message(task.task, task.task_id, task.payload, queue=queue, priority=task.priority)


@contextmanager
def _wrong_type_noted() -> Iterator[None]:
    """Go on where a key of the broker has another type than kombu wants."""
    try:
        yield
    except ResponseError as error:
        if not _is_wrong_type(error):
            raise
        note_refusal("wrong_key")


def _is_wrong_type(error: ResponseError) -> bool:
    return "WRONGTYPE" in str(error)


def _is_not_known(error: ResponseError) -> bool:
    """Whether a server is older than a command, or its operator does not let this process use it."""
    return isinstance(error, NoPermissionError) or "unknown command" in str(error)
