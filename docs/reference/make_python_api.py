"""The generator of `python-api.md`, out of the sources: `python docs/reference/make_python_api.py --write`.

What stays true: nothing is imported; names, groups, signatures and first sentences are those that stand in
the code, so the page says nothing else.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("python-api.md")
INTRO = """# Python API

Everything that `threadmill` offers: `from threadmill import …`. A name is loaded when it is first used,
so a backend that only sends imports no model library.

This page is made by `python docs/reference/make_python_api.py --write`.
"""
BACKENDS_INTRO = """
## For backends

These stand in modules of their own, since most programs need none or one of them.
"""
#: Names beside the public table: where they are, in which order they are shown.
EXTRA_NAMES = {
    "producers": ["warm_up", "warm_up_async", "find_turn", "find_turn_async", "Producer", "default_producer"],
    "producers.send_options": ["SendOptions"],
    "producers.sqlalchemy_orm": ["send_message_in", "send_message_in_async"],
    "producers.django": ["send_message_in_atomic"],
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Special methods that users call without their names.
SPECIAL_METHODS = {"__init__"}


@cache
def tree_of(module: str) -> tuple[ast.Module, list[str]]:
    """A module's syntax and its lines."""
    path = ROOT.joinpath(*module.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    return ast.parse(text), text.splitlines()


def find_definition(module: str, name: str) -> tuple[str, ast.stmt]:
    """Find the definition of a name, followed through imports."""
    for node in tree_of(module)[0].body:
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == name for a in node.names):
            return find_definition(node.module, name)
        if isinstance(node, ast.ClassDef | Function) and node.name == name and not _is_overload(node):
            return module, node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return module, node
    raise LookupError(f"{module} has no {name}")


def _is_overload(node: ast.ClassDef | Function) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)


def groups() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The public table: its comments are the groups."""
    _tree, lines = tree_of("threadmill")
    title, names = "", list[tuple[str, str]]()
    for line in lines:
        if match := re.fullmatch(r"    # (.+)", line):
            if names:
                yield title, names
            title, names = match[1], []
        elif match := re.fullmatch(r'    "(\w+)": "([\w.]+)",', line):
            names.append((match[1], match[2]))
    yield title, names


def page() -> str:
    """The whole page."""
    parts = [INTRO]
    for title, names in groups():
        parts += [f"## {title}\n", *(entry(module, name) for name, module in names)]
    parts.append(BACKENDS_INTRO)
    for module, names in EXTRA_NAMES.items():
        parts += [entry(module, name, f"{module}.{name}") for name in names]
    return "\n".join(parts).rstrip() + "\n"


def entry(module: str, name: str, heading: str = "") -> str:
    """One name: its signature, its promise, and what a class has."""
    home, node = find_definition(module, name)
    if isinstance(node, Function):
        return f"### `{heading or name}`\n\n```text\n{signature(node)}\n```\n\n{promise(node)}\n"
    if isinstance(node, ast.ClassDef):
        return _class(home, node, heading or name)
    return f"### `{heading or name}`\n\n```text\n{ast.unparse(node)}\n```\n"


def _class(home: str, node: ast.ClassDef, heading: str) -> str:
    lines = [f"### `{heading}`\n", f"{promise(node)}\n"]
    family = list(dict.fromkeys(_family(home, node)))  # a base of two bases once
    fields = dict[str, str]()
    for field in (field for home, member in family for field in _fields(home, member)):
        # A class may declare a field of its base again, without the base's comment.
        fields.setdefault(field.partition("` |")[0], f"| {field} |")
    if fields:
        lines += ["| field | |", "|---|---|", *fields.values(), ""]
    methods: dict[str, Function] = {}
    # The class's own first; one that it overrides is shown as the class has it.
    for _, member in reversed(family):
        for method in member.body:
            if isinstance(method, Function) and _is_shown(method):
                methods.setdefault(method.name, method)
    if methods:
        method_texts = [
            "\n".join([signature(method), *_indent(promise(method))]).rstrip() for method in methods.values()
        ]
        lines += ["```text", "\n\n".join(method_texts), "```", ""]
    return "\n".join(lines)


def _family(home: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """A class and those of ours that it is based on: what they have, it has; errors have nothing."""
    for base in node.bases:
        module, _, name = ast.unparse(base).rpartition(".")
        try:
            parent_home, parent = find_definition(module or home, name)
        except (LookupError, OSError):
            continue
        if isinstance(parent, ast.ClassDef) and not name.endswith("Error"):
            yield from _family(parent_home, parent)
    yield home, node


def _is_shown(method: Function) -> bool:
    is_setter = any(ast.unparse(d).endswith(".setter") for d in method.decorator_list)
    return not is_setter and (method.name in SPECIAL_METHODS or not method.name.startswith("_"))


def _fields(home: str, node: ast.ClassDef) -> Iterator[str]:
    """Fields of a data class, with the `#:` lines above them."""
    lines = tree_of(home)[1]
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id[0] != "_":
            if item.value is not None and "init=False" in ast.unparse(item.value):
                continue
            default = "" if item.value is None else f" = {_default(item.value)}"
            declaration = f"{item.target.id}: {ast.unparse(item.annotation)}{default}".replace("|", r"\|")
            yield f"`{declaration}` | {_comment_above(lines, item.lineno).replace('|', chr(92) + '|')}"
        elif isinstance(item, ast.Assign):
            yield f"`{ast.unparse(item)}` | "


def _default(value: ast.expr) -> str:
    """A default as it is meant: factories by what they return."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        factory = next((k.value for k in value.keywords if k.arg == "default_factory"), None)
        return "…" if factory is None else f"{ast.unparse(factory)}()" if isinstance(factory, ast.Name) else "…"
    return ast.unparse(value)


def _comment_above(lines: list[str], number: int) -> str:
    words: list[str] = []
    for line in reversed(lines[: number - 1]):
        if not line.strip().startswith("#:"):
            break
        words.insert(0, line.strip().removeprefix("#:").strip())
    return " ".join(words)


def signature(node: Function) -> str:
    """The signature as it is written, without `self`; a property without brackets."""
    return_text = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        return f"{node.name}{return_text}"
    arguments = ast.parse(f"def f({ast.unparse(node.args)}): ...").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    if arguments.args.args and arguments.args.args[0].arg in ("self", "cls"):
        del arguments.args.args[0]
    is_async = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{is_async}{node.name}({ast.unparse(arguments.args)}){return_text}"


def promise(node: Function | ast.ClassDef) -> str:
    """The docstring, its paragraphs as they are."""
    text = ast.get_docstring(node) or ""
    return text.strip()


def _indent(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.splitlines()] + [""]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    else:
        print(page())
