"""Files that an agent makes, below its answer in Slack: each once, whatever is lost and whichever process dies."""

import asyncio
from typing import Any

import pytest

from conversation.attachment import Attachment
from producers.slack.file_api import FileApi
from tests.integration.producers.slack.stage import Process, Stage
from tests.stub_slack import payloads
from tests.stub_slack.payloads import CHANNEL

PLOT = Attachment(filename="plot <1>.txt", content=b"a plot", media_type="text/plain")
TABLE = Attachment(filename="table.csv", content=b"a,b\n1,2\n", media_type="text/csv")


async def begin(stage: Stage, *files: Attachment) -> Process:
    """A turn whose tool has made files."""
    process = stage.process()
    await process.deliver(payloads.mention())
    stage.settle_with_files(await stage.take(), *files)
    return process


def shares(stage: Stage) -> list[tuple[str, bytes, str, str | None]]:
    """What people see of files: the name, the bytes, the channel and the thread."""
    slack = stage.slack
    return [(*slack.uploads[file_id], *place) for file_id, place in sorted(slack.shared.items())]


async def test_files_are_shared_below_the_answer_each_once(stage: Stage) -> None:
    again = Attachment(filename="again.txt", content=PLOT.content, media_type="text/plain")
    await begin(stage, PLOT, TABLE, again)

    await stage.sees("Here it is.")
    place = (CHANNEL, "1700000000.000100")
    assert shares(stage) == [("again.txt", b"a plot", *place), ("table.csv", b"a,b\n1,2\n", *place)]
    assert {token for method, _, token in stage.slack.calls if method == "upload"} == {""}


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
@pytest.mark.parametrize("failure", ["lost", "limited", "broken", "file_update_failed"])
async def test_a_call_that_fails_is_made_again_and_doubles_nothing(stage: Stage, method: str, failure: str) -> None:
    stage.slack.fail(method, failure)

    await begin(stage, PLOT)

    await stage.sees("Here it is.")
    assert [name for name, *_ in shares(stage)] == ["plot <1>.txt"]


@pytest.mark.parametrize("after", ["upload", "share"])
async def test_a_process_that_dies_between_two_calls_leaves_one_file(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    hangs, call = asyncio.Event(), getattr(FileApi, after)

    async def call_and_hang(*args: Any) -> None:
        await call(*args)
        hangs.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(FileApi, after, call_and_hang)
        process = await begin(stage, PLOT)
        await asyncio.wait_for(hangs.wait(), 10)
        await process.die()
    await stage.let_claims_end()

    stage.process().app.start()

    await stage.sees("Here it is.")
    assert [name for name, *_ in shares(stage)] == ["plot <1>.txt"]
    assert stage.slack.count("files.completeUploadExternal") == 1


async def test_an_upload_that_slack_has_dropped_meanwhile_is_made_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()

    async def hang(*_: Any) -> None:
        hangs.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(FileApi, "share", hang)
        process = await begin(stage, PLOT)
        await asyncio.wait_for(hangs.wait(), 10)
        await process.die()
    stage.slack.uploads.clear()
    await stage.let_claims_end()

    stage.process().app.start()

    await stage.sees("Here it is.")
    assert [name for name, *_ in shares(stage)] == ["plot <1>.txt"]


@pytest.mark.parametrize(
    ("method", "code"),
    [("files.getUploadURLExternal", "missing_scope"), ("files.completeUploadExternal", "not_in_channel")],
)
async def test_a_file_that_slack_does_not_take_is_named(stage: Stage, method: str, code: str) -> None:
    stage.slack.fail(method, code)

    await begin(stage, PLOT, TABLE)

    await stage.sees("Here it is.", f"_The file `plot &lt;1&gt;.txt` is not here: Slack says {code}._")
    assert [name for name, *_ in shares(stage)] == ["table.csv"]
    assert [row.state for row in stage.rows()] == ["answered"]


async def test_a_file_that_is_too_large_is_named(stage: Stage) -> None:
    process = stage.process(attachment_max_bytes=5)
    await process.deliver(payloads.mention())
    stage.settle_with_files(await stage.take(), PLOT)

    await stage.sees(
        "Here it is.", "_The file `plot &lt;1&gt;.txt` is not here: it has 6 bytes, at most 5 are shared._"
    )
    assert shares(stage) == []
