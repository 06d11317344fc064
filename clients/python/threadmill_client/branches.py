"""Verbs of branches: another answer, a changed message, and the choice between what came of them.

What stays true: what was said stays, on the branch that it is on. One call makes one branch, whatever the network does.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from threadmill_client.answers import delete, read_turn, take
from threadmill_client.calls import Content, write_content, write_files
from threadmill_client.decoding import read_model, read_models
from threadmill_client.models import Branch, BranchComparison, File, Turn
from threadmill_client.wire import Plan, Request, drop_nones, idempotency, json_request, path


def regenerate(
    thread_id: str,
    *,
    agent: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    user: str | None = None,
    priority: int | None = None,
    branch: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Turn]:
    """Have the last question answered once more, on a branch of its own, which is chosen.

    The agent that answered before answers again, unless another one is named. Raises `Conflict` while a turn of the
    branch is unfinished.
    """
    values = drop_nones(agent=agent, metadata=metadata, user=user, priority=priority)
    where, headers = path("threads", thread_id, "regenerate"), idempotency(idempotency_key)
    return read_turn((yield json_request("POST", where, values, query={"branch": branch}, headers=headers)))


def edit_message(
    thread_id: str,
    message_id: str,
    content: Content,
    *,
    attachments: Iterable[File] | None = None,
    agent: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    user: str | None = None,
    priority: int | None = None,
    branch: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Turn]:
    """Send another message in the place of a user's, on a branch from before it, which is chosen.

    It has the files of the old one, unless `attachments` are passed. Raises as `regenerate`.
    """
    values = drop_nones(
        content=write_content(content),
        attachments=None if attachments is None else write_files(attachments),
        agent=agent,
        metadata=metadata,
        user=user,
        priority=priority,
    )
    where, headers = path("threads", thread_id, "messages", message_id, "edit"), idempotency(idempotency_key)
    return read_turn((yield json_request("POST", where, values, query={"branch": branch}, headers=headers)))


def list_branches(thread_id: str) -> Plan[tuple[Branch, ...]]:
    """Read the branches of a thread, the oldest first. Raises `NotFound`."""
    answer = yield Request(method="GET", path=path("threads", thread_id, "branches"))
    return read_models(Branch, take(answer, "branches"))


def make_branch(
    thread_id: str,
    *,
    at: int | str | None = None,
    name: str | None = None,
    branch: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Branch]:
    """Make a branch behind a message, by its `seq` or its id, or behind the last one; it is not chosen by this."""
    place = {"at_message" if isinstance(at, str) else "at": at}
    where, headers = path("threads", thread_id, "branches"), idempotency(idempotency_key)
    values = drop_nones(name=name, **place)
    answer = yield json_request("POST", where, values, query={"branch": branch}, headers=headers)
    return read_model(Branch, answer.json())


def rename_branch(thread_id: str, branch: str, name: str | None) -> Plan[Branch]:
    """Give a branch a name, or with None, none."""
    answer = yield json_request("PATCH", path("threads", thread_id, "branches", branch), {"name": name})
    return read_model(Branch, answer.json())


def choose_branch(thread_id: str, branch: str) -> Plan[Branch]:
    """Have the thread's id stand for a branch. Those who follow the thread get `ThreadSwitched`."""
    where = path("threads", thread_id, "branches", branch, "choose")
    answer = yield Request(method="POST", path=where, headers=idempotency())
    return read_model(Branch, answer.json())


def compare_branches(thread_id: str, ours: str, theirs: str) -> Plan[BranchComparison]:
    """Read what two branches have behind what they share: 200 messages of each at most."""
    where = path("threads", thread_id, "branches", ours, "compare")
    answer = yield Request(method="GET", path=where, query={"with": theirs})
    return read_model(BranchComparison, answer.json())


def delete_branch(thread_id: str, branch: str) -> Plan[None]:
    """Delete a branch that is not chosen; what others share of it stays. Needs the scope `operate`."""
    yield from delete(path("threads", thread_id, "branches", branch))
