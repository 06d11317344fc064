"""A pool of Celery's threads in which a turn that waits holds no thread: `-P custom`.

What stays true: Celery's own tracer runs every task, so signals, events, failures and revocation are those of
`-P threads`. All of Celery stays on Celery's thread and all of a turn on the worker's loop, so that neither holds up
the other: where a turn's task would wait for the loop, its greenlet steps aside, and goes on when the turn has ended.
Tasks that do not say `waits_on_loop` run on threads, as ever.
"""

import asyncio
import contextlib
import os
import select
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, TypeVar

import structlog
from celery.concurrency import thread
from celery.concurrency.base import apply_target
from greenlet import getcurrent, greenlet

T = TypeVar("T")

#: The pool's name in CELERY_CUSTOM_WORKER_POOL, which `-P custom` means.
POOL = "threadmill.app:TaskPool"
#: Seconds for which Celery's thread hears nothing of a turn that began or ended, so that it hears of several at once.
#: A turn that ended is committed by then: what is late are events, and the place for another turn.
GATHER_SECONDS = 0.01
#: Seconds between two looks of a stopping pool at turns that have ended.
STOP_POLL_SECONDS = 1.0
#: Bytes that are read at once from the pipe that says that turns have ended; what they are means nothing.
PIPE_BYTES = 4096

_log = structlog.get_logger(__name__)


class TaskPool(thread.TaskPool):  # type: ignore[misc]  # celery ships no types
    """The pool of a worker whose turns wait on its event loop."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Tasks whose turn is on the loop.
        self._waiting: set[_TurnTask] = set()
        #: What Celery's thread is to do next, in order: the loop appends, Celery's thread takes.
        self._due: deque[Callable[[], object]] = deque()
        self._pipe_out, self._pipe_in = os.pipe()
        os.set_blocking(self._pipe_out, False)
        os.set_blocking(self._pipe_in, False)
        self._is_signalled = False

    def register_with_event_loop(self, hub: Any) -> None:
        """Have Celery's thread hear of what is due. Called after each connection to the broker."""
        hub.add_reader(self._pipe_out, self._hear_of_due)

    def on_apply(self, target: Any, args: Any = None, kwargs: Any = None, *callbacks: Any, **named: Any) -> Any:
        """Run a task: a turn's until it waits for the loop, another on a thread."""
        if not getattr(self.app.tasks.get(args[0]), "waits_on_loop", False):
            return super().on_apply(target, args, kwargs, *callbacks, **named)
        # What is due goes along: its events leave with those of this task.
        self._do_due()
        _TurnTask(self).go_on(target, args, kwargs, *callbacks, **named)
        return None

    def on_stop(self) -> None:
        """Wait until all tasks have ended: a turn comes to its end within the worker's grace."""
        while self._waiting:
            select.select([self._pipe_out], [], [], STOP_POLL_SECONDS)
            self._hear_of_due()
        super().on_stop()

    def enter(self, task: "_TurnTask") -> None:
        """Note that a task's turn goes to the loop."""
        self._waiting.add(task)

    def resume_soon(self, task: "_TurnTask") -> None:
        """Have Celery's thread go on with a task before long. Only on the loop."""
        self.post(partial(self._resume, task))

    def post(self, work: Callable[[], object]) -> None:
        """Have Celery's thread do something before long, in the order of the calls. Only on the loop."""
        self._due.append(work)
        if not self._is_signalled:
            self._is_signalled = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._signal)

    def _signal(self) -> None:
        if self._due:
            # Full, the pipe says so already.
            with contextlib.suppress(BlockingIOError):
                os.write(self._pipe_in, b"\0")
        else:
            self._is_signalled = False

    def _hear_of_due(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe_out, PIPE_BYTES)
        # Before the first look: who appends after the last one signals again.
        self._is_signalled = False
        self._do_due()

    def _do_due(self) -> None:
        while self._due:
            self._due.popleft()()

    def _resume(self, task: "_TurnTask") -> None:
        self._waiting.discard(task)
        task.go_on()

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "turns": len(self._waiting)}


class _TurnTask(greenlet):  # type: ignore[misc]  # greenlet ships no types
    """A task on Celery's thread, which steps aside while its turn is on the loop."""

    def __init__(self, pool: TaskPool) -> None:
        super().__init__(apply_target)
        self._pool = pool
        self._turn: asyncio.Task[Any]

    def go_on(self, *arguments: Any, **named: Any) -> None:
        """Run until the task waits or ends; arguments are those of its beginning. On Celery's thread."""
        try:
            self.switch(*arguments, **named)
        except BaseException as error:  # noqa: BLE001 - as in a thread of a pool: it ends the task, not the worker
            _log.error("task_broke_off", error=type(error).__name__)

    def wait_for(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result, while Celery's thread does other work."""
        # Leaner than `run_coroutine_threadsafe`, whose future is made for a thread that waits.
        loop.call_soon_threadsafe(self._begin, loop, work)
        self._pool.enter(self)
        self.parent.switch()
        turn = self._turn
        if turn.cancelled():
            raise CancelledError
        result: T = turn.result()
        return result

    def _begin(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> None:
        self._turn = loop.create_task(work)
        self._turn.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._pool.resume_soon(self)


def wait_on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop and return its result; a turn's task in this pool holds no thread meanwhile."""
    task = getcurrent()
    if isinstance(task, _TurnTask):
        result: T = task.wait_for(loop, work)
        return result
    return asyncio.run_coroutine_threadsafe(work, loop).result()
