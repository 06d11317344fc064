"""`threadmill send`: send a message to a worker's agent, as a backend would."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.when_busy import WhenBusy
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_producer
from threadmill.cli.output import print_json, print_problem, print_text

if TYPE_CHECKING:
    from conversation.turn import TurnResult
    from producers import Turn


def send(
    thread_id: Annotated[str, typer.Argument(help="The thread's id; it is created where there is none.")],
    content: Annotated[str, typer.Argument(help="The text of the user's message.")],
    agent: Annotated[str | None, typer.Option(help="The agent that shall answer.")] = None,
    attach: Annotated[list[Path] | None, typer.Option(help="A file to attach; may be repeated.")] = None,
    user: Annotated[str | None, typer.Option(help="Who asks; a thread that is nobody's is theirs from now on.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key sends only once.")] = None,
    when_busy: Annotated[
        WhenBusy | None, typer.Option(help="What becomes of it while its thread has an unfinished turn.")
    ] = None,
    merge_window: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds that a message to be merged waits for more.")
    ] = 0,
    branch: Annotated[str | None, typer.Option(help="A branch of the thread; the chosen one without it.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer; 0 does not wait.")] = 60,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it grows, until the turn has ended.")
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Store a message, notify a worker, and print the answer.

    Exit status: 0 answered (or only sent), 1 refused or failed, 3 not answered in time.
    """
    with open_producer() as producer:
        producer.warm_up()
        turn = producer.send(
            thread_id,
            content,
            user=user,
            tenant=tenant,
            agent=agent,
            idempotency_key=idempotency_key,
            when_busy=when_busy,
            merge_window=merge_window,
            branch=branch,
            attachments=attach or [],
        )
        if stream:
            _stream_answer(turn, as_json=as_json)
        elif wait == 0:
            print_json({"turn": turn.id}) if as_json else print_text(turn.id)
        else:
            _print_answer(turn, wait, as_json=as_json)


def _print_answer(turn: "Turn", seconds: float, *, as_json: bool) -> None:
    """Print the answer, or why there is none."""
    try:
        result = turn.wait(seconds)
    except TimeoutError as error:
        print_problem(
            f"{error}; it goes on, as `threadmill turns show {turn.id}` tells; its answer will be in the thread"
        )
        raise typer.Exit(3) from None
    error_text = result.error.message if result.error is not None else None
    if as_json:
        answer = {"turn": turn.id, "state": result.state, "content": result.content, "error": error_text}
        print_json(answer | {"truncated": result.is_truncated, "omitted": result.omitted})
    elif error_text is None:
        print_text(result.content)
        _print_notes(result)
    else:
        print_problem(f"the turn {result.state}: {error_text}")
    if error_text is not None:
        raise typer.Exit(1)


def _stream_answer(turn: "Turn", *, as_json: bool) -> None:
    """Print the answer as it grows. Ctrl-C leaves the turn running."""
    from threadmill.cli.tail import EventPrinter

    printer = EventPrinter(as_json=as_json, with_questions=False)
    printer.print_all(turn.events(), f"the turn goes on; look again with: threadmill turns tail {turn.id}")
    result = turn.result
    if result is not None and not as_json:
        _print_notes(result)
    if result is None or result.error is not None:
        raise typer.Exit(1)


def _print_notes(result: "TurnResult") -> None:
    """Print what a reader of an answer has to know of it."""
    if result.is_truncated:
        print_problem("the answer was cut at the model's token limit")
    if result.omitted is not None:
        left_out, cut = len(result.omitted["messages"]), len(result.omitted["cut"])
        print_problem(f"the model takes no more: {left_out} messages were left out, {cut} were cut")
