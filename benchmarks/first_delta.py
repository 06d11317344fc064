"""The time from a send over HTTP to the first words of the reply at the client, with a model that answers at once.

One turn at a time, on connections that are open. A viewer has the thread's stream open and hears the reply there; or
the send itself is answered with the turn's stream, whose reader begins to listen when the turn runs already. Where a
whole reply comes before any of its deltas, it counts. Beside them a stream of one event by the same app, with no turn
behind it: no stream can be faster.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse

from benchmarks.figures import Figure, Measures, Note, at_most, percentile
from benchmarks.gateway_app import RAW_PATH
from benchmarks.stage import settings_of, stack
from conversation.task_contract import TURNS_QUEUE
from store.database.engine import Database
from store.keys.key_rows import KeyRequest, create_key
from store.keys.key_text import make_key
from store.settings import Settings
from threadmill.embedded.home import free_port
from threadmill.embedded.programs import Program, ready_when_reachable, worker

#: Threads, one after the other, so that no history grows long.
THREADS, WARM_THREADS = 12, 2
TURNS_OF_THREAD = 20
LIMIT_MS = 50
MESSAGE = {"content": "hello", "agent": "talking"}


def measure(*, quick: bool) -> Measures:
    """Measure each road for some threads, in turns."""
    port = free_port()
    watched: list[Words] = []
    answered: list[Words] = []
    raw: list[float] = []
    with stack(worker("turns", [TURNS_QUEUE]), gateway(port), agent_modules="benchmarks.talking_agent") as servers:
        client = Client(port, write_key(settings_of(servers)))
        for number in range(WARM_THREADS + (1 if quick else THREADS)):
            if number == WARM_THREADS:
                watched, answered, raw = [], [], []
            watched += client.time_watched(f"watched-{number}")
            for _ in range(TURNS_OF_THREAD):
                answered.append(client.time_answered(f"answered-{number}"))
                raw.append(client.time_raw())
        client.close()
    seen = [words.milliseconds for words in watched]
    own = [words.milliseconds for words in answered]
    whole = sum(not words.is_delta for words in (*watched, *answered))
    return [
        figure("raw_p50", "raw SSE of the same app, p50", percentile(raw, 50)),
        figure("first_delta_p50", "sent to the first delta on an open stream, p50", percentile(seen, 50), LIMIT_MS),
        figure("first_delta_p95", "sent to the first delta on an open stream, p95", percentile(seen, 95)),
        figure("answered_p50", "sent to the first words in the send's own answer, p50", percentile(own, 50)),
        figure("answered_p95", "sent to the first words in the send's own answer, p95", percentile(own, 95)),
        Note(f"of {len(watched) + len(answered)} replies {whole} came whole, before any delta"),
    ]


def figure(key: str, label: str, milliseconds: float, limit: float | None = None) -> Figure:
    demand = None if limit is None else at_most(limit)
    return Figure(key=key, label=label, rounds=[milliseconds], unit="ms", demand=demand)


def gateway(port: int) -> Program:
    """The gateway with the raw stream in it."""
    server = (sys.executable, "-m", "uvicorn", "--factory", "benchmarks.gateway_app:create")
    return Program(
        name="gateway",
        argv=(*server, "--host=127.0.0.1", f"--port={port}", "--log-level=warning", "--no-access-log", "--ws=none"),
        environment={"THREADMILL_LOG_LEVEL": "error"},
        is_ready=ready_when_reachable(f"http://127.0.0.1:{port}/health/ready"),
    )


def write_key(settings: Settings) -> str:
    """Make a key for the default tenant; returns its text."""
    database, key = Database(settings), make_key()
    database.run(create_key, KeyRequest(tenant="default", name="", scopes=("read", "write"), user=None), key)
    database.close()
    return key.text


@dataclass(frozen=True, slots=True)
class Words:
    """The first words of a reply, at the client."""

    milliseconds: float
    #: And not the whole reply, which came first.
    is_delta: bool


class Client:
    """A client that times the first words, on two connections that stay open."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._sending, self._raw = self._connect(), self._connect()

    def time_watched(self, thread: str) -> list["Words"]:
        """From each send to the first words on the thread's open stream."""
        self._send("/v1/threads", {"id": thread}).read()
        watching = self._connect()
        watching.request("GET", f"/v1/threads/{thread}/events", headers=self._headers)
        lines = read_kinds(watching.getresponse())
        times: list[Words] = []
        for _ in range(TURNS_OF_THREAD):
            started = time.perf_counter()
            self._request(f"/v1/threads/{thread}/messages", MESSAGE)
            is_delta = until_words(lines)
            times.append(Words(1000 * (time.perf_counter() - started), is_delta))
            self._sending.getresponse().read()
            until(lines, "turn.ended")
        watching.close()
        return times

    def time_answered(self, thread: str) -> "Words":
        """From a send to the first words in its own answer."""
        started = time.perf_counter()
        answer = self._send(f"/v1/threads/{thread}/messages?create=true", MESSAGE, Accept="text/event-stream")
        is_delta = until_words(read_kinds(answer))
        milliseconds = 1000 * (time.perf_counter() - started)
        answer.read()
        return Words(milliseconds, is_delta)

    def time_raw(self) -> float:
        """The milliseconds to the event of the raw stream."""
        started = time.perf_counter()
        self._raw.request("POST", RAW_PATH, headers=self._headers)
        answer = self._raw.getresponse()
        until(read_kinds(answer), "message.delta")
        milliseconds = 1000 * (time.perf_counter() - started)
        answer.read()
        return milliseconds

    def close(self) -> None:
        self._sending.close()
        self._raw.close()

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _send(self, path: str, body: object, **headers: str) -> HTTPResponse:
        self._request(path, body, **headers)
        answer = self._sending.getresponse()
        assert answer.status < 300, answer.read()
        return answer

    def _request(self, path: str, body: object, **headers: str) -> None:
        self._sending.request("POST", path, json.dumps(body), self._headers | headers)


def read_kinds(answer: HTTPResponse) -> Iterator[str]:
    """The kind of each event of a stream, once its data has come."""
    kind = ""
    while line := answer.readline():
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield kind


def until_words(kinds: Iterator[str]) -> bool:
    """Read up to the first words of a reply; whether they are a delta, and not the whole of it."""
    # What the user said is the first message.
    until(kinds, "message.done")
    return until(kinds, "message.delta", "message.done") == "message.delta"


def until(kinds: Iterator[str], *wanted: str) -> str:
    """Read up to the first of these kinds; returns it."""
    return next(kind for kind in kinds if kind in wanted)
