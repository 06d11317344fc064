"""Files that tools return: the model reads what they are, the result carries their bytes."""

import hashlib
import json
from typing import Any

import pytest

from agent.tools.produced_file import ProducedFile
from agent.tools.result import ToolResult
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool
from agent.tools.toolbox import run
from conversation.errors import InvalidInput

CONTEXT = RunContext(tenant="acme", thread_id="t-1", turn_id="turn-1", call_id="call-1")
CHART = ProducedFile("chart.png", b"\x89PNG\xff", "image/png")
TABLE = ProducedFile("table.csv", b"a,b\n")
CHART_TOLD = {
    "attached": "chart.png",
    "media_type": "image/png",
    "size_bytes": 5,
    "sha256": hashlib.sha256(b"\x89PNG\xff").hexdigest(),
}
TABLE_TOLD = {
    "attached": "table.csv",
    "media_type": "application/octet-stream",
    "size_bytes": 4,
    "sha256": hashlib.sha256(b"a,b\n").hexdigest(),
}


async def call(value: object, *, in_thread: bool = False) -> ToolResult:
    async def on_loop() -> Any:
        return value

    made = Tool.from_function((lambda: value) if in_thread else on_loop, name="probe")
    return await run(made, "", CONTEXT, executor=ToolThreads(1))


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize(
    ("value", "told", "files"),
    [
        (CHART, CHART_TOLD, (CHART,)),
        ([CHART, TABLE], [CHART_TOLD, TABLE_TOLD], (CHART, TABLE)),
        ((CHART,), [CHART_TOLD], (CHART,)),
        ({"rows": 2, "files": [TABLE]}, {"rows": 2, "files": [TABLE_TOLD]}, (TABLE,)),
        ({"rows": 2}, {"rows": 2}, ()),
    ],
)
async def test_a_file_is_described_in_its_place_and_carried_beside_the_text(
    value: object, told: object, files: tuple[ProducedFile, ...], in_thread: bool
) -> None:
    result = await call(value, in_thread=in_thread)

    assert result.outcome == "finished"
    assert json.loads(result.content) == told
    assert result.files == files


async def test_a_result_that_holds_itself_is_an_error() -> None:
    circle: list[object] = [CHART]
    circle.append(circle)

    result = await call(circle)

    assert result.outcome == "failed"
    assert result.files == ()


@pytest.mark.parametrize("name", ["", "../up", "/etc/passwd", "a\\b", "a\x00b", "x" * 300])
def test_a_file_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"attachments\.filename"):
        ProducedFile(name, b"x")


def test_a_file_becomes_an_attachment_with_its_bytes() -> None:
    attachment = CHART.to_attachment()

    assert (attachment.filename, attachment.content, attachment.media_type) == (
        "chart.png",
        b"\x89PNG\xff",
        "image/png",
    )
    assert attachment.sha256 == CHART.sha256


def test_a_file_does_not_show_its_bytes() -> None:
    assert "PNG" not in repr(CHART)
