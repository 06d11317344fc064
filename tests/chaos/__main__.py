"""`python -m tests.chaos`: a full run, its progress and its table. Exit status 1 if a promise broke."""

import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from conversation.logs import use_standard_logging
from tests.chaos.display import Display
from tests.chaos.recovery import BOUND_SECONDS
from tests.chaos.report import is_slow, table
from tests.chaos.run import Plan, run

#: A seed that nobody chose is short, so that it is easily typed again.
SEEDS = 10_000
#: Findings that are shown one by one; the table counts all.
SHOWN_FINDINGS = 50
console = Console()


def main(  # noqa: PLR0917 - typer reads options off the parameters
    minutes: Annotated[float, typer.Option(help="How long messages are sent and things broken.")] = 9,
    turns: Annotated[int, typer.Option(help="Messages to send.")] = 1500,
    threads: Annotated[int, typer.Option(help="Threads that they are sent to.")] = 60,
    faults: Annotated[int, typer.Option(help="Faults to inject.")] = 63,
    seed: Annotated[int | None, typer.Option(help="Repeats a plan.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs and data of a good run, too.")] = False,
) -> None:
    """Break everything while conversations go on, and count what became of them."""
    use_standard_logging()
    # What is broken on purpose is retried and need not be told a hundred times.
    logging.getLogger().setLevel(logging.CRITICAL)
    chosen = random.SystemRandom().randrange(SEEDS) if seed is None else seed
    plan = Plan(seed=chosen, turns=turns, threads=threads, faults=faults, seconds=minutes * 60)
    console.print(f"seed {chosen}: {turns} turns on {threads} threads, {faults} faults in {minutes:g} minutes")
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    good = False
    try:
        with Display(console, plan.totals) as display:
            report = run(plan, folder, display)
        console.print(table(report))
        for finding in report.findings[:SHOWN_FINDINGS]:
            console.print(f"[red]{finding.promise}[/red]: {finding.where}: {finding.what}", soft_wrap=True)
        if is_slow(report):
            console.print(f"[red]recovery[/red]: p99 is over {BOUND_SECONDS:g} s")
        good = not report.findings and not is_slow(report)
    finally:
        if good and not keep:
            shutil.rmtree(folder)
        else:
            console.print(f"logs and data are kept in {folder}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
