"""Turns that wait for turns of other threads, in plain Python.

What stays true: a child is there as soon as its parent waits for it; its end, whatever brings it about, decides the
parent's call, and the end of a parent that waited asks its children to stop.
"""

from typing import TYPE_CHECKING, Any

from conversation.errors import AlreadyDecided, PendingCallNotFound
from tests.integration.store.turns.model_based import waits
from tests.integration.store.turns.model_based.values import Ask, Child, Claimed, Decided, End, Thread, Turn

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox

CONTENT = "help"
#: Of the places between two operations: children come in the order of their calls.
STEP = 0.01


def after_settle(mailbox: "Mailbox", job: Claimed, end: End, position: float) -> None:
    """Do what the end of a run has others do, once it is written."""
    if end.kind == "wait":
        for number, request in enumerate(end.requests, start=1):
            if request.child is not None:
                _start(mailbox, request.child, (job.turn, request.call), position + number * STEP)
    if end.is_final:
        if job.may_have_children:
            stop(mailbox, job.turn)
        if job.parent is not None:
            tell(mailbox, mailbox.turns[job.turn], end.replies)


def _start(mailbox: "Mailbox", child: Child, parent: tuple[str, str], position: float) -> None:
    ask = Ask(
        turn=child.turn, thread=child.thread, content=CONTENT, agent=child.agent, allow_unknown=True, user=child.user
    )
    mailbox.accept(ask, position)
    mailbox.turns[child.turn].parent = parent
    asking = mailbox.threads[mailbox.turns[parent[0]].thread]
    first = asking if asking.root is None else mailbox.threads[asking.root]
    begun_by = next(name for name, row in mailbox.threads.items() if row is first)
    row = mailbox.threads[child.thread]
    row.ancestors = (*first.ancestors, begun_by)
    row.begun_in = row.ancestors[0]


def stop(mailbox: "Mailbox", parent: str) -> None:
    """Ask those to stop that a turn waited for which has ended."""
    for turn in mailbox.unfinished():
        if turn.parent is not None and turn.parent[0] == parent and not turn.cancel_asked:
            turn.cancel_asked, turn.retry_at = True, None


def tell(mailbox: "Mailbox", child: Turn, replies: tuple[str, ...] = (), *, is_published: bool = True) -> None:
    """Decide the call that waits for a turn, which has ended; the sweep publishes what nobody else does."""
    if child.parent is None:
        return
    parent = mailbox.turns.get(child.parent[0])
    try:
        decided = Decided("result", value_of(child, replies), by=f"turn {child.id}")
        waits.decide(mailbox, child.parent, decided, knows_digest=None, taken_up=Turn("", "", 0, "", 0))
    except (AlreadyDecided, PendingCallNotFound):
        return
    if not is_published and parent is not None and parent.state == "queued":
        parent.notified_at = None


def value_of(child: Turn, replies: tuple[str, ...]) -> Any:
    """What the parent is told."""
    value: dict[str, Any] = {"turn_id": child.id, "state": child.state, "content": replies[-1] if replies else ""}
    if child.error is not None:
        value["error"] = {"kind": child.error, "message": "it went wrong"}
    return value


def pictured(mailbox: "Mailbox") -> list[list[str | None]]:
    """Who waits for whom, as the tables have it."""
    found = sorted(mailbox.turns.values(), key=lambda turn: turn.id)
    rows = [(turn, mailbox.threads[turn.thread]) for turn in found]
    return [[turn.id, *turn.parent, row.begun_in, _path(row)] for turn, row in rows if turn.parent is not None]


def _path(row: Thread) -> str | None:
    return "".join(f"/{name}" for name in row.ancestors) + "/" if row.ancestors else None
