"""Reference pages say what the code says."""

import ast
import re
import runpy
import textwrap
from pathlib import Path

import conversation.errors
from conversation import task_contract
from conversation.error_sentences import MODEL_SENTENCES, SENTENCES
from conversation.turn import FINAL_STATES, TurnState
from store.settings import variable
from store.tables import metadata
from tests.docs.pages import ROOT, all_blocks

#: The packages whose names a user might meet.
OUR_PACKAGES = ("agent", "conversation", "producers", "store", "tasks", "threadmill")
REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def first_cells(text: str) -> list[str]:
    """What stands in the first column of a page's tables."""
    return re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)


def test_the_page_of_routes_is_as_the_gateway_describes_them() -> None:
    made = runpy.run_path(str(REFERENCE / "make_http.py"))["page"]()

    assert page("http.md") == made, "run: python docs/reference/make_http.py --write"


def test_the_python_api_is_as_the_sources_say() -> None:
    made = runpy.run_path(str(REFERENCE / "make_python_api.py"))["page"]()

    assert page("python-api.md") == made, "run: python docs/reference/make_python_api.py --write"


def test_the_providers_are_those_of_the_profiles() -> None:
    made = runpy.run_path(str(REFERENCE / "make_providers.py"))["page"]()

    assert page("providers.md") == made, "run: python docs/reference/make_providers.py --write"


def test_pages_and_examples_take_what_is_public_from_threadmill() -> None:
    import threadmill

    # The demo plays the operator as well, with the store in its hands; the page of providers is about our inside.
    examples = [path for path in (ROOT / "examples").rglob("*.py") if path.parent.name != "demo"]
    sources = [(str(path.relative_to(ROOT)), path.read_text()) for path in examples]
    sources += [(block.place, block.text) for block in all_blocks("python") if not block.source]
    wrong = [
        f"{place}: {name} of {module}"
        for place, text in sources
        if not place.startswith("docs/reference/providers.md")
        for module, name in imported_names(text)
        if module.partition(".")[0] in OUR_PACKAGES and (module != "threadmill" or name not in threadmill.__all__)
    ]

    assert wrong == []


def test_a_class_that_a_page_for_users_names_is_public() -> None:
    import threadmill_client

    import threadmill

    public_names = {*threadmill.__all__, *threadmill_client.__all__}
    classes = {
        name for package in OUR_PACKAGES for path in (ROOT / package).rglob("*.py") for name in _classes_in(path)
    }
    folders = [ROOT / "docs" / "how-to", ROOT / "docs" / "tutorial"]
    wrong = [
        f"{path.name}: {name}"
        for path in [ROOT / "README.md", *(path for folder in folders for path in folder.glob("*.md"))]
        for name in re.findall(r"`([A-Z][A-Za-z]+)(?:`|\()", path.read_text())
        if name in classes and name not in public_names
    ]

    assert wrong == []


def imported_names(text: str) -> list[tuple[str, str]]:
    """Module and name of each `from … import …`; a piece of code that is indented, or awaits, is read too."""
    tree = ast.parse(textwrap.dedent(text))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return [(str(node.module), alias.name) for node in nodes for alias in node.names]


def _classes_in(path: Path) -> list[str]:
    return re.findall(r"^class ([A-Z]\w+)", path.read_text(), re.MULTILINE)


def test_every_public_name_is_in_the_python_api() -> None:
    import threadmill

    shown = set(re.findall(r"^### `(\w+)`$", page("python-api.md"), re.MULTILINE))

    assert shown == set(threadmill.__all__)


def errors() -> set[str]:
    """The names of all our error classes."""
    return {
        name
        for name, value in vars(conversation.errors).items()
        if isinstance(value, type) and issubclass(value, conversation.errors.ThreadmillError)
    }


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    doc = conversation.errors.__doc__ or ""
    tree = doc[doc.index("ThreadmillError\n") :].rstrip()
    shown = set(re.findall(r"^\| `([A-Z]\w+)`", page("errors.md"), re.MULTILINE))

    assert tree in page("errors.md")
    assert shown == errors() - {"ThreadmillError"}


def test_what_to_do_over_http_with_each_error_is_told() -> None:
    import threadmill
    from examples.web import problems as example
    from producers.http.statuses import STATUSES, status_of

    rows = re.findall(r"^\| `([A-Z]\w+)` \| .+ \| (yes|no|by kind) \| (\d+) \|$", page("errors.md"), re.MULTILINE)
    expected = []
    for name, _, _ in rows:
        kind = getattr(conversation.errors, name)
        retryable = "by kind" if name == "ModelError" else "yes" if kind.retryable else "no"
        expected.append((name, retryable, str(status_of(kind.__new__(kind)))))

    assert rows == expected
    assert {name for name, *_ in rows} == errors() - {"ThreadmillError"}
    assert errors() <= set(threadmill.__all__)
    assert STATUSES.keys() <= {getattr(threadmill, name) for name in errors()}
    assert example.STATUSES == STATUSES


