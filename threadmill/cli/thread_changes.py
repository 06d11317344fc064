"""`threadmill threads hand-over`, `when-busy`, `fork`, `edit-message`: who answers, the policy, and another way on."""

from typing import Annotated, Any

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, Tenant, open_database, open_producer, use_store
from threadmill.cli.output import print_text, show_cell

ThreadId = Annotated[str, typer.Argument(help="The thread's id.")]


def hand_over(
    thread_id: ThreadId,
    agent: Annotated[str | None, typer.Argument(help="Who answers from now on; without it, the default agent.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Hand a thread over to an agent: it answers what is sent from now on. Turns that are queued keep their own."""
    _edit(tenant, thread_id, assigned_agent=agent)
    print_text(f"{show_cell(thread_id)} is answered by {show_cell(agent) if agent else 'the default agent'}")


def when_busy(
    thread_id: ThreadId,
    policy: Annotated[
        str | None, typer.Argument(help="enqueue, reject, interrupt, rollback, merge, steer; without it, the agent's.")
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Set what becomes of messages that say nothing else while the thread has an unfinished turn."""
    _edit(tenant, thread_id, when_busy=policy)
    print_text(f"{show_cell(thread_id)}: {policy or 'as its agent says'}")


def fork(
    thread_id: ThreadId,
    at: Annotated[
        int | None, typer.Option(help="The seq of the last message that it has; the newest without it.")
    ] = None,
    new_id: Annotated[str | None, typer.Option("--id", help="The new thread's id; made without it.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a thread that begins as another one; prints its id."""
    print_text(use_store(tenant, lambda store: store.fork(thread_id, at=at, new_thread_id=new_id)).id)


def edit_message(
    thread_id: ThreadId,
    message_id: Annotated[str, typer.Argument(help="The id of a user's message, as `threads show --json` has it.")],
    content: Annotated[str, typer.Argument(help="The text in its place.")],
    agent: Annotated[str | None, typer.Option(help="The agent that shall answer; the same one without it.")] = None,
    branch: Annotated[str | None, typer.Option(help="The branch; the chosen one without it.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Ask something else in the place of a message, on a branch that is chosen; prints the turn's id."""
    options: dict[str, Any] = {"agent": agent, "branch": branch, "tenant": tenant}
    with open_producer() as producer:
        print_text(producer.branches.edit_message(thread_id, message_id, content, **options).id)


def _edit(tenant: str, thread_id: str, **changes: Any) -> None:
    from store.threads.editing import edit_thread
    from store.threads.visible_threads import Viewer

    with open_database() as (database, _):
        database.acting_for(tenant).run(edit_thread, Viewer(tenant), thread_id, **changes)
