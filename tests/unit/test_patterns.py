"""Patterns take a time that grows as the text does: whoever writes the text cannot hold a process with it."""

import ast
import importlib
import re
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.pattern_attacks import Attack, list_attacks, write_text
from tests.unit.test_architecture import trees

#: Methods of patterns, and functions of `re` besides `compile`.
METHODS = {"search", "match", "fullmatch", "findall", "finditer", "sub", "subn", "split"}
#: Module, or its beginning → why the time of its patterns harms nobody.
SLOW_ONES = {"agent.models.http.translated": "names of parameters, which the author of an agent wrote"}
#: Modules whose patterns others match whole names with.
OF_NAMES = ("store.media_types.office_macros", "store.media_types.open_document_macros")
#: Module with calls whose pattern is no literal → its names that hold the patterns.
HOLDERS = {
    "agent.files.readers.rich_text": ("_LEFT_OUT", "_NOTES"),
    "agent.files.readers.open_document.sheet_notes": ("_OTHER_PARTS",),
    "agent.files.readers.workbook.sheets": ("_OTHER_PARTS",),
    "agent.models.too_long": ("_LIMITS",),
    "threadmill.cli.running_stack": ("ADVICE", "ABSENCE"),
    # Of our own names.
    "store.database.limits": (),
    # Reads a page of ours.
    "producers.http.page": (),
}
#: Characters of the shorter text, and how much longer a pattern may take over one four times as long.
CHARS, GROWTH_MAX = 2_000, 9.0
#: Below this, a shorter text says nothing.
NOTICED_SECONDS = 0.0007


@pytest.mark.soak
def test_no_pattern_takes_longer_than_its_text_is_long() -> None:
    slow = []
    for module, pattern, method in _list_uses():
        if not module.startswith(tuple(SLOW_ONES)) and (attack := _find_slow(pattern, method)):
            slow.append(f"{module}: {pattern.pattern!r:.100}.{method} on {attack!r:.200}")
    assert not slow, "\n".join(slow)


def _list_uses() -> Iterator[tuple[str, re.Pattern[Any], str]]:
    """Each pattern that a module compiles or calls: the module, the pattern, the method that it is called by."""
    for path, tree in trees().items():
        calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and _method_of(each) in METHODS]
        if path.startswith("clients/") or not (calls or _imports_re(tree)):
            continue
        module = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        uses = [(pattern, _method_of(call)) for call in calls for pattern in _list_patterns(module, call)]
        called = {pattern for pattern, _ in uses}
        compiled = {each for each in vars(module).values() if isinstance(each, re.Pattern)}
        usual_method = "fullmatch" if module.__name__ in OF_NAMES else "finditer"
        for pattern, method in {*uses, *((each, usual_method) for each in compiled - called)}:
            yield module.__name__, pattern, method


def _imports_re(tree: ast.Module) -> bool:
    return any(isinstance(each, ast.Import) and each.names[0].name == "re" for each in tree.body)


def _method_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _list_patterns(module: ModuleType, call: ast.Call) -> list[re.Pattern[Any]]:
    """The patterns that a call may be of; none where it is of something else, such as a text's own method."""
    assert isinstance(call.func, ast.Attribute)
    if not isinstance(call.func.value, ast.Name):
        return []
    owner = vars(module).get(call.func.value.id)
    if isinstance(owner, re.Pattern):
        return [owner]
    if owner is not re:
        return []
    flags = _flags_of(call)
    if isinstance(call.args[0], ast.Constant):
        literal: Any = call.args[0].value
        return [re.compile(literal, flags)]
    held = [getattr(module, name) for name in HOLDERS[module.__name__]]
    texts = [each if isinstance(each, str) else each[0] for holder in held for each in _items_of(holder)]
    return [re.compile(text, flags) for text in texts]


def _items_of(holder: Any) -> list[Any]:
    return [holder] if isinstance(holder, str) else list(holder)


def _flags_of(call: ast.Call) -> int:
    named = [each for each in ast.walk(call) if isinstance(each, ast.Attribute) and each.attr.isupper()]
    return sum({int(getattr(re, each.attr)) for each in named if getattr(each.value, "id", "") == "re"})


def _find_slow(pattern: re.Pattern[Any], method: str) -> Attack | None:
    """An attack over which a pattern takes more than twice as long as over a linear one four times as long."""
    for attack in list_attacks(pattern):
        # Again where it seems so: a single measurement may be disturbed.
        if all(_grows_fast(pattern, method, attack) for _ in range(3)):
            return attack
    return None


def _grows_fast(pattern: re.Pattern[Any], method: str, attack: Attack) -> bool:
    short = _measure(pattern, method, attack, CHARS)
    return short > NOTICED_SECONDS and _measure(pattern, method, attack, 4 * CHARS) > GROWTH_MAX * short


def _measure(pattern: re.Pattern[Any], method: str, attack: Attack, size: int) -> float:
    """The processor's seconds that a pattern takes over a text."""
    text: Any = write_text(attack, size)
    text = text.encode() if isinstance(pattern.pattern, bytes) else text
    start = time.thread_time()
    if method in ("search", "match", "fullmatch"):
        getattr(pattern, method)(text)
    else:
        for _ in pattern.finditer(text):
            pass
    return time.thread_time() - start
