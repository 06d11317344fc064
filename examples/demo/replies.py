"""The first scenes: tickets are answered, and what was said stands in the database and the file store."""

import base64
import hashlib
import json
import urllib.request
from typing import Any

from rich.table import Table

from conversation.message import Message
from conversation.turn import TurnState
from examples.demo.desk import FILES, TICKETS, WITH_FILES, shortened, thread_of
from examples.demo.stage import Stage

#: Characters of a message in the table.
SHOWN = 84
#: Seconds in which Flower hears of a task that has ended.
FLOWER_SECONDS = 10.0


def tickets_are_answered(stage: Stage) -> None:
    """A backend, in a process of its own, sends tickets and prints the replies."""
    with stage.producer(TICKETS, agent="support") as backend:
        stage.wait_for(backend)
    records = [stage.stored.turn(thread_of(stage.run, ticket)) for ticket in TICKETS]
    completed = [record for record in records if record and record.state is TurnState.COMPLETED]
    stage.check(len(completed) == len(TICKETS), f"{len(TICKETS)} turns completed")


def the_thread_is_stored(stage: Stage) -> None:
    """One conversation as it stands in the database."""
    thread = stage.stored.thread(thread_of(stage.run, WITH_FILES))
    table = Table("seq", "role", "what", title=f"thread {thread.id}", title_justify="left")
    for message in thread.messages:
        table.add_row(str(message.seq), message.role, _shown(message))
    stage.console.print(table, markup=False, highlight=False)
    seqs = [message.seq for message in thread.messages]
    stage.check(seqs == list(range(1, len(seqs) + 1)), f"{len(seqs)} messages stand once, in one order")
    stage.check(pairs_are_whole(thread.messages), "every tool call is followed by its one result")


def the_files_are_stored(stage: Stage) -> None:
    """The attachments: their rows, their blobs, and the files that were sent."""
    question = stage.stored.thread(thread_of(stage.run, WITH_FILES)).messages[0]
    stage.check(len(question.attachments) == len(FILES), f"{len(FILES)} files are attached")
    for path, file in zip(FILES, question.attachments, strict=True):
        sent, kept = path.read_bytes(), stage.stored.blob(file)
        digest = hashlib.sha256(kept).hexdigest()
        same = kept == sent and file.sha256 == digest and file.size == len(kept)
        stage.check(same, f"{file.filename}  {file.mime_type}  {file.size} bytes  sha256 {digest}")


def flower_shows_the_tasks(stage: Stage) -> None:
    """The dashboard, and that it knows what ran."""
    addresses = stage.stack.addresses()
    stage.say(f"Flower is at {addresses.flower_url}")
    stage.say(f"user {addresses.flower_user}, password {addresses.flower_password}")
    records = [stage.stored.turn(thread_of(stage.run, ticket)) for ticket in TICKETS]
    ids = {record.id for record in records if record}

    def knows_all() -> bool:
        done = [task for task in _flower_tasks(stage) if task["state"] == "SUCCESS"]
        return all(any(turn_id in str(task["kwargs"]) for task in done) for turn_id in ids)

    stage.until(knows_all, "Flower shows the tasks", seconds=FLOWER_SECONDS, part="flower")
    stage.check(knows_all(), f"its API shows the {len(ids)} tasks turns.run as SUCCESS", part="flower")


def pairs_are_whole(messages: list[Message]) -> bool:
    """Whether each assistant message with tool calls is followed by one result for each, and nothing else."""
    open_calls: list[str] = []
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                return False
            open_calls.remove(message.tool_call_id)
        elif open_calls:
            return False
        open_calls += [call.id for call in message.tool_calls]
    return not open_calls


def _shown(message: Message) -> str:
    """A message in a line."""
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    files = [f"[{file.filename}]" for file in message.attachments]
    name = [f"{message.name}:"] if message.role == "tool" else []
    return shortened(" ".join([*name, *files, message.content, *calls]), SHOWN)


def _flower_tasks(stage: Stage) -> list[dict[str, Any]]:
    """The tasks that turns were run by, as Flower's API tells them."""
    addresses = stage.stack.addresses()
    request = urllib.request.Request(f"{addresses.flower_url}api/tasks?taskname=turns.run&limit=1000")
    pair = f"{addresses.flower_user}:{addresses.flower_password}".encode()
    request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    # No proxy is asked for an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return list(json.load(answer).values())
