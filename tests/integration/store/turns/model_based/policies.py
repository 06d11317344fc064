"""What messages that come while a thread is busy ask of others, in plain Python.

What stays true: only whoever holds the thread's lock acts on it. `mailbox.unseen` are turns that were committed
between two statements of such a holder: it may have looked too early to see them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from conversation.errors import LeaseLost
from tests.integration.store.turns.model_based.values import Ask, Claimed, Entry, Line, Turn

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox

#: The policies of agents that have one.
OF_AGENTS = {"clerk": "merge"}
#: Messages that one turn answers, or takes in at once, at most.
MERGE_MAX = 3
#: Calls of turns that were rolled back that are told, at most.
CALLS_MAX = 20
INTERRUPTING = ("interrupt", "rollback")


def policy_of(mailbox: "Mailbox", ask: Ask) -> str | None:
    """None is to wait until those before have ended."""
    if ask.not_before is not None or ask.runner is not None:
        return None
    policy = ask.when_busy or (OF_AGENTS.get(ask.agent) if ask.agent in mailbox.agents else None)
    return None if policy == "enqueue" else policy


def is_awaited(mailbox: "Mailbox", head: Turn | None, priority: int) -> bool:
    """Whether the head has a wake-up on the way that is no less urgent, or waits: for its retry, a decision."""
    if head is None or head.state != "queued":
        return head is not None and head.state == "waiting"
    has_wake_up = head.notified_at is not None and head.priority >= priority
    return has_wake_up or (head.retry_at or 0) > mailbox.now


def interrupt(mailbox: "Mailbox", thread: str) -> None:
    """End the turns before those that were sent to end them."""
    for asking in _asking(mailbox, thread):
        if asking.id not in mailbox.unseen:
            for turn in mailbox.unfinished(thread):
                if _is_before(turn, asking):
                    _end_for(turn, asking)


def is_to_stop(mailbox: "Mailbox", turn: Turn) -> bool:
    """Whether its worker is told to stop it."""
    return turn.cancel_asked or is_interrupted(mailbox, turn)


def is_interrupted(mailbox: "Mailbox", turn: Turn) -> bool:
    """Whether it is to be ended, though nobody has told it so yet."""
    return any(_is_before(turn, asking) for asking in _asking(mailbox, turn.thread))


def _asking(mailbox: "Mailbox", thread: str) -> list[Turn]:
    return [turn for turn in mailbox.unfinished(thread) if turn.when_busy in INTERRUPTING]


def _is_before(turn: Turn, asking: Turn) -> bool:
    was_due = turn.has_begun or (turn.not_before or 0) <= asking.sent_at
    return turn.position < asking.position and was_due


def _end_for(turn: Turn, asking: Turn) -> None:
    rolls_back = asking.when_busy == "rollback"
    if turn.cancel_asked and (turn.rolled_back or not rolls_back):
        return
    if not turn.cancel_asked:
        turn.cancel_asked, turn.interrupted_by = True, asking.id
    turn.retry_at = None
    if rolls_back:
        turn.rolled_back = True
        if turn.state == "queued" and not turn.has_begun and turn.parent is None:
            turn.state = "cancelled"


def merge(mailbox: "Mailbox", head: Turn) -> list[Turn]:
    """Merge those directly behind a turn that begins into it, which it returns."""
    if head.when_busy != "merge" or head.has_begun or head.runner is not None or mailbox.must_end(head):
        return []
    merged = []
    for turn in mailbox.unfinished(head.thread):
        if turn.position <= head.position or (turn.not_before or 0) > mailbox.now:
            continue
        if turn.id in mailbox.unseen:
            continue
        if not _fits(mailbox, turn, head) or len(merged) == MERGE_MAX - 1:
            break
        turn.state, turn.merged_into, turn.notified_at, turn.retry_at = "merged", head.id, None, None
        merged.append(turn)
    return merged


def _fits(mailbox: "Mailbox", turn: Turn, head: Turn) -> bool:
    is_free = turn.state == "queued" and turn.runner is None and not turn.cancel_asked
    is_alike = (turn.agent, turn.deadline) == (head.agent, head.deadline)
    is_alike &= mailbox.user_of(turn) == mailbox.user_of(head)
    return is_free and is_alike and turn.when_busy == "merge"


def waiting_for(mailbox: "Mailbox", turn_id: str) -> list[Turn]:
    """Those that this turn is to read while it runs."""
    return [turn for turn in mailbox.unfinished() if turn.steers == turn_id and turn.state == "queued"]


def take(mailbox: "Mailbox", job: Claimed, index: int) -> tuple[tuple[int, str, str], ...]:
    """Returns the index, the turn and the text of each message that is read at this place of the journal."""
    turn = mailbox.turns.get(job.turn)
    if turn is None or not mailbox.holds_job(job) or turn.state != "running":
        raise LeaseLost
    later = sorted((at, entry) for at, entry in turn.steps.items() if at >= index)
    if not later:
        takes = [w for w in waiting_for(mailbox, turn.id) if not (w.has_begun or w.cancel_asked)]
        # A turn that asks nothing has nothing to read.
        takes = [w for w in takes if w.agent == turn.agent and w.inbox]
        takes = [w for w in takes if mailbox.user_of(w) == mailbox.user_of(turn)][:MERGE_MAX]
        lines = [Line(w.id, text) for w in takes for text in w.inbox]
        later = [(index + place, Entry("finished", job.fence, line)) for place, line in enumerate(lines)]
        turn.steps |= dict(later)
        for one in takes:
            one.state, one.merged_into, one.notified_at, one.inbox = "merged", turn.id, None, []
    read = []
    for at, entry in later:
        if entry.told is None:
            break
        read.append((at, entry.told.turn, entry.told.text))
    return tuple(read)


def hide(mailbox: "Mailbox", turn: Turn) -> None:
    """Take what a turn that was rolled back asked, was told and said out of view, now that it has ended."""
    if not turn.rolled_back:
        return
    its = {one.id for one in mailbox.turns.values() if turn.id in (one.id, one.merged_into)}
    history = mailbox.threads[turn.thread].history
    history[:] = [replace(line, rolled_back=True) if line.turn in its else line for line in history]


def calls_told(mailbox: "Mailbox", row: str) -> int:
    """How many calls of turns that were rolled back are told to the model of each later one."""
    ends = dict(mailbox.threads[row].shared)
    hidden = [turn for turn in mailbox.turns.values() if turn.rolled_back and _is_of_history(turn, row, ends)]
    if not any(turn.has_begun for turn in hidden):
        return 0
    calls = [
        entry
        for turn in hidden
        for entry in turn.steps.values()
        if entry.told is None and entry.is_call and entry.state != "waiting"
    ]
    return min(len(calls), CALLS_MAX)


def _is_of_history(turn: Turn, row: str, ends: dict[str, int]) -> bool:
    """Whether it is a row's own, or had begun before the end of what that shares."""
    is_shared = turn.thread in ends and turn.window is not None and turn.window <= ends[turn.thread]
    return turn.thread == row or is_shared
