"""`threadmill chat`: a conversation in the terminal, that can be resumed later.

The agent runs in this process, on the thread store of the settings; a message is stored before the
model is asked, so Ctrl-C in the middle of an answer loses none.
"""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, ThreadmillError
from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from threadmill.cli.common_options import DEFAULT_TENANT, Tenant, use_store
from threadmill.cli.output import print_note, print_problem, print_text

if TYPE_CHECKING:
    from store.thread_store import ThreadStore
    from threadmill.local_agent import Agent

HELP = "/attach PATH adds a file to your next message, /history shows the messages, /quit ends."
HISTORY_FILE = Path("~/.threadmill_history")


def chat(
    thread_id: Annotated[str | None, typer.Argument(help="The thread to go on with; without it, a new one.")] = None,
    agent: Annotated[str | None, typer.Option(help="An agent of THREADMILL_AGENT_MODULES.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Talk to an agent here in the terminal."""
    use_store(tenant, lambda store: _chat(store, thread_id or new_id(), agent))


async def _chat(store: "ThreadStore", thread_id: str, agent_name: str | None) -> None:

    import asyncio

    thread = await store.get_or_create_thread(thread_id)
    conversation = Conversation(_load_agent(agent_name, store), thread)
    print_note(f"thread {thread.id}, {len(thread.messages)} messages. {HELP}")
    read_line = _line_reader()
    while (line := await asyncio.to_thread(read_line)) is not None:
        if line.strip() == "/quit":
            return
        try:
            await conversation.handle_line(line.strip())
        except (ThreadmillError, OSError) as error:
            print_problem(error)


class Conversation:
    """One thread and its agent, with the files that wait for the next message."""

    def __init__(self, agent: "Agent", thread: Thread) -> None:
        self._agent = agent
        self._thread = thread
        self._files: list[Attachment] = []

    async def handle_line(self, line: str) -> None:
        """Handle one line of the user's: a message or a command."""
        if line.startswith("/attach "):
            file = await self._read_file(Path(line.removeprefix("/attach ").strip()))
            self._files.append(file)
            print_note(f"{file.filename}, {file.size} bytes, goes with your next message")
        elif line == "/history":
            for message in self._thread.messages:
                print_text(f"{message.role}: {message.content}")
        elif line.startswith("/"):
            raise InvalidInput("command", f"is {line.split(maxsplit=1)[0]!r}", HELP)
        elif line:
            files, self._files = self._files, []
            self._thread.add_message(Message(role="user", content=line, attachments=files))
            await self._answer()

    async def _read_file(self, path: Path) -> Attachment:
        import asyncio

        return await asyncio.to_thread(lambda: Attachment.from_path(path.expanduser()))

    async def _answer(self) -> None:
        from agent.events import ToolStarted, TurnFinished
        from agent.models.protocol import StreamRestarted, TextDelta

        async for event in self._agent.stream(self._thread):
            if isinstance(event, TextDelta):
                print_text(event.text, end="")
            elif isinstance(event, StreamRestarted):
                print_note("\n(the connection broke; once more)")
            elif isinstance(event, ToolStarted):
                print_note(f"({event.call.name} …)")
            elif isinstance(event, TurnFinished) and event.result.is_truncated:
                print_note("\n(cut at the model's token limit)")
        print_text("")


def _load_agent(name: str | None, store: "ThreadStore") -> "Agent":
    import agent.agent
    from agent import registry
    from threadmill.local_agent import Agent

    agents = registry.load(store.settings.agent_modules)
    name = name or store.settings.default_agent
    if name not in agents:
        raise InvalidInput("--agent", f"{name!r} is not registered", f"use one of {', '.join(sorted(agents))}")
    values = {f.name: getattr(agents[name], f.name) for f in fields(agent.agent.Agent) if f.init}
    return Agent(**values, thread_store=store)


def _line_reader() -> Callable[[], str | None]:
    """The reader of the next line, None at the end. A terminal gets editing and a history of lines."""
    if not sys.stdin.isatty():
        return lambda: sys.stdin.readline() or None

    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory

    session: PromptSession[str] = PromptSession(history=FileHistory(str(HISTORY_FILE.expanduser())))

    def read_line() -> str | None:
        try:
            return session.prompt("> ")
        except (EOFError, KeyboardInterrupt):
            return None

    return read_line
