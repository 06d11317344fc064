"""`threadmill up`: the embedded stack in the foreground, until Ctrl-C.

What stays true: when this returns, nothing of it runs any more; when this is killed, everything is
killed with it. Data, passwords and ports are kept in the folder for the next time.
"""

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import threadmill_packages
from threadmill.cli.interrupts import interrupt_on_signals
from threadmill.cli.output import print_text
from threadmill.cli.supervisor import Supervisor

if TYPE_CHECKING:
    from threadmill.embedded.stack import Stack

#: Seconds between two checks of the parts.
POLL_SECONDS = 0.5
#: The server behind a variable; one that the user names has none of ours.
SERVERS = {"THREADMILL_DATABASE_URL": "postgres", "THREADMILL_BROKER_URL": "valkey"}


def up(
    directory: Annotated[
        Path, typer.Option(help="Where data, passwords, ports and logs are kept.", file_okay=False)
    ] = Path(".threadmill"),
) -> None:
    """Run database, broker, workers, beat, Flower and the gateway here until Ctrl-C."""
    from store.settings import load
    from threadmill.embedded.stack import Stack

    # A wrong setting is told before a server is started for it.
    load()
    stack = Stack(directory)
    tell_others()
    try:
        with interrupt_on_signals():
            stack.start(print_text)
            try:
                print_text(describe_addresses(stack, directory))
                _stay_up(stack)
            finally:
                print_text("stopping: running turns get a moment to finish, or are handed over")
                stack.stop()
    except KeyboardInterrupt:
        print_text("stopped")


def tell_others() -> None:
    """Say which modules here are out of reach of agents: programs find modules in this folder and in PYTHONPATH."""
    path = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if others := threadmill_packages.find_others(path):
        print_text(f"note: {threadmill_packages.describe_others(others)}")


def _stay_up(stack: "Stack") -> None:
    supervisor = Supervisor(stack, print_text)
    while True:
        supervisor.check()
        stack.rotate_logs()
        time.sleep(POLL_SECONDS)


def describe_addresses(stack: "Stack", directory: Path) -> str:
    """The addresses of the parts, without servers that the user named: those hold the user's password."""
    addresses, variables = stack.addresses(), stack.variables
    own_variables = [name for name, server in SERVERS.items() if server in stack.names()]
    lines = ["", "Threadmill is up; Ctrl-C stops it.", ""]
    lines += [
        f"  database  {addresses.database_url if 'postgres' in stack.names() else 'yours'}",
        f"  broker    {addresses.broker_url if 'valkey' in stack.names() else 'yours'}",
        f"  files     {addresses.file_store}",
        f"  Flower    {addresses.flower_url}  user {addresses.flower_user}",
        f"            password {addresses.flower_password}",
        f"  chat      {addresses.gateway_url}  in a browser",
        f"            key {addresses.gateway_key}",
        f"  logs      {directory / 'logs'}",
        *(
            "",
            "Commands in this folder find it. For other folders and programs (`threadmill env` prints it again):",
            "",
        ),
    ]
    lines += [
        f"  export {name}={shlex.quote(variables[name])}" for name in [*own_variables, "THREADMILL_FILE_STORE_URL"]
    ]
    return "\n".join([*lines, ""])
