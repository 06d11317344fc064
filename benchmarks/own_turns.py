"""A worker in this process, that is handed its wake-ups: a turn without Celery's and the broker's delay."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Self
from unittest import mock

from agent import registry
from agent.agent import Agent
from conversation.task_contract import WakeUp
from producers import Producer
from producers.turn import Turn
from store.settings import Settings
from tasks.worker import Worker


class OwnTurns:
    """A backend and a worker. Use it as a context manager."""

    def __init__(self, settings: Settings, agents: Mapping[str, Agent] | None = None) -> None:
        """A worker that serves these agents; without them, those of the settings."""
        self.producer = Producer(settings)
        self.worker = Worker(settings, agents or registry.load(settings.agent_modules))

    def __enter__(self) -> Self:
        self.worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A worker that has stopped ends its process; this one is ours.
        with mock.patch("tasks.worker.end_process_after"):
            self.worker.stop()
        self.worker.loop.close()
        self.producer.close()

    def send(self, thread: str) -> tuple[Turn, float]:
        """A message sent, its wake-up published; and the seconds of that."""
        started = time.perf_counter()
        turn = self.producer.send(thread, "hello", allow_unknown_agent=True)
        return turn, time.perf_counter() - started

    def answer(self, turn: Turn) -> float:
        """Have the worker answer it; returns the seconds of that."""
        started = time.perf_counter()
        self.begin(turn).result()
        return time.perf_counter() - started

    def begin(self, turn: Turn) -> Future[object]:
        """Hand the worker its wake-up; returns what waits for the end."""
        wake_up = WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id)
        return asyncio.run_coroutine_threadsafe(self.worker.runner.run_thread(wake_up), self.worker.loop)

    def turn(self, thread: str) -> float:
        """Send and answer; returns the seconds of both."""
        turn, seconds = self.send(thread)
        return seconds + self.answer(turn)
