"""`threadmill logs`: what the programs of the embedded stack logged, and log from now on."""

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.errors import InvalidInput, OperatorError
from threadmill.cli.common_options import AsJson
from threadmill.cli.output import print_json, print_text

if TYPE_CHECKING:
    from threadmill.embedded.log_reader import LogLine


def logs(
    turn: Annotated[str | None, typer.Option(help="Lines that name this turn.")] = None,
    level: Annotated[str | None, typer.Option(help="Lines of this level, or of a graver one: warning, error.")] = None,
    service: Annotated[
        list[str] | None, typer.Option(help="Lines of this program: turns, files, beat, …, or postgres, valkey.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="The last lines of those, at most.")] = 1000,
    directory: Annotated[Path, typer.Option(help="The folder of `threadmill up`.", file_okay=False)] = Path(
        ".threadmill"
    ),
    as_json: AsJson = False,
) -> None:
    """Show what the programs of `threadmill up` logged, in the order of time."""
    from threadmill.embedded import log_reader

    if level is not None and level.lower() not in log_reader.LEVELS:
        raise InvalidInput("--level", f"is {level!r}", f"use one of {', '.join(log_reader.LEVELS)}")
    chosen_services = service or []
    found_logs = log_reader.find_logs(directory, chosen_services)
    missing = set(chosen_services).difference(found_logs)
    if missing or not found_logs:
        raise OperatorError(_no_logs(directory, missing, log_reader.find_logs(directory)))
    is_wanted = log_reader.choose(turn=turn, level=level.lower() if level else None)
    # Before what is there is read: what comes meanwhile is for it.
    follower = log_reader.Follower(lambda: log_reader.find_logs(directory, chosen_services))
    ends = follower.positions() if follow else {}
    for line in deque(filter(is_wanted, log_reader.read_lines(found_logs, ends)), maxlen=lines):
        _print(line, as_json=as_json)
    try:
        for line in filter(is_wanted, follower.follow() if follow else ()):
            _print(line, as_json=as_json)
    except KeyboardInterrupt:
        return


def _print(line: "LogLine", *, as_json: bool) -> None:
    if as_json:
        print_json(line.to_json())
    else:
        print_text(f"{line.service:<11} {line.text()}")


def _no_logs(directory: Path, missing: set[str], found_logs: dict[str, Path]) -> str:
    if not found_logs:
        return f"no logs in {directory / 'logs'}: start `threadmill up` there first, or name its folder by --directory"
    return f"no log of {', '.join(sorted(missing))} in {directory}: there are {', '.join(found_logs)}"
