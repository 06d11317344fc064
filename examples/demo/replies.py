"""The first scenes: tickets are answered, and their messages and files are stored."""

import base64
import hashlib
import json
import urllib.request
from typing import Any

from rich.table import Table

from conversation.message import Message
from conversation.turn import TurnState
from examples.demo.desk import FILES, TICKET_WITH_FILES, TICKETS, shorten, thread_id_of
from examples.demo.stage import Stage
from threadmill.cli.output import show_cell

#: Characters of a message in the table.
LINE_CHARS = 84
#: Seconds in which Flower hears of a task that has ended.
FLOWER_SECONDS = 10.0


def check_tickets_answered(stage: Stage) -> None:
    """A backend, in a process of its own, sends tickets and prints the replies."""
    with stage.producer(TICKETS, agent="support") as backend:
        stage.wait_for(backend)
    records = [stage.stored_data.load_turn(thread_id_of(stage.run, ticket)) for ticket in TICKETS]
    completed_records = [record for record in records if record and record.state is TurnState.COMPLETED]
    stage.check(len(completed_records) == len(TICKETS), f"{len(TICKETS)} turns completed")


def check_thread_stored(stage: Stage) -> None:
    """One conversation as it stands in the database."""
    thread = stage.stored_data.load_thread(thread_id_of(stage.run, TICKET_WITH_FILES))
    table = Table("seq", "role", "what", title=f"thread {thread.id}", title_justify="left")
    for message in thread.messages:
        table.add_row(str(message.seq), message.role, show_cell(_describe(message)))
    stage.console.print(table, markup=False, highlight=False)
    seqs = [message.seq for message in thread.messages]
    stage.check(seqs == list(range(1, len(seqs) + 1)), f"{len(seqs)} messages stand once, in one order")
    stage.check(has_whole_pairs(thread.messages), "every tool call is followed by its one result")


def check_files_stored(stage: Stage) -> None:
    """The attachments: their rows, their blobs, and the files that were sent."""
    question = stage.stored_data.load_thread(thread_id_of(stage.run, TICKET_WITH_FILES)).messages[0]
    stage.check(len(question.attachments) == len(FILES), f"{len(FILES)} files are attached")
    for path, file in zip(FILES, question.attachments, strict=True):
        sent_bytes, stored_bytes = path.read_bytes(), stage.stored_data.read_blob(file)
        digest = hashlib.sha256(stored_bytes).hexdigest()
        is_same = stored_bytes == sent_bytes and file.sha256 == digest and file.size == len(stored_bytes)
        stage.check(is_same, f"{file.filename}  {file.media_type}  {file.size} bytes  sha256 {digest}")


def check_flower_shows_tasks(stage: Stage) -> None:
    """The dashboard, and that it knows what ran."""
    addresses = stage.stack.addresses()
    stage.say(f"Flower is at {addresses.flower_url}")
    stage.say(f"user {addresses.flower_user}, password {addresses.flower_password}")
    records = [stage.stored_data.load_turn(thread_id_of(stage.run, ticket)) for ticket in TICKETS]
    ids = {record.id for record in records if record}

    def has_all_tasks() -> bool:
        finished_tasks = [task for task in _flower_tasks(stage) if task["state"] == "SUCCESS"]
        return all(any(turn_id in str(task["kwargs"]) for task in finished_tasks) for turn_id in ids)

    stage.wait_until(has_all_tasks, "Flower shows the tasks", seconds=FLOWER_SECONDS, part="flower")
    stage.check(has_all_tasks(), f"its API shows the {len(ids)} tasks turns.run as SUCCESS", part="flower")


def has_whole_pairs(messages: list[Message]) -> bool:
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


def _describe(message: Message) -> str:
    """A message in a line."""
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    files = [f"[{file.filename}]" for file in message.attachments]
    name = [f"{message.name}:"] if message.role == "tool" else []
    return shorten(" ".join([*name, *files, message.content, *calls]), LINE_CHARS)


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
