"""Notes and gates of the agents of tests: what a test sees of them from outside, and what it lets go on.

What stays true: a note is one line in a file, with the id of its call; whatever takes long waits for a file that the
test creates.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from agent.tools.run_context import RunContext

#: Names the folder that a test and its workers share.
FOLDER_VARIABLE = "ACCEPTANCE_FOLDER"
#: Seconds after which a gate that nobody opened gives way: the test has failed by then.
GATE_SECONDS = 90.0


def folder() -> Path:
    return Path(os.environ[FOLDER_VARIABLE])


def note(what: str, context: RunContext | None = None, **more: Any) -> None:
    """Append one line, whole or not at all."""
    entry: dict[str, Any] = {"what": what, "pid": os.getpid(), **more}
    if context is not None:
        entry |= {"call": context.call_id, "turn": context.turn_id, "attempt": context.attempt}
    descriptor = os.open(folder() / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{json.dumps(entry)}\n".encode())
    os.close(descriptor)


def is_open(gate: str) -> bool:
    return (folder() / f"gate-{gate}").exists()


async def opened(gate: str) -> None:
    """Return when the test opens this gate."""
    give_up_at = time.monotonic() + GATE_SECONDS
    while not is_open(gate) and time.monotonic() < give_up_at:  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)
