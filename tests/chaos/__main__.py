"""`python -m tests.chaos`: a full run, its progress and its table. Exit status 1 if a promise broke."""

import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from conversation.logs import use_standard_logging
from tests.chaos.run import RECOVERY_BOUND_SECONDS, Plan, Report, run

#: A seed that nobody chose is short, so that it is easily typed again.
SEEDS = 10_000
console = Console()


def main(
    minutes: Annotated[float, typer.Option(help="How long messages are sent and things broken.")] = 9,
    turns: Annotated[int, typer.Option(help="Messages to send.")] = 1500,
    threads: Annotated[int, typer.Option(help="Threads that they are sent to.")] = 60,
    faults: Annotated[int, typer.Option(help="Faults to inject.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Repeats a plan.")] = None,
) -> None:
    """Break everything while conversations go on, and count what became of them."""
    use_standard_logging()
    logging.getLogger().setLevel(logging.ERROR)
    chosen = random.SystemRandom().randrange(SEEDS) if seed is None else seed
    plan = Plan(seed=chosen, turns=turns, threads=threads, faults=faults, seconds=minutes * 60)
    console.print(
        f"seed {chosen}: {turns} turns on {threads} threads, {faults} faults in {minutes:g} minutes"
    )
    began = time.monotonic()

    def tell(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {what}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        report = run(plan, Path(folder), tell)
    console.print(_table(report))
    for finding in report.findings[:50]:
        console.print(f"[red]{finding.promise}[/red]: {finding.where}: {finding.what}")
    is_slow = report.slow_recoveries > RECOVERY_BOUND_SECONDS
    if is_slow:
        console.print(f"[red]recovery[/red]: p99 is over {RECOVERY_BOUND_SECONDS:g} s")
    sys.exit(1 if report.findings or is_slow else 0)


def _table(report: Report) -> Table:
    table = Table("what", "how much", title=f"seed {report.plan.seed}, {report.seconds:.0f} s")
    table.add_row("faults", str(report.faults.total()))
    for kind, count in sorted(report.faults.items()):
        table.add_row(f"  {kind}", str(count))
    for state, count in sorted(report.states.items()):
        table.add_row(f"turns {state}", str(count))
    table.add_row("claims, crashes counted", f"{report.attempts}, {report.crashes}")
    table.add_row("sends that had to be tried again", str(report.refused))
    for (name, state), count in sorted(report.calls.items()):
        table.add_row(f"calls of {name}, {state}", str(count))
    for name, count in sorted(report.effects.items()):
        table.add_row(f"effects of {name}", str(count))
    table.add_row("turns taken over from dead workers", str(len(report.recoveries)))
    slowest = max(report.recoveries, default=0.0)
    table.add_row("recovery p99, slowest", f"{report.slow_recoveries:.1f} s, {slowest:.1f} s")
    table.add_row("recovery bound", f"{RECOVERY_BOUND_SECONDS:g} s")
    table.add_row("broken promises", str(len(report.findings)))
    return table


if __name__ == "__main__":
    typer.run(main)
