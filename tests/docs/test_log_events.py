"""The page on logs names every event, its levels and its values, as the code has them."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "how-to" / "read-the-logs.md"
FOLDERS = ("agent", "conversation", "producers", "store", "tasks", "threadmill")
LEVELS = ("debug", "info", "warning", "error")
#: Those that are made of the lines of others, in `tasks/log_config.py` and `tasks/foreign_lines.py`.
OF_OTHERS = {
    "task_failed": ({"error"}, {"task", "task_id", "error", "trace"}),
    "library_logged": ({"warning", "error"}, {"place"}),
}

#: The levels and the values of an event.
Told = tuple[set[str], set[str]]


def test_the_page_has_each_event_with_its_levels_and_its_values() -> None:
    """A value that is new is looked at by whoever writes it down: no text, no name of a file, no secret."""
    assert events_of_page() == events_of_code() | OF_OTHERS


def events_of_page() -> dict[str, Told]:
    rows = re.findall(r"^\| `([\w.]+)` \| ([\w, ]+) \| ([\w, ]*) \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (set(levels.split(", ")), set(values.split(", ")) - {""}) for name, levels, values in rows}


def events_of_code() -> dict[str, Told]:
    events: dict[str, Told] = defaultdict(lambda: (set(), set()))
    for call in calls_that_log():
        assert isinstance(call.func, ast.Attribute)
        name = ast.literal_eval(call.args[0])
        events[name][0].add(call.func.attr)
        events[name][1].update(keyword.arg for keyword in call.keywords if keyword.arg is not None)
    return dict(events)


def calls_that_log() -> Iterator[ast.Call]:
    """Each call of a logger of ours, by the name of whatever it is called on."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                    continue
                if node.func.attr in LEVELS and "log" in ast.unparse(node.func.value):
                    yield node