def test_the_kinds_of_a_models_errors_are_those_of_the_adapter() -> None:
    import agent.models.provider_errors

    told = re.findall(r"^\| (\w+) +\| (yes|no)", agent.models.provider_errors.__doc__ or "", re.MULTILINE)
    shown = re.findall(r"^\| `(\w+)` \| (yes|no) \|", page("errors.md"), re.MULTILINE)

    assert shown == told
    assert {kind for kind, _ in told} == set(MODEL_SENTENCES)


def test_every_state_of_a_turn_is_told() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", page("turn-states.md"), re.MULTILINE))

    assert rows == {state.value: "yes" if state in FINAL_STATES else "no" for state in TurnState}


def test_every_kind_of_a_turns_error_is_told() -> None:
    text = page("turn-states.md").partition("## Kinds of errors")[2]

    assert set(first_cells(text)) == kinds_of_turn_errors() == set(SENTENCES)


def kinds_of_turn_errors() -> set[str]:
    """The first argument of each `TurnError(…)` in the code; a name is looked up in its module."""
    found = set()
    for folder in ("agent", "store", "tasks", "threadmill"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= _kinds_in(path)
    return found


def _kinds_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    calls = [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "TurnError" and node.args
    ]
    literal = {arg.value for arg in calls if isinstance(arg, ast.Constant)}
    return literal | {constants[arg.id] for arg in calls if isinstance(arg, ast.Name)}


def test_every_table_is_told() -> None:
    assert set(first_cells(page("tables.md"))) == set(metadata.tables)


def test_every_task_and_queue_is_told() -> None:
    from tasks.app import app

    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    text = page("task-names-and-queues.md")
    queues = {
        task_contract.TURNS_QUEUE,
        task_contract.QUARANTINE_QUEUE,
        task_contract.MAINTENANCE_QUEUE,
        task_contract.FILES_QUEUE,
    }

    assert set(first_cells(text)) == ours
    assert queues <= set(re.findall(r"`(\w+)`", text))
    assert task_contract.turn_channel("ID") in text
    assert task_contract.CANCEL_CHANNEL in text


def in_words(interval: task_contract.Interval) -> str:
    if isinstance(interval, str):
        return f"`{variable(interval)}`"
    return "every minute" if interval == 60 else f"once in {interval / 60:g} minutes"


def test_the_interval_of_every_periodic_task_is_told() -> None:
    rows = {row.split("`")[1]: row for row in page("task-names-and-queues.md").splitlines() if "| beat" in row}
    intervals = {
        periodic.task: periodic.tick if periodic.period is None else periodic.period
        for periodic in task_contract.PERIODIC_TASKS.values()
    }

    assert rows.keys() == intervals.keys()
    for task, interval in intervals.items():
        assert in_words(interval) in rows[task]


def test_the_round_trips_of_the_readme_are_those_that_are_measured() -> None:
    measured = (ROOT / "tests" / "integration" / "test_round_trips.py").read_text()
    sums = re.findall(r"^(?:SEND|TURN|TOOL_CALL) = ([\d +]+)$", measured, re.MULTILINE)
    send, turn, tool = ([int(part) for part in each.split(" + ")] for each in sums)
    idle = int(re.findall(r"assert traffic.round_trips == (\d+), traffic", measured)[0])
    sweep, heartbeat = [int(cost) for cost in re.findall(r"assert costs == \[(\d+), \d+\]", measured)]
    told = re.findall(r"^\| [^|]+ \| (\d+)(?:, every 2 s)? \|$", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert list(map(int, told)) == [sum(send), sum(turn), *tool, idle, heartbeat, sweep]


def test_every_command_is_told() -> None:
    from typer.main import get_command

    from threadmill.cli.command import app

    told = {
        name
        for row in re.findall(r"^\| (`.+`) \| .* \|$", page("command-line.md"), re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", row.partition(" | ")[0])
    }

    commands = getattr(get_command(app), "commands", {})
    assert told == {name for name, command in commands.items() if not command.hidden}


def test_every_decision_names_what_enforces_it() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in pages]

    assert numbers == list(range(1, len(pages) + 1))
    for path in pages:
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. "), path
        assert "tests/" in text.partition("## Enforced by")[2], path
