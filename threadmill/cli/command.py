"""The root command: the list of commands, and the exit status of an error.

What stays true: an error of ours is its own text and exit status 1; wrong usage is status 2. A
module of commands imports what it needs when a command runs, so that naming it here costs nothing.
"""

import io
import sys

import typer

from conversation.errors import ThreadmillError
from threadmill.cli import files, healthcheck, retention, summaries, threads, turns
from threadmill.cli.chat import chat
from threadmill.cli.demo import demo
from threadmill.cli.docker import docker_setup, docker_start, docker_stop
from threadmill.cli.doctor import doctor
from threadmill.cli.erasure import erase, export_user
from threadmill.cli.logs import logs
from threadmill.cli.migrate import migrate
from threadmill.cli.schedules import schedules
from threadmill.cli.send import send
from threadmill.cli.status import status
from threadmill.cli.up import up

app = typer.Typer(
    name="threadmill",
    help="Durable conversations for LLM agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(logs)
app.command()(demo)
app.command()(migrate)
# The name of other tools for the same: no page shows it.
app.command("init", hidden=True)(migrate)
app.command()(status)
app.command()(chat)
app.command()(send)
threads.group.command()(summaries.summarize)
threads.group.command()(summaries.summaries)
threads.group.command("restore-summary")(summaries.restore)
app.add_typer(threads.group, name="threads")
app.command()(threads.search)
app.add_typer(turns.group, name="turns")
app.add_typer(retention.group, name="retention")
app.add_typer(files.group, name="files")
app.command()(schedules)
app.command()(erase)
app.command()(export_user)
app.command()(doctor)
app.command()(docker_setup)
app.command()(docker_start)
app.command()(docker_stop)
app.add_typer(healthcheck.group, name="healthcheck")


def main() -> None:
    """Run the command that this process was started with."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Text that users wrote is printed as far as the terminal can, rather than not at all.
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="threadmill")
    except ThreadmillError as error:
        print(f"threadmill: {error}", file=sys.stderr)
        sys.exit(1)
