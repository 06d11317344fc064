"""`threadmill healthcheck`: exit status 0 while a part of this machine does its work, else 1."""

import os
import socket
import sys
import threading

import typer

from conversation.errors import OperatorError
from threadmill.cli.output import print_text

#: An answer stands after so many seconds, whatever hangs: container engines ask with a limit of their own.
ANSWER_SECONDS = 9.0
#: The database gets so long for each step of it.
DATABASE_SECONDS = 3

group = typer.Typer(no_args_is_help=True, help="Exit status 0 while a part of this machine works, else 1.")


@group.callback()
def _group() -> None:
    """Make a group of the one command."""


@group.command()
def worker() -> None:
    """Whether a worker of this host sends its heartbeat: what the leases of its turns live by."""
    _answer_in_time()

    from store.database.engine import Database
    from store.settings import load
    from store.turns import workers

    limits = {
        "db_connect_timeout_seconds": DATABASE_SECONDS,
        "db_statement_timeout_seconds": DATABASE_SECONDS,
        "db_lock_timeout_seconds": DATABASE_SECONDS,
    }
    host = socket.gethostname()
    database = Database(load().model_copy(update=limits))
    if not database.run(workers.has_live_worker, host=host):
        raise OperatorError(f"no worker on {host} sends its heartbeat")
    print_text(f"a worker on {host} sends its heartbeat")


def _answer_in_time() -> None:
    """End this process unless it ends by itself: a name that is looked up can hang beyond any limit."""
    timer = threading.Timer(ANSWER_SECONDS, _give_up)
    timer.daemon = True
    timer.start()


def _give_up() -> None:
    message = f"threadmill: the database did not answer within {ANSWER_SECONDS:g} seconds"
    print(message, file=sys.stderr, flush=True)
    os._exit(1)
