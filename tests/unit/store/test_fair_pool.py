"""The pool of a worker's connections: who asked first gets the next one, whoever comes in between."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.queue import Empty, Full

from store.database.engine import Database
from store.database.fair_pool import FairPool, FairQueue
from store.settings import load


class Stage:
    """A queue of connections, here words, and the order in which those who asked got one."""

    def __init__(self, *entries: str) -> None:
        self.queue: Any = FairQueue(maxsize=2)
        self.lent: list[tuple[str, str]] = []
        for entry in entries:
            self.queue.put_nowait(entry)

    def ask(self, name: str, timeout_seconds: float | None = None) -> "asyncio.Task[None]":
        """Ask for a connection. It is kept."""
        return asyncio.create_task(self._ask(name, timeout_seconds))

    async def _ask(self, name: str, timeout_seconds: float | None) -> None:
        self.lent.append((name, await greenlet_spawn(self.queue.get, True, timeout_seconds)))


async def settle() -> None:
    """Let all tasks do what they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@on_loop
async def test_who_comes_while_another_is_woken_waits_behind() -> None:
    stage = Stage("a")
    for name in ("first", "second", "third"):
        stage.ask(name)
    await settle()
    assert stage.lent == [("first", "a")]

    stage.queue.put_nowait("a")
    # The second was told, and has not run since.
    stage.ask("newcomer")
    await settle()
    assert stage.lent[1:] == [("second", "a")]

    stage.queue.put_nowait("a")
    stage.queue.put_nowait("b")
    await settle()
    assert stage.lent[2:] == [("third", "a"), ("newcomer", "b")]


@on_loop
async def test_a_connection_for_one_who_is_cancelled_goes_to_the_next() -> None:
    stage = Stage("a")
    _, early, late, last = [stage.ask(name) for name in ("first", "early", "late", "last")]
    await settle()

    early.cancel()
    await settle()
    stage.queue.put_nowait("a")
    # It has been told, and does not hear it any more.
    late.cancel()
    await settle()

    assert (early.cancelled(), late.cancelled()) == (True, True)
    assert stage.lent[1:] == [("last", "a")]
    assert last.done()


@on_loop
async def test_one_who_waits_for_too_long_finds_none_and_takes_none() -> None:
    stage = Stage()
    waiting = stage.ask("late", timeout_seconds=0)

    with pytest.raises(Empty):
        await waiting
    stage.queue.put_nowait("a")

    assert (stage.lent, stage.queue.qsize()) == ([], 1)


def test_connections_are_lent_at_once_where_any_is_free_and_kept_where_nobody_waits() -> None:
    stage = Stage("a", "b")
    assert (stage.queue.full(), stage.queue.empty(), stage.queue.qsize()) == (True, False, 2)

    with pytest.raises(Full):
        stage.queue.put("c", block=False)
    assert [stage.queue.get(block=False) for _ in range(2)] == ["a", "b"]
    with pytest.raises(Empty):
        stage.queue.get(block=False)
    assert stage.queue.empty()


@on_loop
async def test_the_loop_of_turns_has_such_a_pool() -> None:
    database = Database(load(database_url="postgresql://nobody@127.0.0.1:1/none", broker_url="redis://127.0.0.1:1"))

    assert isinstance(database.async_engine.pool, FairPool)
    assert isinstance(database.async_engine.pool.recreate(), FairPool)
    await database.close_async()
