"""The channel from workers to those who look at a thread, through the broker's Valkey: rings, and deltas of a reply.

What stays true: nothing is kept there and nothing depends on it. A ring says that the rows have more, and whoever can
write to the broker can ring: it makes a viewer read rows once more. Deltas are signed with a key that stands
in the database, so that nobody else can put words into an answer. An envelope that is forged,
foreign or malformed is nothing at all.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Literal

#: Where followers say which topics they follow.
WATCH_CHANNEL = "threadmill:watch"
#: Where a worker asks all followers to say that again.
WATCHERS_CHANNEL = "threadmill:watchers"
#: Seconds after which a follower says again what it follows, and for which a worker believes it.
WATCH_AGAIN_SECONDS, WATCHED_SECONDS = 20.0, 60.0
#: Bytes of an envelope: a reply of a model is far shorter.
ENVELOPE_MAX_BYTES = 8_000_000
#: Topics of one announcement: a follower of more sends several.
WATCH_TOPICS_MAX = 500
#: Bytes of an announcement of so many topics, and more.
WATCH_MAX_BYTES = 65_536
#: Topics of any number of announcements that a worker remembers.
WATCHED_TOPICS_MAX = 200_000

#: Before the digest of each topic.
TOPIC_PREFIX = "threadmill:events:"
_MAC_CHARS = 64


def topic_of(kind: Literal["thread", "owner"], tenant: str, name: str) -> str:
    """The channel of a thread's events, or of all threads of a user: it tells neither of their ids."""
    digest = hashlib.sha256("\0".join((kind, tenant, name)).encode()).hexdigest()
    return f"{TOPIC_PREFIX}{digest[:32]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """There is more to read in a thread's rows."""

    thread_id: str
    #: There are events up to this number; 0 where only the state of a turn that waits is another.
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deltas:
    """Deltas of the reply that is being written."""

    thread_id: str
    turn_id: str
    message_id: str
    #: All events of rows with lower numbers come before this reply.
    base: int
    #: The number of the delta before these; `base` for the first.
    previous: int
    #: Number and text of each; None where the model begins anew.
    deltas: tuple[tuple[int, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPiece:
    """All of the reply that is being written, for those who come in its middle, or who missed a delta."""

    thread_id: str
    turn_id: str
    message_id: str
    base: int
    #: The number of the newest restart; None where the model went on.
    restarted: int | None
    #: What came since then.
    text: str
    #: The number of each delta since then, and where it ends in `text`, in code points.
    ends: tuple[tuple[int, int], ...]


Envelope = Ring | Deltas | OpenPiece


def seal(topic: str, envelope: Envelope, key: bytes) -> str:
    """An envelope as text for its topic. A ring is not signed: rows say what is true."""
    match envelope:
        case Ring():
            return json.dumps({"kind": "ring", "thread": envelope.thread_id, "number": envelope.number})
        case Deltas():
            body = {"kind": "deltas", "previous": envelope.previous, "deltas": envelope.deltas}
        case OpenPiece():
            body = {"kind": "piece", "restarted": envelope.restarted, "text": envelope.text, "ends": envelope.ends}
    body |= {
        "thread": envelope.thread_id,
        "turn": envelope.turn_id,
        "message": envelope.message_id,
        "base": envelope.base,
    }
    text = json.dumps(body)
    return _sign(topic, text, key) + text


def unseal(topic: str, data: bytes, key: bytes) -> Envelope | None:
    """The envelope in what came on a topic; None where it is none of ours."""
    if len(data) > ENVELOPE_MAX_BYTES:
        return None
    try:
        text = data.decode()
        if text.startswith("{"):
            ring = json.loads(text)
            return Ring(thread_id=_text(ring["thread"]), number=_number(ring["number"]))
        body_text = text[_MAC_CHARS:]
        if not hmac.compare_digest(text[:_MAC_CHARS].encode(), _sign(topic, body_text, key).encode()):
            return None
        return _read(json.loads(body_text))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _sign(topic: str, text: str, key: bytes) -> str:
    return hmac.new(key, f"{topic}\0{text}".encode(), hashlib.sha256).hexdigest()


def _read(body: dict[str, Any]) -> Envelope:
    """An envelope that a worker signed."""
    common = {"thread_id": body["thread"], "turn_id": body["turn"], "message_id": body["message"], "base": body["base"]}
    if body["kind"] == "deltas":
        deltas = tuple((number, text) for number, text in body["deltas"])
        return Deltas(**common, previous=body["previous"], deltas=deltas)
    ends = tuple((number, end) for number, end in body["ends"])
    return OpenPiece(**common, restarted=body["restarted"], text=body["text"], ends=ends)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise TypeError
    return value


def write_watch(topics: list[str], *, is_fresh: bool) -> str:
    """An announcement of topics that are followed; `is_fresh` asks for what is being written there now."""
    return json.dumps({"topics": topics, "fresh": is_fresh})


def read_watch(data: bytes) -> tuple[list[str], bool]:
    """The topics of an announcement, and whether it is fresh; none where it is none of ours."""
    if len(data) > WATCH_MAX_BYTES:
        return [], False
    try:
        value = json.loads(data.decode())
        topics = [topic for topic in value["topics"][:WATCH_TOPICS_MAX] if is_topic(topic)]
        return topics, value["fresh"] is True
    except (ValueError, TypeError, KeyError, RecursionError):
        return [], False


def is_topic(value: object) -> bool:
    """Whether a value has the form of a topic."""
    return isinstance(value, str) and len(value) == len(TOPIC_PREFIX) + 32 and value.startswith(TOPIC_PREFIX)
