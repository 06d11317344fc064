"""The last scene: a worker is killed in the middle of a turn, and the turn completes all the same, once."""

import time
from collections import Counter

from conversation.turn import TurnRecord, TurnState
from examples.demo.desk import INTERRUPTED, thread_of
from examples.demo.replies import pairs_are_whole
from examples.demo.stage import DemoFailed, Stage
from examples.demo.stored import Entry
from examples.support.ledger import ledger_entries
from examples.support.tickets import load_tickets

#: Seconds until a tool of the turn has acted: a real model thinks first.
ACTED_SECONDS = 90.0
#: The part that runs turns.
WORKER = "turns"


def a_killed_worker_loses_nothing(stage: Stage) -> None:
    """Send, kill, start another, and see what stands in the end."""
    agent = "support_slow" if stage.is_offline else "support"
    with stage.producer([INTERRUPTED], agent=agent) as backend:
        before = _journal_after_an_effect(stage)
        if _record(stage).state.is_final:
            stage.wait_for(backend)
            stage.say(f"{stage.model} was done before its worker could be killed: there is nothing to show")
            return
        killed_at = time.monotonic()
        _replace_the_worker(stage, before)
        stage.wait_for(backend)
        seconds = time.monotonic() - killed_at
    stage.say(f"the turn completed {seconds:.1f} s after its worker was killed")
    _is_done_once(stage, before)


def _journal_after_an_effect(stage: Stage) -> list[Entry]:
    """The journal once a tool has acted and its result stands there, or once the turn has ended."""
    journal: list[Entry] = []

    def has_acted() -> bool:
        record = stage.stored.turn(_thread(stage))
        if record is None:
            return False
        acted = {entry.call_id for entry in ledger_entries() if entry.turn_id == record.id}
        journal[:] = stage.stored.journal(record.id)
        finished = {entry.call_id for entry in journal if entry.state == "finished"}
        return record.state.is_final or bool(acted & finished)

    stage.until(has_acted, "a tool of the turn has acted", seconds=ACTED_SECONDS)
    return journal


def _replace_the_worker(stage: Stage, journal: list[Entry]) -> None:
    record, pid = _record(stage), stage.stack.pid(WORKER)
    acted = next(entry.name for entry in reversed(journal) if entry.state == "finished")
    stage.check(
        record.state is TurnState.RUNNING, f"the turn runs, and {acted} stands in its journal as finished"
    )
    stage.stack.kill(WORKER)
    stage.say(f"worker {pid} was killed (SIGKILL)")
    stage.check(_record(stage).state is TurnState.RUNNING, "the turn has not ended")
    stage.stack.restart(WORKER)
    lease = f"{stage.settings.lease_seconds:g} s after its last beat"
    stage.say(f"worker {stage.stack.pid(WORKER)} started; the dead one's lease lapses {lease}")


def _is_done_once(stage: Stage, before: list[Entry]) -> None:
    record, thread = _record(stage), stage.stored.thread(_thread(stage))
    stage.check((record.state, record.attempt) == (TurnState.COMPLETED, 2), "it completed in attempt 2")

    seqs = [message.seq for message in thread.messages]
    ids = Counter(call.id for message in thread.messages for call in message.tool_calls)
    once = seqs == list(range(1, len(seqs) + 1)) and set(ids.values()) <= {1}
    stage.check(once and pairs_are_whole(thread.messages), f"its {len(seqs)} messages stand once")

    finished = [entry for entry in before if entry.state == "finished"]
    now = stage.stored.journal(record.id)
    kept = all(entry in now for entry in finished)
    stage.check(kept, f"what had finished was not repeated: {', '.join(entry.name for entry in finished)}")

    effects = [entry for entry in ledger_entries() if entry.turn_id == record.id]
    often = Counter(entry.call_id for entry in effects)
    told = ", ".join(f"{entry.tool} x{often[entry.call_id]}" for entry in effects)
    stage.check(set(often.values()) <= {1}, f"effects in the shop's ledger: {told or 'none'}")
    if stage.is_offline:
        ticket = next(ticket for ticket in load_tickets() if ticket.ticket == INTERRUPTED)
        asked = [action.name for action in ticket.actions]
        called = [call.name for message in thread.messages for call in message.tool_calls]
        stage.check(called == asked, f"every call that was asked for was made: {', '.join(called)}")


def _thread(stage: Stage) -> str:
    return thread_of(stage.run, INTERRUPTED)


def _record(stage: Stage) -> TurnRecord:
    record = stage.stored.turn(_thread(stage))
    if record is None:
        raise DemoFailed("the turn is not stored", WORKER)
    return record
