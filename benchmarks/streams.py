"""From a send to the first words at a client of the gateway, with a model that answers at once, one turn at a time.

The floor is a stream of the same app in which a POST is heard at once: no database, no broker, no worker. Both are
measured in turns, over connections that stay open.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from benchmarks.figures import Figure, Measures, at_most, percentile
from benchmarks.stage import stack
from conversation.task_contract import TURNS_QUEUE
from threadmill.embedded.home import free_port
from threadmill.embedded.programs import Program, ready_when_reachable, worker

WARM_ROUNDS, ROUNDS = 10, 100
#: First words: a delta, or all of a reply that was over before one could go out.
DELTA, REPLY = "event: message.delta", '"role":"assistant"'


def measure(*, quick: bool) -> Measures:
    """Send, and hear, by turns over both streams."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with stack(worker("turns", [TURNS_QUEUE]), _gateway(port)), httpx.Client(base_url=address, timeout=30) as http:
        http.post("/v1/threads", json={"id": "bench"}).raise_for_status()
        floor, first = [], []
        with _listen(f"{address}/v1/threads/bench/events") as turns, _listen(f"{address}/raw") as posts:
            for _ in range(WARM_ROUNDS + (10 if quick else ROUNDS)):
                floor.append(_time(posts, lambda: http.post("/raw", content=b"{}")))
                first.append(_time(turns, lambda: http.post("/v1/threads/bench/messages", json={"content": "hello"})))
                # Nothing of this turn is left over for the next.
                time.sleep(0.1)
    raw = Figure(key="raw_p50", label="a POST heard on a stream of the same app, p50", unit="ms", rounds=[_p50(floor)])
    return [
        raw,
        Figure(
            key="first_words_p50",
            label="sent to the first words at the client, p50",
            unit="ms",
            rounds=[_p50(first)],
            baseline=raw,
            demand=at_most(50),
        ),
    ]


def _gateway(port: int) -> Program:
    return Program(
        name="gateway",
        argv=(sys.executable, "-m", "uvicorn", "benchmarks.streams_app:app", "--log-level=error", f"--port={port}"),
        is_ready=ready_when_reachable(f"http://127.0.0.1:{port}/health/ready"),
    )


@contextmanager
def _listen(address: str) -> Iterator["queue.SimpleQueue[float]"]:
    """When words come, by the clock."""
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    is_open = threading.Event()

    def read() -> None:
        with httpx.stream("GET", address, timeout=None) as stream:
            is_open.set()
            for line in stream.iter_lines():
                if line == DELTA or REPLY in line:
                    heard.put(time.perf_counter())

    threading.Thread(target=read, daemon=True).start()
    is_open.wait(10)
    yield heard


def _time(heard: "queue.SimpleQueue[float]", send: Callable[[], httpx.Response]) -> float:
    while not heard.empty():
        heard.get()
    began = time.perf_counter()
    send().raise_for_status()
    return 1000 * (heard.get(timeout=10) - began)


def _p50(values: list[float]) -> float:
    return percentile(values[WARM_ROUNDS:], 50)
