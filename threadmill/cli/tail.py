"""`threadmill threads tail` and `turns tail`: what happens in a thread or a turn, as it happens.

What stays true: Ctrl-C stops the looking and nothing else, and the command says how to go on from there. What was
said goes to standard output; how the turns go, to standard error.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.branch_address import checked_address_of
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, TurnTenant, open_database, open_producer
from threadmill.cli.output import print_json, print_note, print_text, shorten

if TYPE_CHECKING:
    from conversation.events import (
        AgentSteps,
        MessageDelta,
        MessageDone,
        ThreadEvent,
        TurnDecided,
        TurnEnded,
        TurnQueued,
        TurnWaiting,
    )

#: Exit status of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130
#: Characters of a tool's arguments and of its result that are shown.
SHOWN_CHARS = 100

After = Annotated[int, typer.Option(min=0, help="Only what comes after this event: the number of the last one seen.")]


class EventPrinter:
    """Prints the events of a thread for people, or as JSON for programs."""

    def __init__(self, *, as_json: bool = False, with_questions: bool = True) -> None:
        self._as_json = as_json
        #: Whether what users say is printed.
        self._with_questions = with_questions
        #: The number of the last event.
        self.number = 0
        #: The message of which deltas were printed, and whether they begin anew.
        self._open_id: str | None = None
        self._open_text = ""

    def print_all(self, events: "Iterable[ThreadEvent]", go_on: str) -> "ThreadEvent | None":
        """Print events as they come, and return the last one. Ctrl-C ends it, and tells the command to `go_on` with."""
        event = None
        try:
            for event in events:
                self.print_event(event)
        except KeyboardInterrupt:
            self._end_line()
            print_note(f"{go_on} --after {self.number}")
            raise typer.Exit(INTERRUPTED) from None
        return event

    def print_event(self, event: "ThreadEvent") -> None:
        """Print one event."""
        from conversation import events

        self.number = event.number or self.number
        if self._as_json:
            print_json(events.event_json(event))
            return
        match event:
            case events.MessageDelta():
                self._print_delta(event)
            case events.MessageDone():
                self._print_message(event)
            case events.MessageRestarted():
                self._end_line()
                print_note("(the model begins anew)")
            case events.ToolCallStarted(call=call):
                self._end_line()
                print_note(f"({call.name} {shorten(call.arguments, SHOWN_CHARS)})")
            case events.TurnStarted(turn_id=turn_id, agent=agent, attempt=attempt):
                self._end_line()
                print_note(f"({agent} answers, turn {turn_id}" + (f", attempt {attempt})" if attempt > 1 else ")"))
            case events.TurnQueued() | events.TurnWaiting() | events.TurnDecided() | events.AgentSteps():
                self._print_notice(event)
            case events.TurnEnded():
                self._print_end(event)
            case events.ThreadDeleted():
                self._end_line()
                print_note("(the thread was deleted)")

    def _print_notice(self, event: "TurnQueued | TurnWaiting | TurnDecided | AgentSteps") -> None:
        from conversation import events

        self._end_line()
        match event:
            case events.TurnQueued(turn_id=turn_id, position=position):
                print_note(f"(turn {turn_id} waits" + (f", {position} before it)" if position else ")"))
            case events.TurnWaiting(turn_id=turn_id, calls=calls):
                for call in calls:
                    asked = call.question or f"{call.name} {shorten(call.arguments, SHOWN_CHARS)}"
                    print_note(f"(turn {turn_id} waits for {call.kind} {call.call_id}: {asked})")
            case events.TurnDecided(call=call):
                print_note(f"({call.decided_by} decided {call.call_id})")
            case events.AgentSteps(steps=(*_, newest)):
                print_note(f"({newest.agent}: {newest.kind} {newest.name}, {newest.state})")

    def _print_delta(self, event: "MessageDelta") -> None:
        if self._open_id != event.message_id:
            self._end_line()
            self._open_id = event.message_id
        self._open_text += event.text
        print_text(event.text, end="")

    def _print_message(self, event: "MessageDone") -> None:
        message = event.message
        if message.role == "user":
            if self._with_questions:
                print_text(f"user: {message.content}")
        elif message.role == "tool":
            print_note(f"({message.name}: {shorten(message.content, SHOWN_CHARS)})")
        elif self._open_id == message.id and self._open_text == message.content:
            self._end_line()
        else:
            self._end_line()
            if message.content:
                print_text(message.content)
        if message.state != "complete":
            print_note(f"(the message is {message.state})")

    def _print_end(self, event: "TurnEnded") -> None:
        self._end_line()
        reason = f": {event.error.message}" if event.error is not None else ""
        print_note(f"(turn {event.turn_id} {event.state}{reason})")

    def _end_line(self) -> None:
        """End the line of a message of which deltas were printed."""
        if self._open_text and not self._open_text.endswith("\n"):
            print_text("")
        self._open_id, self._open_text = None, ""


def tail_turn(
    turn_id: Annotated[str, typer.Argument(help="The id of a turn.")],
    tenant: TurnTenant = None,
    after: After = 0,
    as_json: AsJson = False,
) -> None:
    """Print what happens in a turn, as it happens, until it has ended."""
    with open_producer() as producer:
        turn = producer.find_turn(turn_id, tenant=tenant)
        if turn.tenant != DEFAULT_TENANT:
            print_note(f"(turn of tenant {turn.tenant})")
        go_on = f"go on with: threadmill turns tail {turn.id}{_tenant_option(turn.tenant)}"
        EventPrinter(as_json=as_json).print_all(turn.events(after=after), go_on)


def tail_thread(
    thread_id: Annotated[str, typer.Argument(help="The thread's id.")],
    branch: Annotated[str | None, typer.Option(help="A branch of the thread; the chosen one without it.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
    after: After = 0,
    follow: Annotated[bool, typer.Option("--follow/--once", help="Wait for more, or print what is there.")] = True,
    as_json: AsJson = False,
) -> None:
    """Print what happens in a thread, as it happens, until Ctrl-C."""
    printer = EventPrinter(as_json=as_json)
    if not follow:
        for event in _read_stored(tenant, checked_address_of(thread_id, branch), after):
            printer.print_event(event)
        return
    with open_producer() as producer:
        events = producer.thread_events(thread_id, branch=branch, tenant=tenant, after=after)
        of_branch = "" if branch is None else f" --branch {branch}"
        printer.print_all(events, f"go on with: threadmill threads tail {thread_id}{of_branch}{_tenant_option(tenant)}")


def _tenant_option(tenant: str) -> str:
    return "" if tenant == DEFAULT_TENANT else f" --tenant {tenant}"


def _read_stored(tenant: str, address: str, after: int) -> "Iterable[ThreadEvent]":
    """The events that rows have, a page at a time."""
    from conversation.validation import check_tenant
    from store.turns.event_rows import read_thread_events

    of_thread = check_tenant(tenant), address
    with open_database() as (database, _):
        has_more = True
        while has_more:
            page = database.acting_for(tenant).run(read_thread_events, *of_thread, after=after)
            yield from page.events
            has_more = page.has_more and bool(page.events)
            after = page.events[-1].number or after if page.events else after
        yield from page.notices
