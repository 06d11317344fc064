"""A notebook with a word in every place where one can stand."""

import json
from typing import Any

from tests.marked_files import MarkedFile, mark_of

_PLACES = {
    "the title": "", "an author": "", "the kernel": "", "other metadata": "metadata field",
    "a cell of text": "", "a cell of code": "", "a raw cell": "", "a cell of an unheard-of kind": "",
    "metadata of a cell": "metadata field", "a stream": "", "a result": "", "a table of a result": "",
    "markdown of a result": "", "a formula of a result": "", "JSON of a result": "", "an error": "", "its trace": "",
    "the name of a picture": "picture", "a drawing": "picture", "a widget": "interactive output", "a script": "script",
    "data of its own": "other output", "a line that was written again": "",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the notebook."""
    mark = mark_of
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": [f"\x1b[31m{mark('a stream')}\x1b[0m\n", "x"]},
        {"output_type": "stream", "name": "stderr", "text": f"10%\r{mark('a line that was written again')}\n"},
        _result({"text/plain": mark("a result")}),
        _result({"text/html": f"<table><tr><td>{mark('a table of a result')}</td></tr></table>", "text/plain": "x"}),
        _result({"text/markdown": [mark("markdown of a result")], "text/plain": "<IPython.core object>"}),
        _result({"text/latex": f"${mark('a formula of a result')}$"}),
        _result({"application/json": {"key": mark("JSON of a result")}}),
        _result({"image/svg+xml": f"<svg><text>{mark('a drawing')}</text></svg>", "text/plain": "<Figure>"}),
        _result({"application/vnd.jupyter.widget-view+json": {"model_id": mark("a widget")}}),
        _result({"application/javascript": f"'{mark('a script')}'"}),
        _result({"application/x-own": mark("data of its own")}),
        {"output_type": "error", "ename": "E", "evalue": mark("an error"), "traceback": [mark("its trace")]},
    ]  # fmt: skip
    cells = [
        {
            "cell_type": "markdown", "source": [mark("a cell of text")],
            "metadata": {"tags": [mark("metadata of a cell")]},
            "attachments": {f"{mark('the name of a picture')}.png": {"image/png": "iVBORw0"}},
        },
        {"cell_type": "code", "source": mark("a cell of code"), "metadata": {}, "outputs": outputs},
        {"cell_type": "raw", "source": mark("a raw cell"), "metadata": {}},
        {"cell_type": "other", "source": mark("a cell of an unheard-of kind"), "metadata": {}},
    ]  # fmt: skip
    metadata = {
        "title": mark("the title"), "authors": [{"name": mark("an author")}], "own": mark("other metadata"),
        "kernelspec": {"display_name": mark("the kernel"), "name": "python3"},
    }  # fmt: skip
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return MarkedFile("application/x-ipynb+json", json.dumps(notebook).encode(), _PLACES)


def _result(data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": 1}
