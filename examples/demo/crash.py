"""The last scene: a worker is killed in the middle of a turn, and the turn completes all the same, once."""

import time
from collections import Counter

from conversation.turn import TurnRecord, TurnState
from examples.demo.desk import INTERRUPTED_TICKET, thread_id_of
from examples.demo.replies import has_whole_pairs
from examples.demo.stage import DemoFailed, Stage
from examples.demo.stored import Entry
from examples.support.ledger import ledger_entries
from examples.support.tickets import load_tickets

#: Seconds until a tool of the turn has acted: a real model thinks first.
EFFECT_TIMEOUT_SECONDS = 90.0
#: The part that runs turns.
WORKER = "turns"


def check_killed_worker_loses_nothing(stage: Stage) -> None:
    """Send a ticket, kill its worker, start another, and check what is stored in the end."""
    agent = "support_slow" if stage.is_offline else "support"
    with stage.producer([INTERRUPTED_TICKET], agent=agent) as backend:
        journal = _wait_for_effect(stage)
        if _load_record(stage).state.is_final:
            stage.wait_for(backend)
            stage.say(f"{stage.model} was done before its worker could be killed: there is nothing to show")
            return
        killed_at = time.monotonic()
        _replace_worker(stage, journal)
        stage.wait_for(backend)
        seconds = time.monotonic() - killed_at
    stage.say(f"the turn completed {seconds:.1f} s after its worker was killed")
    _check_done_once(stage, journal)


def _wait_for_effect(stage: Stage) -> list[Entry]:
    """Wait; the journal once a tool has acted and its result stands there, or once the turn has ended."""
    journal: list[Entry] = []

    def has_acted() -> bool:
        record = stage.stored_data.load_turn(_thread_id(stage))
        if record is None:
            return False
        acted_ids = {entry.call_id for entry in ledger_entries() if entry.turn_id == record.id}
        journal[:] = stage.stored_data.load_journal(record.id)
        finished_ids = {entry.call_id for entry in journal if entry.state == "finished"}
        return record.state.is_final or bool(acted_ids & finished_ids)

    stage.wait_until(has_acted, "a tool of the turn has acted", seconds=EFFECT_TIMEOUT_SECONDS)
    return journal


def _replace_worker(stage: Stage, journal: list[Entry]) -> None:
    record, pid = _load_record(stage), stage.stack.pid(WORKER)
    tool_name = next(entry.name for entry in reversed(journal) if entry.state == "finished")
    stage.check(record.state is TurnState.RUNNING, f"the turn runs, and {tool_name} stands in its journal as finished")
    stage.stack.kill(WORKER)
    stage.say(f"worker {pid} was killed (SIGKILL)")
    stage.check(_load_record(stage).state is TurnState.RUNNING, "the turn has not ended")
    stage.stack.restart(WORKER)
    lease = f"{stage.settings.lease_duration_seconds:g} s after its last beat"
    stage.say(f"worker {stage.stack.pid(WORKER)} started; the dead one's lease lapses {lease}")


def _check_done_once(stage: Stage, journal_before: list[Entry]) -> None:
    record, thread = _load_record(stage), stage.stored_data.load_thread(_thread_id(stage))
    stage.check((record.state, record.attempt) == (TurnState.COMPLETED, 2), "it completed in attempt 2")

    seqs = [message.seq for message in thread.messages]
    ids = Counter(call.id for message in thread.messages for call in message.tool_calls)
    is_once = seqs == list(range(1, len(seqs) + 1)) and set(ids.values()) <= {1}
    stage.check(is_once and has_whole_pairs(thread.messages), f"its {len(seqs)} messages stand once")

    finished_entries = [entry for entry in journal_before if entry.state == "finished"]
    journal_now = stage.stored_data.load_journal(record.id)
    is_unchanged = all(entry in journal_now for entry in finished_entries)
    stage.check(
        is_unchanged, f"what had finished was not repeated: {', '.join(entry.name for entry in finished_entries)}"
    )

    effects = [entry for entry in ledger_entries() if entry.turn_id == record.id]
    call_counts = Counter(entry.call_id for entry in effects)
    effects_text = ", ".join(f"{entry.tool} x{call_counts[entry.call_id]}" for entry in effects)
    stage.check(set(call_counts.values()) <= {1}, f"effects in the shop's ledger: {effects_text or 'none'}")
    if stage.is_offline:
        ticket = next(ticket for ticket in load_tickets() if ticket.ticket == INTERRUPTED_TICKET)
        expected_calls = [action.name for action in ticket.actions]
        actual_calls = [call.name for message in thread.messages for call in message.tool_calls]
        stage.check(
            actual_calls == expected_calls, f"every call that was asked for was made: {', '.join(actual_calls)}"
        )


def _thread_id(stage: Stage) -> str:
    return thread_id_of(stage.run, INTERRUPTED_TICKET)


def _load_record(stage: Stage) -> TurnRecord:
    record = stage.stored_data.load_turn(_thread_id(stage))
    if record is None:
        raise DemoFailed("the turn is not stored", WORKER)
    return record
