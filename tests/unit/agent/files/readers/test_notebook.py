"""Notebooks of every version are read; what a notebook has wrong costs no more than itself."""

import json
import time
from typing import Any

import pytest

from agent.files.readers import notebook
from agent.files.readers.sections import TextSections, Unreadable


def read(content: Any) -> dict[str, Any]:
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return notebook.read(content, TextSections(time.monotonic() + 30, 100_000))


def output(**fields: Any) -> str:
    cell = {"cell_type": "code", "source": "x", "outputs": [fields]}
    return read({"nbformat": 4, "cells": [cell]})["text"].removeprefix("--- cell 1: code ---\nx\n\nOutput:\n")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"output_type": "stream", "text": ["\x1b[1;31ma\x1b[0m\n", "b"]}, "a\nb"),
        ({"output_type": "stream", "text": "0%\r50%\r100%\r\n"}, "100%"),
        ({"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mt", "E: v"]}, "t\nE: v"),
        ({"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}, "E: v"),
        ({"data": {"text/html": "<b>a</b>", "text/plain": "<IPython.core.display.HTML object>"}}, "a"),
        ({"data": {"text/html": "<table><tr><td>a<td>b</table>", "text/plain": "   a  b"}}, "a | b"),
        ({"data": {"text/plain": ["a\n", "b"]}}, "a\nb"),
    ],
)  # fmt: skip
def test_an_output_is_shown_as_jupyter_shows_it(fields: dict[str, Any], text: str) -> None:
    assert output(**fields) == text


def test_the_third_version_of_the_format_is_read() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": "H"},
        {"cell_type": "code", "input": ["a\n", "b"], "outputs": [{"output_type": "pyout", "text": "c", "png": "x"}]},
    ]

    result = read({"metadata": {"name": "N"}, "nbformat": 3, "worksheets": [{"cells": cells}]})

    assert result["text"] == "Title: N\n\n--- cell 1: heading ---\n## H\n\n--- cell 2: code ---\na\nb\n\nOutput:\nc"
    assert result["left_out"] == {"picture": 1}


def test_what_is_wrong_in_a_notebook_costs_no_more_than_itself() -> None:
    cells = [None, 3, {"cell_type": 5, "source": {}, "outputs": [1, {"data": []}, {"text": None}]}, {"source": "good"}]

    assert read({"metadata": [], "cells": cells})["text"] == "--- cell 4: unknown ---\ngood"
    assert "damaged" in read(b'{"nbformat": 4, "cells": [')["problem"]
    assert "damaged" in read(b"[" * 100_000)["problem"]
    assert "empty" in read({"nbformat": 4, "cells": []})["problem"]
    with pytest.raises(Unreadable):
        read([1])
