"""The users of the broker, and what each of them may do there: the one place that says it.

What stays true: a user may do what its process does, on the keys and channels that it does it with, and nothing else.
No user but the operator reads what others wait for, deletes, looks around or changes the server; the default user is
off. Compose's file, the embedded server and the how-to are made of this.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from conversation.task_contract import (
    CANCEL_CHANNEL,
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    PRIORITY_MAX,
    QUARANTINE_QUEUE,
    TURNS_QUEUE,
    turn_channel,
)
from store.live.breaker_board import PREFIX as BREAKER_PREFIX
from store.live.event_channel import TOPIC_PREFIX, WATCH_CHANNEL, WATCHERS_CHANNEL
from store.live.task_messages import SEPARATOR

#: What each connection says of itself, and its question whether the server is there.
CONNECTION = "+auth +hello +ping +quit +reset +client|setinfo +client|setname +client|id"
#: Kombu's channels and keys: commands to workers, their answers, events for Flower, and what belongs to a queue.
CONTROL_CHANNEL = "/0.celery.pidbox"
EVENT_CHANNELS = "/0.celeryev/*"
ANSWERS = "*.reply.celery.pidbox"
BINDINGS = ("_kombu.binding.*", "_kombu.binding_permanent.*")
#: The limits of requests, counted by gateways.
LIMITS = "threadmill:limits:*"
QUEUES = (TURNS_QUEUE, QUARANTINE_QUEUE, FILES_QUEUE, MAINTENANCE_QUEUE)

GATEWAY, WORKER, BEAT, FLOWER, PRODUCER = "gateway", "worker", "beat", "flower", "producer"
OPERATOR, HEALTH = "operator", "health"


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """One user."""

    name: str
    #: Who logs in as it.
    purpose: str
    #: Rules of an access control list, without the password: the first is of the user, each other a selector.
    rules: tuple[str, ...]

    def write_line(self, password: str) -> str:
        """The user's line in an access control list; `password` is a rule: `>clear`, `#hash` or `nopass`."""
        first, *selectors = self.rules
        return " ".join(
            [
                *(f"user {self.name} on {password} sanitize-payload resetkeys resetchannels -@all {first}",),
                *(f"({rule})" for rule in selectors),
            ]
        )


def lists_of(*queues: str) -> list[str]:
    """Patterns of the lists of queues: one for each priority. What cannot be printed in a name is any character."""
    separator = "?" * len(SEPARATOR)
    return [name for queue in queues for name in (queue, f"{queue}{separator}[1-{PRIORITY_MAX}]")]


def _push(*lists: str) -> str:
    return f"+lpush {_keys('%W~', lists)}"


def _keys(access: str, patterns: Iterable[str]) -> str:
    return " ".join(f"{access}{pattern}" for pattern in patterns)


def _publish(*channels: str) -> str:
    return f"+publish {_keys('&', channels)}"


def _subscribe(*channels: str) -> str:
    return f"+subscribe +unsubscribe {_keys('&', channels)}"


_SEND = (
    CONNECTION,
    _push(*lists_of(TURNS_QUEUE, QUARANTINE_QUEUE)),
    # Of events, a ring: what a worker says itself is signed.
    _publish(CANCEL_CHANNEL, WATCH_CHANNEL, f"{TOPIC_PREFIX}*"),
    _subscribe(turn_channel("*"), f"{TOPIC_PREFIX}*", WATCHERS_CHANNEL),
)
#: How kombu publishes and consumes: a transaction each, and the names of queues in sets.
_TRANSACTION = "+multi +exec +discard +watch +unwatch"
_BIND = f"+sadd +srem +smembers {_keys('~', BINDINGS)}"

#: The users of programs.
PROGRAMS = (
    BrokerUser(PRODUCER, "backends that send messages, wait for turns and follow threads", _SEND),
    BrokerUser(
        GATEWAY,
        "gateways: as a producer, and the counts of their limits, for which their library runs scripts",
        (*_SEND, f"+evalsha +script|load +script|exists +get +set +incrby +pttl +rename +exists ~{LIMITS}"),
    ),
    BrokerUser(
        WORKER,
        "workers of all queues",
        (
            f"{CONNECTION} {_TRANSACTION}",
            f"+brpop +blmpop +lpush +rpush +llen {_keys('~', lists_of(*QUEUES))}",
            _BIND,
            f"+lpush +pexpire {_keys('%W~', [ANSWERS])}",
            f"+get +set ~{BREAKER_PREFIX}*",
            _publish(turn_channel("*"), f"{TOPIC_PREFIX}*", WATCHERS_CHANNEL, EVENT_CHANNELS),
            _subscribe(CANCEL_CHANNEL, WATCH_CHANNEL, CONTROL_CHANNEL),
        ),
    ),
    BrokerUser(
        BEAT,
        "beat, which sends the periodic tasks",
        (f"{CONNECTION} {_TRANSACTION}", f"+lpush +llen {_keys('~', lists_of(MAINTENANCE_QUEUE))}", _BIND),
    ),
    BrokerUser(
        FLOWER,
        "Flower",
        (
            f"{CONNECTION} {_TRANSACTION}",
            f"+llen {_keys('%R~', lists_of(*QUEUES))}",
            f"+brpop +exists +del +llen +pexpire {_keys('~', lists_of(ANSWERS))} ~celeryev.*",
            _BIND,
            _publish(CONTROL_CHANNEL),
            f"+psubscribe +punsubscribe {_keys('&', [EVENT_CHANNELS])}",
        ),
    ),
)
USERS = (
    *PROGRAMS,
    BrokerUser(OPERATOR, "people", ("~* &* +@all",)),
    BrokerUser(HEALTH, "the health check: it asks whether the server is there", ("+ping",)),
)


def write_users(write_password: Callable[[BrokerUser], str]) -> Iterator[str]:
    """The lines of an access control list."""
    yield "user default off resetkeys resetchannels -@all"
    for user in USERS:
        yield user.write_line(write_password(user))
