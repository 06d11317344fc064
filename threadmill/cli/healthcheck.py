"""`threadmill healthcheck`: exit status 0 while the workers of this machine answer, else 1.

What stays true: it is `python -m threadmill.healthcheck`, which container engines ask, and imports nothing more.
"""

from typing import Annotated

import typer

from threadmill.healthcheck import check_workers

group = typer.Typer(no_args_is_help=True, help="Exit status 0 while the workers of this machine answer, else 1.")


@group.callback()
def _group() -> None:
    """Make a group of the one command."""


@group.command()
def worker(
    pid: Annotated[int | None, typer.Option(help="Only the worker of this process.")] = None,
    worker_id: Annotated[str | None, typer.Option("--id", help="Only the worker of this id.")] = None,
) -> None:
    """Whether every worker of this user, on this machine or in this container, answers."""
    raise typer.Exit(check_workers(pid=pid, worker_id=worker_id))
