"""`threadmill threads branches`, `branch`, `choose` and the like: a thread's branches, and the choice between them."""

import re
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.message import Message
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_producer, use_store
from threadmill.cli.output import print_json, print_list, print_text, shorten, show_cell

if TYPE_CHECKING:
    from store.branches.branches import Branch

#: A message by its place; anything else is its id.
_SEQ = re.compile(r"[0-9]{1,18}")
#: Characters of a message that a comparison shows.
SHOWN_CHARS = 200
ThreadId = Annotated[str, typer.Argument(help="The thread's id.")]
BranchId = Annotated[str, typer.Argument(help="The branch's id; `main` for the thread's first one.")]

_COLUMNS: dict[str, Callable[["Branch"], object]] = {
    "BRANCH": attrgetter("id"),
    "CHOSEN": lambda branch: "yes" if branch.is_chosen else "",
    "NAME": attrgetter("name"),
    "ORIGIN": attrgetter("origin"),
    "PARENT": attrgetter("parent"),
    "SHARED_TO": attrgetter("shared_to_seq"),
    "LAST_SEQ": attrgetter("last_seq"),
    "TURNS": attrgetter("unfinished_turns"),
}


def branches(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """List the branches of a thread, the oldest first."""
    found = use_store(tenant, lambda store: store.list_branches(thread_id))
    print_list(found, _COLUMNS, empty="", as_json=as_json, to_json=_to_json)


def make(
    thread_id: ThreadId,
    at: Annotated[
        str | None, typer.Option(help="The seq or the id of the last message that it shares; the newest without it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The branch's name.")] = None,
    branch: Annotated[str | None, typer.Option(help="The branch to begin from; the chosen one without it.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a branch behind a message; it is not chosen by that."""
    place = int(at) if at is not None and _SEQ.fullmatch(at) else at
    made = use_store(tenant, lambda store: store.branch(thread_id, at=place, name=name, branch=branch))
    print_text(f"{made.id} shares {thread_id} up to message {made.shared_to_seq}")


def rename(
    thread_id: ThreadId,
    branch: BranchId,
    name: Annotated[str | None, typer.Argument(help="The new name; without it, none.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Give a branch another name, or none."""
    renamed = use_store(tenant, lambda store: store.rename_branch(thread_id, branch, name))
    print_text(f"{renamed.id} is called {show_cell(renamed.name)}" if renamed.name else f"{renamed.id} has no name")


def regenerate(
    thread_id: ThreadId,
    agent: Annotated[str | None, typer.Option(help="The agent that shall answer; the same one without it.")] = None,
    branch: Annotated[str | None, typer.Option(help="The branch; the chosen one without it.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Have the last question answered once more, on a branch that is chosen; prints the turn's id."""
    with open_producer() as producer:
        print_text(producer.branches.regenerate(thread_id, agent=agent, branch=branch, tenant=tenant).id)


def choose(thread_id: ThreadId, branch: BranchId, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Have the thread's id stand for a branch. Viewers notice within seconds."""
    chosen = use_store(tenant, lambda store: store.choose_branch(thread_id, branch))
    print_text(f"{thread_id} stands for {chosen.id}")


def compare(
    thread_id: ThreadId,
    branch: BranchId,
    other: Annotated[str, typer.Argument(help="The id of the other branch.")],
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Show the messages of two branches behind what they share."""
    comparison = use_store(tenant, lambda store: store.compare_branches(thread_id, branch, other))
    if as_json:
        sides = {"ours": comparison.ours, "theirs": comparison.theirs}
        messages = {side: [message.to_json() for message in spoken] for side, spoken in sides.items()}
        print_json({"shared_to_seq": comparison.shared_to_seq, **messages})
        return
    print_text(f"shared up to message {comparison.shared_to_seq}")
    for name, spoken in ((branch, comparison.ours), (other, comparison.theirs)):
        print_text(f"{name}:")
        for message in spoken:
            print_text(_line_of(message))


def delete(
    thread_id: ThreadId,
    branch: BranchId,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a branch; what others share of it stays for them."""
    if not yes:
        typer.confirm(f"Delete branch {show_cell(branch)} of {show_cell(thread_id)} for good?", abort=True)
    use_store(tenant, lambda store: store.delete_branch(thread_id, branch))
    print_text(f"branch {branch} of {thread_id} is deleted")


def _line_of(message: Message) -> str:
    return f"  {message.seq} {message.role}: {show_cell(shorten(message.content, SHOWN_CHARS))}"


def _to_json(branch: "Branch") -> dict[str, object]:
    names = ("id", "name", "origin", "is_chosen", "parent", "shared_to_seq", "last_seq", "unfinished_turns")
    moments = {name: getattr(branch, name).isoformat() for name in ("created_at", "updated_at")}
    return {name: getattr(branch, name) for name in names} | moments
