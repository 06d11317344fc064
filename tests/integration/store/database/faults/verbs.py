"""The verbs of the store, as a fault meets them: what each needs is there, it goes by the broken road."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from conversation.errors import DatabaseUnavailable
from conversation.ids import new_id
from conversation.step import Step
from conversation.turn import ClaimedTurn, Failed, HandOver, TurnError
from store.turns import cancel, inbox, sweep, workers
from store.turns.requeue import requeue
from tasks.active_runs import ActiveRuns
from tasks.heartbeat import Heartbeat
from tests.integration.store.database.faults.stage import SERVES, Stage, answer, request

#: Says what a verb needs, by the steady road; gives the verb, to be done by the road that breaks.
Verb = Callable[[Stage, str], Callable[[], Awaitable[Any]]]

VERBS: dict[str, Verb] = {}
#: How the one turn ends after each verb, where it is not with an answer.
ENDS = {"cancel a waiting turn": "cancelled", "cancel a running turn": "cancelled"}
#: Verbs of a task that ends when it is told so: another attempt at the turn comes after it.
GIVEN_UP = {"record", "settle", "settle and let go"}


def verb(name: str) -> Callable[[Verb], Verb]:
    def entered(function: Verb) -> Verb:
        VERBS[name] = function
        return function

    return entered


@verb("send")
def send(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    wanted = request(thread)

    async def act() -> Any:
        accepted = stage.database.run(inbox.accept, request=wanted)
        assert (accepted.turn_id, accepted.is_new) == (wanted.turn_id, True)

    return act


@verb("send on the event loop, with a key")
def send_async(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    wanted = request(thread, idempotency_key=thread)
    return partial(stage.database.run_async, partial(inbox.accept, request=wanted))


@verb("claim")
def claim(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    stage.sent(thread)

    async def act() -> Any:
        found = await stage.ledger.claim("default", thread, stage.claimant)
        if isinstance(found, ClaimedTurn):
            assert [m.content for m in found.window] == ["question"]
            stage.settled(found)
        return found

    return act


@verb("claim a turn that goes on")
def claim_again(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    """Its journal is read after it was claimed."""
    claimed = stage.claimed(thread)
    stage.recorded(claimed, Step(index=0, kind="tool", call_id="c", state="finished", result={"content": "1"}))
    stage.settled(claimed, HandOver())

    async def act() -> Any:
        found = await stage.ledger.claim("default", thread, stage.claimant)
        if isinstance(found, ClaimedTurn):
            assert [step.state for step in found.steps.values()] == ["finished"]
            stage.settled(found)
        return found

    return act


@verb("record")
def record(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    claimed = stage.claimed(thread)
    journal = stage.ledger.journal_of(claimed)
    stage.recorded(claimed, Step(index=0, kind="tool", call_id="c", state="started"))

    async def act() -> Any:
        await journal.record([Step(index=0, kind="tool", call_id="c", state="finished", result={"content": "1"})])
        stage.settled(claimed)

    return act


@verb("settle")
def settle(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    return partial(stage.ledger.settle, stage.claimed(thread), answer(), release=False)


@verb("settle and let go")
def settle_and_release(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    return partial(stage.ledger.settle, stage.claimed(thread), answer(), release=True)


@verb("heartbeat")
def beat(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    """With a thread that no task works on: it is freed as well."""
    claimed = stage.claimed(thread)
    heart = Heartbeat(stage.worker, stage.settings, {}, ActiveRuns(), asyncio.get_running_loop())
    heart._agent_versions = SERVES
    heart._database.run(lambda connection: None)

    async def act() -> Any:
        try:
            heart._beat()
        finally:
            heart._database.close()
        return claimed

    return act


@verb("cancel a waiting turn")
def cancel_waiting(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    turn_id = stage.sent(thread)

    async def act() -> Any:
        return stage.database.run(cancel.request_cancel, turn_id=turn_id)

    return act


@verb("cancel a running turn")
def cancel_running(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    claimed = stage.claimed(thread)

    async def act() -> Any:
        await stage.database.run_async(cancel.request_cancel, turn_id=claimed.id)

    return act


@verb("sweep")
def due_wake_ups(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    stage.sent(thread)

    async def act() -> Any:
        stage.database.run(sweep.pick_wake_ups, grace_seconds=0, limit=10)

    return act


@verb("let go")
def let_go(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    stage.claimed(thread)
    (held,) = stage.steady.run(workers.list_held_threads, worker=stage.worker)

    async def act() -> Any:
        stage.database.run(workers.release, worker=stage.worker, held=held)

    return act


@verb("requeue")
def ask_again(stage: Stage, thread: str) -> Callable[[], Awaitable[Any]]:
    claimed = stage.claimed(thread)
    stage.settled(claimed, Failed(error=TurnError("model_error", "it was away")))

    async def act() -> Any:
        assert not stage.database.run(requeue, turn_id=claimed.id, new_turn_id=new_id(), new_message_id=new_id()).is_new

    return act


async def tried(act: Callable[[], Awaitable[Any]]) -> Any:
    """Its answer, or the one error that a caller may see."""
    try:
        return await act()
    except DatabaseUnavailable as error:
        return error
