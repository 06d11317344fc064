"""`threadmill threads …` and `threadmill search`: list and show what is stored, move it, delete it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from conversation.errors import InvalidInput, ThreadNotFound
from conversation.message import Message
from conversation.thread import Thread
from threadmill.cli.atomic_file import write_atomically
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, use_store
from threadmill.cli.output import print_json, print_json_line, print_list, print_note, print_text, shorten, show_cell
from threadmill.cli.turn_words import advise, describe

if TYPE_CHECKING:
    from store.thread_store import ThreadStore
    from store.threads.branch_imports import ImportOutcome
    from store.threads.listing import Order
    from store.threads.search import Hit
    from store.turns.unanswered_turns import UnansweredTurn

group = typer.Typer(help="List and show threads; export, import, summarize and delete them.", no_args_is_help=True)

#: Characters of a message that a listing shows.
SHOWN_CHARS = 200
ThreadId = Annotated[str, typer.Argument(help="The thread's id.")]


class Sort(StrEnum):
    """The order of a listing, as its option says it."""

    USED = "used"
    CREATED = "created"


#: The orders as the store names them.
_ORDERS: dict[Sort, "Order"] = {Sort.USED: "updated", Sort.CREATED: "created"}


@group.command("list")
def list_threads(
    tenant: Tenant = DEFAULT_TENANT,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Threads of one page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next_cursor of the page before.")] = None,
    user: Annotated[str | None, typer.Option(help="The user whose threads they are.")] = None,
    title: Annotated[str | None, typer.Option(help="Part of the title.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="KEY=VALUE that the metadata must have.")] = None,
    sort: Annotated[
        Sort, typer.Option(help="By their last use; or by when they were made, in which no page misses one.")
    ] = Sort.USED,
    as_json: AsJson = False,
) -> None:
    """List threads, the one that was used last first."""
    filters = {"title": title, "user": user, "metadata": _pairs(metadata or [])}
    order = _ORDERS[sort]
    page = use_store(tenant, lambda store: store.list_threads(limit=limit, cursor=cursor, order=order, **filters))
    columns = {"UPDATED": "updated_at", "THREAD": "id", "TITLE": "title"}
    print_list(
        page,
        {header: attrgetter(name) for header, name in columns.items()},
        empty="no threads match",
        as_json=as_json,
        # The last thread of a page says where the next one begins.
        to_json=lambda thread: _thread_to_json(thread, page.next_cursor if thread is page[-1] else None),
    )
    if page.next_cursor and not as_json:
        print_note(f"more: {'' if sort is Sort.USED else f'--sort {sort} '}--cursor {page.next_cursor}")


@group.command()
def show(
    thread_id: ThreadId,
    branch: Annotated[str | None, typer.Option(help="A branch of it; the chosen one without it.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    last: Annotated[int | None, typer.Option(min=1, help="Only the newest messages.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a thread's messages, and which of its turns wait, run or failed."""
    from store.turns.unanswered_turns import list_unanswered
    from threadmill.cli import turn_listing

    async def read(store: "ThreadStore") -> "tuple[Thread, list[UnansweredTurn]]":
        if branch is None:
            thread = await store.get_thread(thread_id, last=last)
        else:
            thread = await store.get_branch(thread_id, branch, last=last)
        limit = store.settings.tenant_max_running_turns.count
        return thread, await store.database.run_async(list_unanswered, tenant, thread_id, tenant_max_running=limit)

    thread, unanswered = use_store(tenant, read)
    if as_json:
        print_json(thread.to_json() | {"turns": [turn_listing.to_json(each.turn) for each in unanswered]})
        return
    print_text(f"{thread.id}  {show_cell(thread.title)}" if thread.title else thread.id)
    columns: dict[str, Callable[[Message], object]] = {
        "SEQ": lambda message: message.seq,
        "ROLE": lambda message: message.role,
    }
    print_list(thread.messages, {**columns, "MESSAGE": _message_line}, empty="no messages are stored", as_json=False)
    for each in unanswered:
        record, advice = each.turn.record, advise(each.turn.record, each.wait)
        print_text(f"turn {record.id} {describe(record, each.wait)}" + (f"; to do: {advice}" if advice else ""))


