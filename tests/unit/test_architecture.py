"""How the code is laid out and how it speaks. The order of the packages is a contract of import-linter."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
#: One for each table of a schema: as long as the schema.
LONG_LISTS = "store/migrations/versions"
FILE_MAX_LINES = 350
FUNCTION_MAX_LINES = 40
CLASS_MAX_LINES = 200
#: Names that say nothing about what is inside.
EMPTY_NAMES = {"utils", "util", "helpers", "common", "misc", "shared", "base", "core"}

#: Subjects that mean nothing to a reader who has not read the code.
PRONOUNS = {
    *("it", "they", "those", "these", "this", "that", "what", "who", "whoever", "whose", "its", "their"),
    *("he", "she", "his", "such", "ours", "we", "somebody", "nobody"),
}
#: Names of functions that say what was done instead of what to do; `stored_rows` names a value.
PARTICIPLE = re.compile(
    r"_*(?:(?!need|feed|seed|embed|exceed|proceed)[a-z]+ed|told|said|shown|kept|known|found|done|made|built"
    r"|held|drawn|given|taken|written|chosen|left|sent|spoken)(?:_(?:by|in|for|from|to|of|with|on|at|as|again)(?:_\w+)?)?"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    """Our modules and those of the client, besides those that are lists."""
    folders = [ROOT / package.replace(".", "/") for package in PACKAGES]
    folders.append(ROOT / "clients" / "python" / "threadmill_client")
    found = [path for folder in folders for path in folder.glob("*.py")]
    return sorted(path for path in found if LONG_LISTS not in path.as_posix())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def trees() -> dict[str, ast.Module]:
    return {name_of(path): ast.parse(path.read_text()) for path in sources()}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_package_is_listed_for_installation() -> None:
    """One that is not would be missing from an installed copy, without a word."""
    tops = {package.partition(".")[0] for package in PACKAGES}
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for top in tops
        for path in (ROOT / top).rglob("__init__.py")
    }

    assert found == set(PACKAGES)


def test_each_package_opens_with_an_exact_table_of_its_contents() -> None:
    wrong = {package: wrong_in_table_of(importlib.import_module(package)) for package in PACKAGES}

    assert {package: names for package, names in wrong.items() if names} == {}


def wrong_in_table_of(module: ModuleType) -> list[str]:
    table = list(getattr(module, "__all__", []))
    twice = [f"{name} stands twice" for name, count in Counter(table).items() if count > 1]
    missing = [f"{name} is not listed" for name in sorted(imported_into(module) - set(table))]
    return [*twice, *missing, *(f"{name} is not there" for name in table if not hasattr(module, name))]


def imported_into(module: ModuleType) -> set[str]:
    """What a package's own file brings together, if that is all it does."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text())
    if any(functions(tree)) and not hasattr(module, "__all__"):
        return set()
    ours = module.__name__.partition(".")[0]
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == ours
        for alias in node.names
    }


def test_each_file_says_what_it_is() -> None:
    """One that is empty has nothing to say."""
    silent = [name for name, tree in trees().items() if tree.body and not ast.get_docstring(tree)]

    assert silent == []


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in sources()}

    assert {name: lines for name, lines in lengths.items() if lines > FILE_MAX_LINES} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [name_of(path) for path in sources() if path.stem in EMPTY_NAMES] == []


def test_functions_are_short() -> None:
    """Counted from the first line of the body: a signature of one argument a line is no complexity."""
    lengths = {
        f"{name}:{node.lineno} {node.name}": length_of(node)
        for name, tree in trees().items()
        for node in functions(tree)
    }

    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_MAX_LINES} == {}


def test_classes_are_short() -> None:
    """One that is longer has a second noun in it."""
    lengths = {
        (name_of(path), node.name): length_of(node)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }

    assert {name: lines for name, lines in lengths.items() if lines > CLASS_MAX_LINES} == {}


def length_of(node: Function | ast.ClassDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.body[0].lineno + 1


def test_what_is_public_says_what_it_promises() -> None:
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in trees().items()
        for node in public(tree)
        if not ast.get_docstring(node)
    ]

    assert silent == []


def public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """A module's own functions and classes. A method that carries out a protocol is explained there."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if "overload" not in decorators:
                yield node


def test_no_docstring_begins_with_a_pronoun() -> None:
    riddles = [
        f"{name}:{getattr(node, 'lineno', 1)} {text.splitlines()[0]}"
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, Function | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node))
        if text.split()[0].lower().rstrip(",.:") in PRONOUNS
    ]

    assert riddles == []


def test_functions_are_verbs_and_no_participles() -> None:
    """A property is a value, and a context manager may be one."""
    participles = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in trees().items()
        for node in functions(tree)
        if PARTICIPLE.fullmatch(node.name)
        if not any(re.search(r"property|setter|contextmanager", ast.unparse(d)) for d in node.decorator_list)
    ]

    assert participles == []


def test_what_users_call_says_what_it_promises() -> None:
    """Every method of every class that a package offers; one that carries out a protocol says it there."""
    silent = {package: silent_methods(importlib.import_module(package)) for package in PACKAGES}

    assert {package: methods for package, methods in silent.items() if methods} == {}


def silent_methods(module: ModuleType) -> list[str]:
    offered = [getattr(module, name) for name in getattr(module, "__all__", [])]
    methods = [
        (name, f"{kind.__name__}.{name}", inspect.getdoc(method))
        for kind in offered
        if inspect.isclass(kind)
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and not name.startswith("_")
    ]
    explained = {name for name, _, words in methods if words}
    return [full_name for name, full_name, _ in methods if name not in explained]


#: What a web backend that only sends has no use for, or only with its first message.
NOT_FOR_SENDERS = {
    *("agent", "tasks", "threadmill", "litellm", "boto3", "celery", "kombu", "redis"),
    *("sqlalchemy.orm", "structlog", "rich", "httpx", "trafilatura"),
}


def test_what_sends_imports_little() -> None:
    """Under a second on a slow machine: `benchmarks/imports.py` measures it."""
    command = [sys.executable, "-c", "import producers, sys; print(*sys.modules)"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert NOT_FOR_SENDERS & set(done.stdout.split()) == set()
