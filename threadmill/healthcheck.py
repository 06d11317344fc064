"""`python -m threadmill.healthcheck`, and `threadmill healthcheck`: whether the workers of this machine answer.

What stays true: nothing but the standard library is imported, since a container engine asks every few seconds;
neither the database nor the broker is asked, so that no outage of theirs hides which worker hangs.
"""

import argparse
import sys
from collections.abc import Sequence

import threadmill_packages

threadmill_packages.pin()

from tasks.alive_file import AliveWorker, list_alive_workers, runtime_folder  # noqa: E402 - found by its place alone

_DESCRIPTION = """\
Exit status 0 while every worker of this user on this machine, or in this container, answers; else 1. A worker of
turns answers while its event loop does, also while the database is away; one of files or maintenance while it
consumes.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check as the command line says; return the exit status."""
    parser = argparse.ArgumentParser("python -m threadmill.healthcheck", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--pid", type=int, help="only the worker of this process")
    parser.add_argument("--id", help="only the worker of this id, as its log and the table `workers` have it")
    options = parser.parse_args(arguments)
    return check_workers(pid=options.pid, worker_id=options.id)


def check_workers(*, pid: int | None, worker_id: str | None) -> int:
    """Print in one line whether all workers that are asked about answer; return the exit status."""
    try:
        workers = list_alive_workers()
    except OSError as error:
        return _fail(f"the runtime folder cannot be read: {error}")
    workers = [worker for worker in workers if pid in (None, worker.pid) and worker_id in (None, worker.id)]
    if not workers:
        return _fail(f"no worker's process is here: {runtime_folder()} names none that lives")
    silent_workers = [worker for worker in workers if not worker.answers]
    if silent_workers:
        return _fail("; ".join(map(_describe_silence, silent_workers)))
    names = ", ".join(f"{'+'.join(worker.queues)} (process {worker.pid})" for worker in workers)
    print(f"answering: {names}")
    return 0


def _describe_silence(worker: AliveWorker) -> str:
    return (
        f"worker {worker.id} (process {worker.pid}, {'+'.join(worker.queues)}) has not answered for "
        f"{worker.silent_seconds:.0f} s: it hangs, or its broker is away"
    )


def _fail(message: str) -> int:
    print(f"threadmill: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
