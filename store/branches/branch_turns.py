"""Turns on branches that are made for them: the last answer once more, or the answer to a changed message.

What stays true: the branch, its turn and the switch to it are one transaction; what was said before stays, on the
branch that was chosen until then. Twice with one idempotency key is one branch.
"""

import hashlib
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from conversation.branch_address import BRANCH_ID_CHARS, address_of, new_branch_id
from conversation.errors import InvalidInput, MessageNotFound
from store.branches.branches import check_idle, choose_row, insert_branch, lock_first, seq_of
from store.database.statements import AnyRow
from store.files.attachments import load_attachments
from store.history.visibility import cutoff_of
from store.lineage import Lineage, select_range
from store.tables import messages, threads, turns
from store.threads.branching import check_share
from store.threads.visible_threads import Viewer, lock_visible_thread
from store.turns import inbox
from store.turns.send_request import AcceptedTurn, SendLimits, SendRequest


@dataclass(frozen=True, slots=True)
class BranchTurn:
    """The turn on a new branch, and what was chosen before it."""

    accepted: AcceptedTurn
    #: The id of the row that was chosen before; None where the same request had made the branch already.
    before: str | None


@dataclass(frozen=True, slots=True)
class _Question:
    """The place behind which the new branch begins, and whom its turn is for."""

    at: int
    agent: str | None = None
    sender: str | None = None


def branch_id_for(request: SendRequest) -> str:
    """The id of the branch that a request makes: the same each time, where it has an idempotency key."""
    if request.idempotency_key is None:
        return new_branch_id()
    text = "\0".join((request.tenant, request.thread_id, request.idempotency_key))
    return hashlib.sha256(text.encode()).hexdigest()[:BRANCH_ID_CHARS]


def regenerate(
    connection: Connection,
    viewer: Viewer,
    request: SendRequest,
    limits: SendLimits,
    *,
    branch_id: str,
    keeps_agent: bool = True,
) -> BranchTurn:
    """Have the last question of a thread answered once more, on a new branch, which is chosen.

    With `keeps_agent`, by the agent that answered it. Raises `ThreadNotFound`, `BranchInUse`, `MessageNotFound` where
    nothing was asked yet, `LimitReached`, and as `inbox.accept`.
    """
    first = lock_first(connection, viewer, request.thread_id)
    source = lock_visible_thread(connection, viewer, request.thread_id)
    if (earlier := _find_earlier(connection, first, request, limits, branch_id)) is not None:
        return earlier
    check_idle(connection, source)
    question = _find_question(connection, source)
    agent = question.agent if keeps_agent and question.agent else request.agent
    request = replace(request, agent=agent, user=request.user or question.sender)
    share = check_share(connection, source, question.at)
    insert_branch(connection, first, source, branch_id, share, origin="regenerate")
    return _accept_and_choose(connection, first, request, limits, branch_id)


def edit_message(
    connection: Connection,
    viewer: Viewer,
    request: SendRequest,
    limits: SendLimits,
    message_id: str,
    *,
    branch_id: str,
    keeps_files: bool = True,
) -> BranchTurn:
    """Send another message in the place of a user's, on a new branch, which is chosen.

    With `keeps_files`, the old message's files are the new one's. Raises as `regenerate`, `MessageNotFound` for a
    message that is not there, and `InvalidInput` for one that is not a user's.
    """
    first = lock_first(connection, viewer, request.thread_id)
    source = lock_visible_thread(connection, viewer, request.thread_id)
    if (earlier := _find_earlier(connection, first, request, limits, branch_id)) is not None:
        return earlier
    check_idle(connection, source)
    lineage, seq = Lineage.of(source), seq_of(connection, source, message_id)
    is_message = (messages.c.thread_key == lineage.key_at(seq)) & (messages.c.seq == seq)
    old = connection.execute(select(messages.c.role, messages.c.has_attachments).where(is_message)).one()
    if old.role != "user":
        raise InvalidInput("message_id", f"is a message of role {old.role!r}", "pass the id of a user's message")
    if keeps_files and old.has_attachments and request.message is not None:
        files = load_attachments(connection, {lineage.key_at(seq): [message_id]})
        request = replace(request, message=replace(request.message, attachments=files.get(message_id, [])))
    insert_branch(connection, first, source, branch_id, check_share(connection, source, seq - 1), origin="edit")
    return _accept_and_choose(connection, first, request, limits, branch_id)


def _find_earlier(
    connection: Connection, first: AnyRow, request: SendRequest, limits: SendLimits, branch_id: str
) -> BranchTurn | None:
    """The turn that the same request led to before: the branch that it made is there."""
    address = address_of(first.id, branch_id)
    is_branch = (threads.c.tenant == request.tenant) & (threads.c.id == address)
    row = connection.execute(select(threads.c.key).where(is_branch)).one_or_none()
    if row is None:
        return None
    # Others may have been sent to it since.
    is_same = (turns.c.thread_key == row.key) & (turns.c.idempotency_key == request.idempotency_key)
    turn = connection.execute(select(turns.c.agent, turns.c.sender).where(is_same)).one_or_none()
    if turn is not None:
        request = replace(request, agent=turn.agent, user=request.user or turn.sender)
    return BranchTurn(inbox.accept(connection, replace(request, thread_id=address), limits), None)


def _find_question(connection: Connection, source: AnyRow) -> _Question:
    """The end of a history's newest question: where its newest turn began to answer, else its last user's message."""
    lineage = Lineage.of(source)
    names = ("seq", "role", "turn_id")
    in_view = [messages.c.seq > cutoff_of(source.key), messages.c.rolled_back.is_(False)]
    newest = select_range(lineage, [messages.c[name] for name in names], where=in_view, newest_first=True, limit=1)
    row = connection.execute(newest).one_or_none()
    if row is not None and row.turn_id is not None:
        of_turn = (turns.c.id == row.turn_id) & turns.c.thread_key.in_(lineage.keys)
        columns = (turns.c.window_to_seq, turns.c.agent, turns.c.sender)
        turn = connection.execute(select(*columns).where(of_turn)).one_or_none()
        if turn is not None and turn.window_to_seq and turn.window_to_seq <= row.seq:
            before = [*in_view, messages.c.seq <= turn.window_to_seq]
            in_range = select_range(
                lineage, [messages.c.seq, messages.c.role], where=before, newest_first=True, limit=1
            )
            asked = connection.execute(in_range).one_or_none()
            # One that only took up a call asks nothing: the question is an earlier turn's.
            if asked is not None and asked.role in ("user", "system"):
                return _Question(turn.window_to_seq, turn.agent, turn.sender)
    of_user = [*in_view, messages.c.role == "user"]
    last = select_range(lineage, [messages.c.seq], where=of_user, newest_first=True, limit=1)
    seq = connection.execute(last).scalar_one_or_none()
    if seq is None:
        raise MessageNotFound(f"thread_id: nothing was asked in thread {source.id!r} yet")
    return _Question(int(seq), source.agent)


def _accept_and_choose(
    connection: Connection, first: AnyRow, request: SendRequest, limits: SendLimits, branch_id: str
) -> BranchTurn:
    """Accept the turn on the new branch, and choose that. No worker has it before the commit."""
    address = address_of(first.id, branch_id)
    accepted = inbox.accept(connection, replace(request, thread_id=address), limits)
    target = connection.execute(select(threads).where(threads.c.key == accepted.thread_key)).one()
    return BranchTurn(accepted, choose_row(connection, first, target))