@group.command("export")
def export_thread(
    thread_id: ThreadId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; without it, standard output.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Write a thread as JSON Lines: messages, attachments by hash, summaries, turns."""

    async def work(store: "ThreadStore") -> None:
        lines = store.export_thread(thread_id)
        if output is None:
            async for line in lines:
                print_json_line(line)
        else:
            await _write(lines, output)

    use_store(tenant, work)


@group.command("import")
def import_thread(
    source: Annotated[
        Path | None, typer.Argument(help="A file that `export` wrote.", exists=True, dir_okay=False)
    ] = None,
    archive: Annotated[
        str | None, typer.Option(help="Instead of a file: the id of a thread that retention archived.")
    ] = None,
    nth: Annotated[
        int | None,
        typer.Option(min=1, help="With --archive: the number in `threads archives`, in place of the newest."),
    ] = None,
    as_id: Annotated[str | None, typer.Option("--as", help="Store it under this id.")] = None,
    user: Annotated[
        str | None, typer.Option(help="The user who made the file: it becomes theirs, without system texts.")
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Read a thread back, with the same ids, into a store that does not have it."""
    if (source is None) == (archive is None):
        raise InvalidInput("SOURCE", "and --archive are both given, or neither", "name one of them")
    if nth is not None and archive is None:
        raise InvalidInput("--nth", "is given without --archive", "name the thread that was archived")
    if user is not None and archive is not None:
        raise InvalidInput("--user", "is given with --archive", "an archive is this installation's own")

    async def work(store: "ThreadStore") -> "ImportOutcome":
        if archive is not None:
            return await store.restore_archive(archive, as_id=as_id, nth=nth)
        assert source is not None
        with _open_with_progress(source) as lines:
            return await store.import_thread(lines, thread_id=as_id, user=user)

    import_result = use_store(tenant, work)
    if as_json:
        print_json(import_result.to_json())
        return
    print_text(f"{import_result.thread_id}: {import_result.messages} messages")
    for sha256 in import_result.missing_blobs:
        print_note(f"not in the file store: {sha256}")


@group.command("archives")
def list_archives(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """List what retention archived under an id, the oldest thread first."""
    archives = use_store(tenant, lambda store: store.list_archives(thread_id))
    columns = {name.upper(): attrgetter(name) for name in ("number", "first_at", "last_at", "messages")}
    print_list(archives, columns, empty=f"nothing is archived of {thread_id}", as_json=as_json)


@group.command()
def delete(
    thread_id: ThreadId,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a thread with its messages and turns, for good."""
    if not yes:
        typer.confirm(f"Delete {show_cell(thread_id)} for good?", abort=True)
    if not use_store(tenant, lambda store: store.delete_thread(thread_id)):
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    print_text(f"{thread_id} is deleted")


def search(
    query: Annotated[str, typer.Argument(help='Words; "a phrase", or, -not as in a web search.')],
    tenant: Tenant = DEFAULT_TENANT,
    user: Annotated[str | None, typer.Option(help="In the threads of this user only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Hits, at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find messages by their words, best first."""
    columns = {"THREAD": "thread_id", "SEQ": "seq", "ROLE": "role", "MESSAGE": "highlight"}
    print_list(
        use_store(tenant, lambda store: store.search_messages(query, user=user, limit=limit)),
        {header: attrgetter(name) for header, name in columns.items()},
        empty="no messages match",
        as_json=as_json,
        to_json=_hit_to_json,
    )


def _open_with_progress(source: Path) -> AbstractContextManager[IO[str]]:
    from rich.console import Console
    from rich.progress import open as open_with_progress

    return open_with_progress(source, "r", encoding="utf-8", console=Console(stderr=True), transient=True)


async def _write(lines: AsyncIterator[str], output: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress, write_atomically(output) as file:
        task = progress.add_task(f"writing {escape(show_cell(output.name))}", total=None)
        async for line in lines:
            file.write(f"{line}\n".encode())
            progress.advance(task)


def _pairs(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidInput("--metadata", f"is {pair!r}", "write KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _thread_to_json(thread: Thread, next_cursor: str | None) -> dict[str, Any]:
    return {
        "id": thread.id,
        "user": thread.user,
        "title": thread.title,
        "metadata": thread.metadata,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "next_cursor": next_cursor,
    }


def _hit_to_json(hit: "Hit") -> dict[str, Any]:
    names = ("seq", "role", "rank", "highlight")
    return {"thread": hit.thread_id, "message": hit.message_id, **{name: getattr(hit, name) for name in names}}


def _message_line(message: Message) -> str:
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    files = [f"[{file.filename}]" for file in message.attachments]
    marks = [] if message.state == "complete" else [f"[{message.state}]"]
    return shorten(" ".join((*files, *marks, message.content, *calls)), SHOWN_CHARS)
