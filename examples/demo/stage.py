"""The stage of the demonstration: the running stack, lines for the audience, and checks."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from rich.console import Console

from agent.models.protocol import RECALL_MODEL
from conversation.errors import OperatorError
from examples.demo.stored import StoredData
from store.settings import Settings, load
from threadmill.cli.output import show_text
from threadmill.embedded.stack import Stack

#: Seconds between two polls of a condition.
POLL_SECONDS = 0.05


class DemoFailed(OperatorError):
    """A promise that was not kept. `part` is the part of the stack whose log may say why."""

    def __init__(self, message: str, part: str) -> None:
        super().__init__(message)
        self.part = part


@dataclass(kw_only=True)
class Stage:
    """The stack, the settings and the console that every scene uses."""

    stack: Stack
    model: str
    #: Begins the thread ids, so that they are new even in a database that was there before.
    run: str
    console: Console
    started_at: float = field(default_factory=time.monotonic)

    @cached_property
    def settings(self) -> Settings:
        """The settings of everything here, once the servers have their addresses."""
        variables = self.stack.environment
        return load(
            database_url=variables["THREADMILL_DATABASE_URL"],
            broker_url=variables["THREADMILL_BROKER_URL"],
            file_store_url=variables["THREADMILL_FILE_STORE_URL"],
        )

    @cached_property
    def stored_data(self) -> StoredData:
        return StoredData(self.settings)

    @property
    def is_offline(self) -> bool:
        """Replies are the same each time, and can be compared word by word."""
        return self.model == RECALL_MODEL

    def print_title(self, title: str) -> None:
        self.console.print(f"\n[bold]{title}[/bold]")

    def say(self, text: str) -> None:
        """Print a line, with the seconds since the beginning before it."""
        seconds = f"{time.monotonic() - self.started_at:5.1f} s  "
        self.console.print(seconds + show_text(text), markup=False, highlight=False, soft_wrap=True)

    def check(self, holds: object, statement: str, *, part: str = "turns") -> None:
        """Print a statement that holds. Raises `DemoFailed` where it does not."""
        if not holds:
            raise DemoFailed(f"this does not hold: {statement}", part)
        self.say(f"ok  {statement}")

    def wait_until(self, condition: Callable[[], bool], statement: str, *, seconds: float, part: str = "turns") -> None:
        """Wait until a condition holds. Raises `DemoFailed` if it takes too long."""
        give_up_at = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up_at:
                raise DemoFailed(f"{statement}: not within {seconds:g} seconds", part)
            time.sleep(POLL_SECONDS)

    @contextmanager
    def producer(self, tickets: Sequence[str], *, agent: str) -> Iterator[subprocess.Popen[str]]:
        """A backend in a process of its own; it is ended with the block."""
        command = [
            *(sys.executable, "-m", "examples.demo.producer", "--run", self.run, "--agent", agent),
            *([] if self.is_offline else ["--for-people"]),
            *tickets,
        ]
        # In a session of its own: a Ctrl-C reaches us alone, and we end it.
        backend = subprocess.Popen(
            command,
            env=os.environ | self.stack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        relay = threading.Thread(target=self._relay, args=(backend,), name="relay", daemon=True)
        relay.start()
        try:
            self.say(f"producer: process {backend.pid}")
            yield backend
        finally:
            backend.kill()
            backend.wait()
            relay.join()

    def wait_for(self, backend: subprocess.Popen[str]) -> None:
        """Wait until a backend ends by itself. Raises `DemoFailed` unless it ends well."""
        if backend.wait() != 0:
            raise DemoFailed(f"the producer ended with status {backend.returncode}", "turns")

    def _relay(self, backend: subprocess.Popen[str]) -> None:
        """Show what a backend prints, as it does."""
        assert backend.stdout is not None
        with backend.stdout:
            for line in backend.stdout:
                self.say(line.rstrip())
