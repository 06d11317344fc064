"""What else happens on a thread while a message comes: claims, steps, ends, waits, decisions, cancels, deaths."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import update

from conversation.ids import new_id
from conversation.step import Step
from conversation.turn import Failed, RetryLater, TurnError
from store.database.column_types import clock
from store.tables import turns
from store.turns import cancel, requeue, steering, sweep
from tests.integration.store.turns.meetings import WAITING, Meeting, Operation

FAILURE = TurnError("model_error", "away", retryable=True)


def _claim(meeting: Meeting) -> Operation:
    return meeting.claim_operation()


def _model_step(meeting: Meeting) -> Operation:
    reply = Step(index=0, kind="model", name="m", state="finished", result={"content": "I look"})
    return meeting.record_operation(meeting.claim_turn(), reply)


def _tool_step(meeting: Meeting) -> Operation:
    claimed = meeting.claim_turn()
    meeting.call_tool(claimed)
    result = Step(index=1, kind="tool", call_id="c", name="look", state="finished", result={"content": "found"})
    return meeting.record_operation(claimed, result)


def _take(meeting: Meeting) -> Operation:
    claimed = meeting.claim_turn()
    return partial(steering.take, lease=claimed.lease, turn_id=claimed.id, index=0, limit=20)


def _commit(meeting: Meeting) -> Operation:
    claimed = meeting.claim_turn()
    return meeting.settle_operation(claimed, meeting.ending(claimed))


def _failure(meeting: Meeting) -> Operation:
    return meeting.settle_operation(meeting.claim_turn(), Failed(error=FAILURE))


def _retry(meeting: Meeting) -> Operation:
    return meeting.settle_operation(meeting.claim_turn(), RetryLater(after=timedelta(), error=FAILURE))


def _wait(meeting: Meeting) -> Operation:
    return meeting.settle_operation(meeting.claim_turn(), WAITING)


def _take_over(meeting: Meeting) -> Operation:
    meeting.claim_turn()
    meeting.kill_worker()
    return meeting.claim_operation()


def _sweep(meeting: Meeting) -> Operation:
    meeting.claim_turn()
    meeting.kill_worker()
    return partial(sweep.pick_wake_ups, grace_seconds=0, limit=500)


def _cancel_queued(meeting: Meeting) -> Operation:
    return partial(cancel.cancel_answering, turn_id=meeting.first)


def _cancel_running(meeting: Meeting) -> Operation:
    return partial(cancel.cancel_answering, turn_id=meeting.claim_turn().id)


def _cancel_waiting(meeting: Meeting) -> Operation:
    return partial(cancel.cancel_answering, turn_id=meeting.wait().id)


def _decide(meeting: Meeting) -> Operation:
    meeting.wait()
    return meeting.decide_operation()


def _claim_decided(meeting: Meeting) -> Operation:
    meeting.wait()
    meeting.database.run(meeting.decide_operation())
    return meeting.claim_operation()


def _claim_expired(meeting: Meeting) -> Operation:
    meeting.wait()
    over = update(turns).where(turns.c.id == meeting.first).values(wait_expires_at=clock(plus_seconds=-1))
    meeting.database.run(lambda c: c.execute(over) and None)
    return meeting.claim_operation()


def _requeue(meeting: Meeting) -> Operation:
    claimed = meeting.claim_turn()
    meeting.settle(claimed, Failed(error=FAILURE))
    new_ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
    return partial(requeue.requeue, turn_id=claimed.id, **new_ids)


#: What else happens on the thread, by name: each brings the first turn where it is due, and is returned.
OPERATIONS: dict[str, Callable[[Meeting], Operation]] = {
    "claim": _claim,
    "model step": _model_step,
    "tool step": _tool_step,
    "read": _take,
    "commit": _commit,
    "failure": _failure,
    "retry": _retry,
    "begin to wait": _wait,
    "take over": _take_over,
    "sweep": _sweep,
    "cancel queued": _cancel_queued,
    "cancel running": _cancel_running,
    "cancel waiting": _cancel_waiting,
    "decide": _decide,
    "claim decided": _claim_decided,
    "claim expired": _claim_expired,
    "requeue": _requeue,
}
