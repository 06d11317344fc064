"""The listener of a worker to remote control, in place of Celery's own, which obeys everybody.

What stays true: nothing that is published ends the worker, holds it up or changes it. The listener has connections of
its own: one that breaks is opened again after a moment, and Celery's goes on. A flood makes it deaf for a second,
which costs Flower an answer. It reads no table of kombu's bindings, into which anybody may have written.
"""

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

import structlog
from celery import bootsteps
from celery.worker.consumer.tasks import Tasks
from kombu.utils.compat import register_after_fork  # type: ignore[attr-defined]  # kombu ships no types
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from store.live.message_budget import MessageBudget
from tasks.control.answers import UNHEARD_VERBS, VERBS, answer
from tasks.control.requests import REPLY_EXCHANGE, ControlRequest, InvalidRequest, read_request
from tasks.refusals import note_refusal

#: Messages that are heard in a second, and of them those that are answered.
HEARD_PER_SECOND, ANSWERED_PER_SECOND = 200, 40
#: Seconds of deafness after a flood, or a connection that broke.
DEAF_SECONDS = 1.0
#: Seconds that the broker may take for anything: Celery's own loop waits for it.
BROKER_SECONDS = 2.0
#: Seconds between two questions whether the connection still lives.
PING_SECONDS = 20.0
#: Milliseconds for which an answer waits to be fetched.
ANSWER_MILLISECONDS = 10_000

_log = structlog.get_logger(__name__)


class Control(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """The step of a consumer that listens to remote control, on Celery's own loop."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._client: Redis | None = None
        self._listener: Any = None
        self._descriptor: int | None = None
        self._timer: Any = None
        #: Something came since the last ping.
        self._is_alive = True
        self._heard = MessageBudget(HEARD_PER_SECOND)
        self._answered = MessageBudget(ANSWERED_PER_SECOND)
        register_after_fork(self, Control.leave)

    def include_if(self, consumer: Any) -> bool:
        # Another transport has no such channels; another URL of this one, no client of ours.
        return consumer.hub is not None and consumer.app.conf.broker_url.startswith(("redis://", "rediss://"))

    def start(self, consumer: Any) -> None:  # noqa: ARG002 - Celery's call
        """Listen. What is published meanwhile is lost, as ever."""
        self._open()

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 - Celery's call
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor is not None:
            self._consumer.hub.remove_reader(self._descriptor)
        self.leave()

    shutdown = stop

    def leave(self) -> None:
        """Close the connections, of a forked child those that are its parent's."""
        client, listener = self._client, self._listener
        self._client = self._listener = self._descriptor = None
        if client is not None:
            listener.close()
            client.close()

    def _open(self) -> None:
        self._client = Redis.from_url(
            self._consumer.app.conf.broker_url,
            socket_timeout=BROKER_SECONDS,
            socket_connect_timeout=BROKER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._listener = self._client.pubsub()  # type: ignore[no-untyped-call]  # as in redis-py
        try:
            self._listener.subscribe(_channel_of(self._client))
        except (RedisError, OSError) as error:
            self._open_later(error)
            return
        # redis-py tells it in no other way.
        self._descriptor = self._listener.connection._sock.fileno()  # noqa: SLF001
        self._consumer.hub.add_reader(self._descriptor, self._hear_all)
        self._is_alive = True
        self._timer = self._consumer.timer.call_after(PING_SECONDS, self._ping)

    def _open_later(self, error: Exception | None = None) -> None:
        if error is not None:
            _log.debug("control_not_heard", reason=type(error).__name__)
        self.stop(self._consumer)
        self._timer = self._consumer.timer.call_after(DEAF_SECONDS, self._open)

    def _ping(self) -> None:
        if not self._is_alive:
            self._open_later()
            return
        self._is_alive = False
        try:
            self._listener.ping()
        except (RedisError, OSError) as error:
            self._open_later(error)
        else:
            self._timer = self._consumer.timer.call_after(PING_SECONDS, self._ping)

    def _hear_all(self) -> None:
        """Hear what has come. Celery's loop calls it, and ends with the worker if it raises."""
        try:
            while self._listener is not None and self._listener.connection.can_read(timeout=0):
                # All of it is under way: a server sends what it has whole.
                message = self._listener.get_message(timeout=BROKER_SECONDS)
                self._is_alive = True
                if message is not None and message["type"] == "message":
                    self._hear(message["data"])
        except Exception as error:  # noqa: BLE001 - whatever came: it ends no worker
            self._open_later(error)

    def _hear(self, data: bytes) -> None:
        if not self._heard.take(data):
            note_refusal("control_flood")
            self._open_later()
            return
        try:
            request = read_request(data)
        except InvalidRequest:
            note_refusal("control_malformed")
            return
        if request.destinations and self._consumer.hostname not in request.destinations:
            return
        if request.verb in VERBS and request.reply_to is not None:
            self._answer(request)
        elif request.verb not in UNHEARD_VERBS:
            note_refusal("control_verb")

    def _answer(self, request: ControlRequest) -> None:
        if not self._answered.take():
            note_refusal("control_rate")
            return
        assert self._client is not None
        message = _write_reply(request, answer(request.verb, self._consumer))
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.lpush(request.reply_list, message)
            pipeline.pexpire(request.reply_list, ANSWER_MILLISECONDS)
            # What has another type under that name is somebody else's.
            pipeline.execute(raise_on_error=False)


def _channel_of(client: Redis) -> str:
    """The channel that Celery's clients publish commands to."""
    return f"/{client.connection_pool.connection_kwargs.get('db', 0)}.celery.pidbox"


def _write_reply(request: ControlRequest, text: str) -> str:
    """An answer in kombu's layout."""
    return json.dumps(
        {
            "body": b64encode(text.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"ticket": request.ticket, "clock": 0},
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": REPLY_EXCHANGE, "routing_key": request.reply_to},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )
