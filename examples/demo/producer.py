"""A backend of its own process: it sends tickets, and prints every reply as it comes.

    python -m examples.demo.producer --run ID [--agent NAME] [--for-people] TICKET ...

It needs THREADMILL_DATABASE_URL, THREADMILL_BROKER_URL and THREADMILL_FILE_STORE_URL, and imports neither
the agent nor the worker. It ends with status 1 if a turn did not complete.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from conversation.events import MessageDone, ToolCallStarted, TurnStarted
from conversation.turn import TurnResult, TurnState
from examples.demo.desk import files_of, shorten, thread_id_of
from examples.support.tickets import Ticket, load_tickets, prompt
from producers import Turn, default_producer, send_message

#: Seconds for one turn: a real model thinks, and a killed worker's lease has to lapse.
TURN_SECONDS = 180
#: Characters of a line that is shown.
LINE_CHARS = 96


def main() -> int:
    """Send the tickets, each in a thread of its own."""
    options = _parse_options()
    tickets_by_name = {ticket.ticket: ticket for ticket in load_tickets()}
    tickets = [tickets_by_name[name] for name in options.tickets]
    started_turns = {}
    for ticket in tickets:
        turn = send(ticket, run=options.run, agent=options.agent, for_people=options.for_people)
        started_turns[turn] = (ticket, time.monotonic())
        _say(f"-> {ticket.ticket}  {shorten(ticket.message, LINE_CHARS)}")
    completed_count = 0
    with ThreadPoolExecutor(len(started_turns)) as pool:
        futures = {pool.submit(follow, turn, ticket): turn for turn, (ticket, _) in started_turns.items()}
        try:
            for future in as_completed(futures, TURN_SECONDS):
                ticket, sent_at = started_turns[futures[future]]
                _show(ticket, future.result(), time.monotonic() - sent_at)
                completed_count += future.result().state is TurnState.COMPLETED
        finally:
            # Whoever follows still comes to an end.
            default_producer().close()
    return 0 if completed_count == len(tickets) else 1


def follow(turn: Turn, ticket: Ticket) -> TurnResult:
    """Print what a turn does as it does it, until it has ended; its result."""
    for event in turn.events():
        match event:
            case TurnStarted(attempt=attempt) if attempt > 1:
                _say(f".. {ticket.ticket}  another worker goes on, attempt {attempt}")
            case ToolCallStarted(call=call):
                _say(f".. {ticket.ticket}  {shorten(f'{call.name} {call.arguments}', LINE_CHARS)}")
            case MessageDone(message=message) if message.role == "assistant" and message.tool_calls and message.content:
                _say(f".. {ticket.ticket}  {shorten(message.content, LINE_CHARS)}")
    result = turn.result
    assert result is not None
    return result


def send(ticket: Ticket, *, run: str, agent: str, for_people: bool) -> Turn:
    """Send a ticket as a backend does: one call, and the message is stored."""
    text = f"{ticket.message}\n\n{ticket.context}"
    return send_message(
        thread_id_of(run, ticket.ticket),
        text if for_people else prompt(ticket),
        agent=agent,
        attachments=files_of(ticket),
    )


def _show(ticket: Ticket, result: TurnResult, seconds: float) -> None:
    _say(f"<- {ticket.ticket}  {result.state} after {seconds:.1f} s")
    if result.error is not None:
        _say(f"   {result.error.kind}: {result.error.message}")
    lines = result.content.splitlines()
    # The offline model quotes its way to the end: what its last tool said.
    for line in lines if len(lines) <= 3 else lines[-1:]:
        _say(f"   {shorten(line, LINE_CHARS)}")


def _say(text: str) -> None:
    # In one piece: several turns speak at once.
    print(f"{text}\n", end="", flush=True)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send tickets to the support agent.")
    parser.add_argument("--run", required=True, help="begins the thread ids, so that each run has its own")
    parser.add_argument("--agent", default="support")
    parser.add_argument("--for-people", action="store_true", help="leave out the calls for offline/recall")
    parser.add_argument("tickets", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
