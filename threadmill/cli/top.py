"""`threadmill top`: what goes on, again and again: turns at work and in queues, failures, models, workers."""

import io
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout, suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from threadmill.cli.common_options import AsJson, open_database
from threadmill.cli.moments import read_length, show_dollars, show_seconds
from threadmill.cli.output import print_json, print_list, print_text, shorten
from threadmill.cli.turn_listing import AnyTenant, columns_of, to_json

if TYPE_CHECKING:
    from store.turns.overview import Overview

T = TypeVar("T")

#: To the upper left corner, and empty from there on.
CLEAR = "\x1b[H\x1b[J"
#: Characters of an error.
ERROR_CHARS = 80


def top(
    tenant: AnyTenant = None,
    last: Annotated[str, typer.Option(metavar="LENGTH", help="Turns that ended in this time: 5m, 1h.")] = "5m",
    every: Annotated[str, typer.Option(metavar="LENGTH", help="How often to look again.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show turns that run and wait, what ended lately and how, models and workers; Ctrl-C ends it.

    Looks once where the output is no terminal, and with --json.
    """
    from store.turns.overview import read_overview

    length, pause = read_length("--last", last), read_length("--every", every)
    assert length is not None
    assert pause is not None
    minutes = max(length.total_seconds(), 1) / 60
    looks_once = once or as_json or not sys.stdout.isatty()
    with open_database() as (database, _), suppress(KeyboardInterrupt):
        while True:
            overview = database.run(read_overview, minutes=minutes, tenant=tenant)
            if as_json:
                print_json(_to_json(overview))
            elif looks_once:
                _print(overview)
            else:
                _repaint(overview)
            if looks_once:
                return
            time.sleep(max(pause.total_seconds(), 0.5))


def _repaint(overview: "Overview") -> None:
    """Print it over the one before, in one piece."""
    page = io.StringIO()
    with redirect_stdout(page):
        _print(overview)
    sys.stdout.write(CLEAR + page.getvalue())
    sys.stdout.flush()


def _print(overview: "Overview") -> None:
    living = [worker for worker in overview.workers if worker.state != "dead" and worker.agents]
    draining = sum(worker.state == "draining" for worker in living)
    ended = sum(each.completed + each.failed + each.cancelled for each in overview.ended)
    length = show_seconds(60 * overview.minutes)
    words = [
        f"{overview.at:%Y-%m-%d %H:%M:%S} UTC",
        f"workers: {len(living)}" + (f", {draining} of them draining" if draining else ""),
        f"running: {sum(overview.running_by_agent.values())}",
        f"queued: {sum(queue.waiting for queue in overview.queues)}{_mark('queues', overview)}",
        f"ended: {ended}{_mark('ended', overview)} in {length}, {ended / overview.minutes:.1f}/min",
    ]
    print_text("  ".join(words))
    _print_part("RUNNING, THE OLDEST FIRST", overview.running, columns_of(with_tenant=True))
    _print_part("QUEUED", overview.queues, _QUEUES)
    _print_part("WAITING FOR THEIR NEXT TRY", overview.retrying, _RETRYING)
    _print_part(f"ENDED IN THE LAST {length}", overview.ended, _ENDED)
    _print_part("FAILED", overview.failures, _FAILURES)
    _print_part("MODELS, IN THE TURNS THAT ENDED", overview.models, _MODELS)


def _mark(part: str, overview: "Overview") -> str:
    """A plus behind a number of which there was more than was read."""
    return "+" if part in overview.partial else ""


def _print_part(title: str, rows: Iterable[T], columns: Mapping[str, Callable[[T], object]]) -> None:
    rows = list(rows)
    if rows:
        print_text(f"\n{title}")
        print_list(rows, columns, empty="", as_json=False)


def _show(name: str, show: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda row: show(getattr(row, name))


_QUEUES: dict[str, Callable[[Any], object]] = {
    "AGENT": attrgetter("agent"),
    "TURNS": attrgetter("waiting"),
    "DUE": attrgetter("due"),
    "OLDEST": _show("oldest_seconds", show_seconds),
    "SERVED": _show("is_served", lambda is_served: is_served or "no: no living worker serves it"),
}
_RETRYING: dict[str, Callable[[Any], object]] = {
    "KIND": attrgetter("kind"),
    "MODEL": attrgetter("model"),
    "TURNS": attrgetter("turns"),
    "NEXT TRY": attrgetter("next_try_at"),
    "ONE OF THEM": _show("message", lambda message: shorten(message or "", ERROR_CHARS)),
}
_ENDED: dict[str, Callable[[Any], object]] = {
    "AGENT": attrgetter("agent"),
    "COMPLETED": attrgetter("completed"),
    "FAILED": attrgetter("failed"),
    "CANCELLED": attrgetter("cancelled"),
    "WAITED": _show("median_wait_seconds", show_seconds),
    "TOOK": _show("median_seconds", show_seconds),
    "95%": _show("slow_seconds", show_seconds),
    "COST": _show("cost", show_dollars),
}
_FAILURES: dict[str, Callable[[Any], object]] = {
    "KIND": attrgetter("kind"),
    "AGENT": attrgetter("agent"),
    "TURNS": attrgetter("turns"),
    "LAST": attrgetter("last_at"),
}
_MODELS: dict[str, Callable[[Any], object]] = {
    "MODEL": attrgetter("model"),
    "CALLS": attrgetter("calls"),
    "MEAN": _show("mean_seconds", show_seconds),
    "SLOWEST": _show("slowest_seconds", show_seconds),
    "PROMPT": attrgetter("prompt_tokens"),
    "REPLY": attrgetter("completion_tokens"),
    "COST": _show("cost", show_dollars),
}


def _to_json(overview: "Overview") -> dict[str, Any]:
    names = ("at", "minutes", "running_by_agent", "queues", "retrying", "ended", "failures", "models", "partial")
    workers = [
        {"id": worker.id, "host": worker.host, "pid": worker.pid, "state": worker.state, "turns": worker.running_turns}
        for worker in overview.workers
    ]
    running = [to_json(turn) for turn in overview.running]
    return {**{name: getattr(overview, name) for name in names}, "workers": workers, "running": running}
