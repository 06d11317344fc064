"""The root command: the list of commands, and the exit status of an error.

What stays true: a module of commands imports what it needs when a command runs, so that naming it here
costs nothing; commands work with the stack that runs in their folder, unless the environment names another.
"""

import io
import sys
from typing import Annotated, Any

import typer

from threadmill.cli import (
    branches,
    failures,
    files,
    healthcheck,
    inbound,
    keys,
    recurring,
    retention,
    running_stack,
    summaries,
    thread_changes,
    threads,
    turns,
    webhooks,
    workers,
)
from threadmill.cli.chat import chat
from threadmill.cli.demo import demo
from threadmill.cli.dev import dev
from threadmill.cli.docker import docker_setup, docker_start, docker_stop
from threadmill.cli.doctor import doctor
from threadmill.cli.env import env
from threadmill.cli.erasure import erase, export_user
from threadmill.cli.gateway import gateway
from threadmill.cli.logs import logs
from threadmill.cli.migrate import migrate
from threadmill.cli.new import new
from threadmill.cli.output import print_text
from threadmill.cli.schedules import schedules
from threadmill.cli.send import send
from threadmill.cli.status import status
from threadmill.cli.tail import tail_thread
from threadmill.cli.top import top
from threadmill.cli.up import up
from threadmill.cli.usage import usage

#: Commands that start servers of their own: a stack that runs already is not theirs.
OF_THEIR_OWN = frozenset({"demo", "dev", "docker-setup", "docker-start", "docker-stop", "env", "new", "up"})


class Group(typer.core.TyperGroup):
    """A group of commands. All of its own options are flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, off unless they are given: typer imports pydantic for a value that is no bool, even for None."""
        options = super().get_params(ctx)
        for option in options:
            option.default = option.default or False
        return options


# Without rich, too, which takes longer to import than help may take.
app = typer.Typer(
    name="threadmill", cls=Group, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.command()(new)
app.command()(dev)
app.command()(up)
app.command()(env)
app.command()(logs)
app.command()(demo)
app.command()(gateway)
app.command()(migrate)
# The name of other tools for the same: no page shows it.
app.command("init", hidden=True)(migrate)
app.command()(status)
app.command()(chat)
app.command()(send)
threads.group.command("tail")(tail_thread)
threads.group.command()(summaries.summarize)
threads.group.command()(summaries.summaries)
threads.group.command("restore-summary")(summaries.restore)
threads.group.command()(branches.branches)
threads.group.command("branch")(branches.make)
threads.group.command()(branches.regenerate)
threads.group.command()(branches.choose)
threads.group.command()(branches.compare)
threads.group.command("rename-branch")(branches.rename)
threads.group.command("delete-branch")(branches.delete)
threads.group.command("hand-over")(thread_changes.hand_over)
threads.group.command("when-busy")(thread_changes.when_busy)
threads.group.command()(thread_changes.fork)
threads.group.command("edit-message")(thread_changes.edit_message)
app.add_typer(threads.group, name="threads")
app.command()(threads.search)
app.add_typer(turns.group, name="turns")
app.add_typer(workers.group, name="workers")
app.command()(top)
app.command()(usage)
app.add_typer(retention.group, name="retention")
app.add_typer(files.group, name="files")
app.add_typer(keys.group, name="keys")
app.add_typer(webhooks.group, name="webhooks")
app.add_typer(inbound.group, name="inbound")
app.add_typer(recurring.group, name="recurring")
app.command()(schedules)
app.command()(erase)
app.command()(export_user)
app.command()(doctor)
app.command()(docker_setup)
app.command()(docker_start)
app.command()(docker_stop)
app.add_typer(healthcheck.group, name="healthcheck")
for registered_group in app.registered_groups:
    registered_group.cls = Group


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from threadmill import __version__

        print_text(f"threadmill {__version__}")
        raise typer.Exit


@app.callback()
def _begin(
    ctx: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Durable conversations for LLM agents."""
    if ctx.invoked_subcommand not in OF_THEIR_OWN:
        running_stack.adopt()


def run() -> None:
    """Run the command that this process was started with."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Text that users wrote is printed as far as the terminal can, rather than not at all.
            stream.reconfigure(errors="replace")
    sys.exit(failures.run(typer.main.get_command(app)))
