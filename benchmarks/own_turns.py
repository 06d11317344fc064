"""A worker in this process, that is handed its wake-ups: a turn without Celery's and the broker's delay."""

import time
from types import TracebackType
from typing import Self

import structlog

from agent import registry
from conversation.task_contract import WakeUp
from producers import Producer
from producers.turn import Turn
from store.settings import Settings
from tasks.worker import Worker


class OwnTurns:
    """A backend and a worker. Use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        self.producer = Producer(settings)
        self.worker = Worker(settings, registry.load(settings.agent_modules))

    def __enter__(self) -> Self:
        self.worker.start()
        self.turn("warm-up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.stop()
        self.producer.close()

    def send(self, thread: str) -> tuple[Turn, float]:
        """A message sent, its wake-up published; and the seconds of that."""
        started = time.perf_counter()
        turn = self.producer.send(thread, "hello", allow_unknown_agent=True)
        return turn, time.perf_counter() - started

    def answer(self, turn: Turn) -> float:
        """Have the worker answer it; returns the seconds of that."""
        started = time.perf_counter()
        wake_up = WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id)
        self.worker.wait_for(self.worker.runner.run_thread(wake_up))
        return time.perf_counter() - started

    def turn(self, thread: str) -> float:
        """Send and answer; returns the seconds of both."""
        turn, seconds = self.send(thread)
        return seconds + self.answer(turn)
