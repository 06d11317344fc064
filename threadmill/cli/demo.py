"""`threadmill demo`: run the demonstration, an example of the checkout that is not in the package."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from conversation.errors import UserError
from threadmill.cli.interrupts import interrupt_on_signals
from threadmill.cli.output import print_problem

CHECKOUT = Path(__file__).resolve().parents[2]
#: What a shell shows for a program that Ctrl-C ended.
INTERRUPTED = 130


def demo(
    model: Annotated[
        str | None,
        typer.Option(
            help="Ask this model, as litellm spells it (openai/gpt-5); its key stands in the environment. "
            "Without it: offline/recall, which needs neither key nor network."
        ),
    ] = None,
) -> None:
    """See it work: tickets are answered, a worker is killed, nothing is lost or done twice."""
    if not (CHECKOUT / "examples" / "demo").is_dir():
        raise UserError(f"the demo is run from a checkout: {CHECKOUT} has no examples/demo")
    # The workers and the producer import the examples as well.
    sys.path.insert(0, str(CHECKOUT))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    from examples.demo.story import run_demo

    try:
        with interrupt_on_signals():
            run_demo(model or os.environ.get("THREADMILL_MODEL") or "offline/recall")
    except KeyboardInterrupt:
        print_problem("interrupted; everything was stopped")
        raise typer.Exit(INTERRUPTED) from None
