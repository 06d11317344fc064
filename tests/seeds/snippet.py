"""Runs the documents' own snippets, letter by letter.

What stays true: a file in `snippets/` is one snippet as it was published, with `threadmill` as the
package that it imports from. Whatever else a test must repair is a replacement that it names, and
`docs/reference/seed-snippets.md` lists it.
"""

import ast
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import threadmill

FOLDER = Path(__file__).parent / "snippets"


async def run(
    name: str, given: Mapping[str, Any] | None = None, *, repairs: Mapping[str, str] | None = None
) -> SimpleNamespace:
    """Run a snippet, with `await` at the top level as notebooks allow it.

    `given` holds the names that earlier snippets of the document define; the public names that those
    imported are always there. Returns every name that there is afterwards.
    """
    source = (FOLDER / f"{name}.txt").read_text()
    for broken, repaired in (repairs or {}).items():
        assert broken in source, f"{broken!r} is not in the snippet {name}"
        source = source.replace(broken, repaired)
    names: dict[str, Any] = {"__name__": f"snippet_{name}"}
    for public in ("Agent", "Thread", "Message", "ThreadStore", "FileStore"):
        names[public] = getattr(threadmill, public)
    names |= given or {}
    code = compile(source, f"{name}.txt", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(code, names)
    if inspect.iscoroutine(outcome):
        await outcome
    return SimpleNamespace(**names)
