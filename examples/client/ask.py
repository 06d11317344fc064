"""Ask an agent over HTTP from a backend of your own, and print the answer as it is written.

THREADMILL_GATEWAY=http://127.0.0.1:8700 THREADMILL_KEY=tm_… python ask.py "Where is my parcel?"
"""

import os
import sys
from collections.abc import Iterator

from threadmill_client import MessageDelta, MessageDone, MessageRestarted, Problem, Threadmill, TurnEnded, TurnStarted


def connect() -> Threadmill:
    """Open one client for the whole process: it is safe to share, and keeps its connections."""
    return Threadmill(os.environ["THREADMILL_GATEWAY"], os.environ["THREADMILL_KEY"], user_agent="shop/1.0")


def ask(client: Threadmill, thread_id: str, question: str, *, order: str) -> str:
    """Send a question and wait for the answer; the same order asks once, however often this runs."""
    turn = client.send_message(thread_id, question, create=True, idempotency_key=f"order-{order}")
    turn = client.wait_for_turn(turn.id, timeout_seconds=120)
    if turn.error:
        raise RuntimeError(f"{turn.error.kind}: {turn.error.message}")
    return turn.content


def write(client: Threadmill, turn_id: str) -> Iterator[str]:
    """The answer of a turn as it grows; each text is all there is of it now."""
    text = ""
    for event in client.turn_events(turn_id):
        match event:
            case MessageDelta():
                text += event.text
            case MessageRestarted() | TurnStarted():
                text = ""
            case MessageDone() if event.message.role == "assistant":
                text = event.message.content
            case TurnEnded() if event.state != "completed":
                text += f" [{event.state}]"
        yield text


def main() -> None:
    """Ask what stands on the command line."""
    with connect() as client:
        try:
            turn = client.send_message("parcels", sys.argv[1], create=True)
        except Problem as problem:
            sys.exit(str(problem))
        shown = ""
        for text in write(client, turn.id):
            print(text.removeprefix(shown), end="", flush=True)
            shown = text
        print()


if __name__ == "__main__":
    main()
