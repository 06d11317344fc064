"""Runs the Python of one page as a reader would type it: `python -m tests.docs.run_page README.md`.

What stays true: an error names the line of the page; `await` may stand outside of a function, and all
of a page runs on one event loop.
"""

import ast
import asyncio
import inspect
import sys
from pathlib import Path
from types import CodeType

from tests.docs.pages import ROOT, Block, blocks


def main(page: Path) -> None:
    """Run what runs on this page."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in blocks(page):
            if block.runs:
                # A coroutine only where the block itself awaits; else the block may call `asyncio.run`.
                found = eval(_compiled(block), namespace)
                if inspect.iscoroutine(found):
                    runner.run(found)


def _compiled(block: Block) -> CodeType:
    text = "\n" * (block.line - 1) + block.text
    code: CodeType = compile(text, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


if __name__ == "__main__":
    main(ROOT / sys.argv[1])
