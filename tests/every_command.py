"""Every command of the command line, found by walking it, with the least that each asks for.

What stays true: a command that is added is found here by itself, and so is tried wherever all are.
"""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from threadmill.cli.command import OF_THEIR_OWN, app

#: What an argument that has to be given is given; any other is "x".
ARGUMENTS = {"output": "out.zip"}
#: What some commands ask for besides, to get as far as their work.
OPTIONS = {
    ("erase",): ["--thread", "x"],
    ("export-user",): ["--thread", "x"],
    ("inbound", "create"): ["--thread", "t", "--text", "{/a}", "--key", "{/id}"],
    ("recurring", "create"): ["--cron", "@daily", "--thread", "x"],
    ("retention", "set"): ["--tenant", "x", "--idle-days", "3"],
    ("threads", "import"): ["--archive", "x"],
    ("threads", "tail"): ["--once"],
    ("send",): ["--wait", "0", "--agent", "assistant"],
}


def find_all() -> list[list[str]]:
    """The names of all commands, those that start servers too."""
    return [list(path) for path, _ in _walk(get_command(app), ())]


def find_commands() -> dict[tuple[str, ...], list[str]]:
    """The arguments of each command that works on what is stored, by its name."""
    commands = {}
    for path, command in _walk(get_command(app), ()):
        # A health check ends its process by itself, a gateway not at all: each is tried in a process of its own.
        if path[0] not in OF_THEIR_OWN | {"gateway", "healthcheck"}:
            given = [ARGUMENTS.get(each.name, "x") for each in command.params if _is_argument(each)]
            agreement = ["--yes"] if any("--yes" in each.opts for each in command.params) else []
            commands[path] = [*path, *given, *OPTIONS.get(path, []), *agreement]
    return commands


def find_json_commands() -> dict[tuple[str, ...], list[str]]:
    """As `find_commands`: those that have `--json`."""
    has_json = {
        path for path, command in _walk(get_command(app), ()) if any("--json" in each.opts for each in command.params)
    }
    return {path: arguments for path, arguments in find_commands().items() if path in has_json}


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument" and parameter.required


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _walk(child, (*path, name))
