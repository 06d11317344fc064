"""`threadmill env`: the addresses of the stack that runs here, for a shell or a program."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from conversation.errors import OperatorError
from threadmill.cli import running_stack
from threadmill.cli.common_options import AsJson
from threadmill.cli.output import print_json, print_text


def env(
    directory: Annotated[
        Path, typer.Option(help="Where `threadmill up` keeps its data.", file_okay=False)
    ] = running_stack.DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Print the addresses of the stack that runs here, as `export` lines: eval "$(threadmill env)".

    Commands in this folder need none of them. The addresses hold passwords.
    """
    variables = running_stack.find(directory)
    if not variables:
        raise OperatorError(f"no stack runs in {directory}: start one with `threadmill up`")
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        print_text(f"export {name}={shlex.quote(value)}")
