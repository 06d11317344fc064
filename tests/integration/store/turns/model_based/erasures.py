"""Erasure in plain Python.

What stays true: all rows of the subject stop at once, before the first of them goes; what became free by that goes with
them. What a user said in threads of others keeps its place there, without its words.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from store.audit import hash_of
from store.erasure.sent_turns import ERASED
from tests.integration.store.turns.model_based import branch_deletion as deletion
from tests.integration.store.turns.model_based import branches
from tests.integration.store.turns.model_based.values import Decided, Line, Turn

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox

TENANT = "default"


def erase_thread(mailbox: "Mailbox", thread: str) -> None:
    """Erase a thread with its branches, and the threads in which agents answered what was asked in it."""
    firsts = [name for name, row in mailbox.threads.items() if thread in (name, *row.ancestors)]
    _erase_rows(mailbox, [name for first in firsts for name in branches.rows_of(mailbox, first)])


def erase_user(mailbox: "Mailbox", user: str) -> None:
    _erase_rows(mailbox, [name for name, row in mailbox.threads.items() if row.user == user])
    while sent := [turn for turn in mailbox.turns.values() if turn.sender == user]:
        oldest = min(sent, key=lambda turn: turn.position)
        _erase_sent(mailbox, user, [turn for turn in sent if turn.thread == oldest.thread])


def _erase_rows(mailbox: "Mailbox", names: list[str]) -> None:
    numbers = sorted({mailbox.threads[name].number for name in names})
    for number in numbers:
        _lock_out(mailbox, number)
    freed = set[int]()
    for number in reversed(numbers):
        freed |= _erase(mailbox, number)
    while freed:
        newest = max(freed)
        freed = (freed - {newest}) | _erase(mailbox, newest)


def _erase(mailbox: "Mailbox", number: int) -> set[int]:
    if not _lock_out(mailbox, number):
        return set()
    (name,) = _names(mailbox, number)
    return deletion.remove(mailbox, name, with_thread=mailbox.threads[name].root is None)


def _lock_out(mailbox: "Mailbox", number: int) -> bool:
    """End what works or waits in a row: nobody holds it any more."""
    for name in _names(mailbox, number):
        if not deletion.is_left(mailbox, name):
            deletion.end_turns(mailbox, name)
            row = mailbox.threads[name]
            row.owner, row.fence, row.is_pending = None, row.fence + 1, True
            return True
    return False


def _names(mailbox: "Mailbox", number: int) -> list[str]:
    return [name for name, row in mailbox.threads.items() if row.number == number]


def _erase_sent(mailbox: "Mailbox", user: str, sent: list[Turn]) -> None:
    """Erase what a user said in another one's thread."""
    for turn in sorted(sent, key=lambda turn: turn.position):
        if not turn.is_final:
            mailbox.cancel(turn.id)
        row = mailbox.threads[turn.thread]
        if turn.state == "running" and row.owner is not None:
            # Its worker has read the words.
            row.owner = None
            turn.interrupt()
    ids = {turn.id for turn in sent}
    history = mailbox.threads[sent[0].thread].history
    history[:] = [_without_words(line) if line.turn in ids else line for line in history]
    for turn in sent:
        turn.sender = hash_of(TENANT, user)
        turn.inbox = [ERASED for _ in turn.inbox]
        turn.calls = {name: replace(call, decided=_nameless(call.decided)) for name, call in turn.calls.items()}
        turn.events.clear()
        if turn.id in mailbox.asks:
            mailbox.asks[turn.id] = replace(mailbox.asks[turn.id], key=None)
    for turn in mailbox.turns.values():
        told = {index: step for index, step in turn.steps.items() if step.told is not None and step.told.turn in ids}
        turn.steps |= {
            index: replace(step, told=_without_words(step.told)) for index, step in told.items() if step.told
        }


def _without_words(line: Line) -> Line:
    return line if line.is_reply or line.is_gone else replace(line, text=ERASED)


def _nameless(decided: Decided | None) -> Decided | None:
    return decided and Decided(decided.kind)
