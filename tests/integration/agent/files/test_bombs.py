"""Files that are made to fill or stop who opens them are refused, or read within their limits, and harm nobody else."""

import resource
import time

import pytest

from agent.files.extract import TEXT_MAX_CHARS
from agent.files.prepare import prepare_file
from conversation.errors import FileRejected
from store.media_types.examine import examine
from store.settings import Settings
from tests.integration.agent.files.bombs import MEGABYTE, list_bombs
from tests.tries import check_tries

ALLOWED = (*Settings.model_fields["attachment_types"].default, "*/*")
#: Of processor time, at the gate: far above what any takes, and far below what one that is unpacked takes.
GATE_SECONDS = 8
#: By which this process grows, at most, while one is examined and its text is received.
GROWTH_MAX_BYTES = 400 * MEGABYTE


async def harms(filename: str, content: bytes) -> str | None:
    """What harm a file does, in words; None where it does none."""
    started, size = time.process_time(), _peak_bytes()
    try:
        media_type = examine(filename, content, None, max_bytes=10**8, allowed=ALLOWED)
    except FileRejected:
        media_type = None
    if time.process_time() - started > GATE_SECONDS:
        return "it holds up who accepts it"
    if media_type is not None:
        prepared = await prepare_file(content, media_type)
        if not prepared.is_final:
            return f"its reader ended as the host's: {prepared.note}"
        if len(prepared.text or "") > TEXT_MAX_CHARS + 1000:
            return "its text is longer than any may be"
    return "it fills who accepts it" if _peak_bytes() - size > GROWTH_MAX_BYTES else None


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.endurance
@pytest.mark.timeout(600)
async def test_no_bomb_fills_or_stops_who_opens_it() -> None:
    bombs = list_bombs()

    successes = [
        f"{name}: {harm}" for name, (filename, make) in bombs.items() if (harm := await harms(filename, make()))
    ]

    assert successes == []
    check_tries("bombs: archives, entities, depth, pixels, sizes that lie", tries=len(bombs), successes=len(successes))
