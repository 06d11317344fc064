"""A tenant beside another that sends more than the workers can take: how long it waits, in the order of what begins."""

import threading
from collections.abc import Iterator

import pytest

from conversation.attachment import Attachment
from conversation.turn import TurnState
from tests.acceptance.installation import Installation, eventually, files, worker
from tests.clamd import Clamd, scanning
from tests.tries import check_tries

pytestmark = pytest.mark.soak

HELD = "slow"
#: Files of the one tenant, each of which takes as long as the test wants.
SLOW_FILES = 16
#: Turns of the one tenant, each of which holds its place until its gate opens.
HELD_TURNS = 100
#: Scans that may end.
_released = threading.Semaphore(0)


class SlowScanner(Clamd):
    """Takes its time over what says so."""

    def decide(self, content: bytes) -> str:
        if HELD.encode() in content:
            _released.acquire()
        return super().decide(content)


@pytest.fixture
def slow_scanner() -> Iterator[str]:
    with scanning(SlowScanner) as url:
        yield url
        for _ in range(3 * SLOW_FILES):
            _released.release()


def text_file(text: str) -> Attachment:
    return Attachment(filename="notes.txt", content=text.encode())


def hold(installation: Installation, count: int) -> None:
    for number in range(count):
        installation.send(f"t{number}", f'call hold with {{"gate": "g{number}"}}')


def test_a_small_file_waits_for_one_preparation_and_then_for_none(
    installation: Installation, slow_scanner: str
) -> None:
    installation.start(worker(threads=32), files(), THREADMILL_SCANNER_URL=slow_scanner)
    slow = [
        installation.send(f"t{n}", "What is in it?", attachments=[text_file(f"{HELD} {n}")], agent="reader")
        for n in range(SLOW_FILES)
    ]
    under_way = "SELECT sha256 FROM blobs WHERE preparing_since IS NOT NULL"
    eventually(lambda: len(installation.query(under_way)) == 2)  # alone, it takes all places
    ask = {"tenant": "other", "agent": "reader"}
    first = installation.send("first", "Bring what?", attachments=[text_file("Bring milk.")], **ask)
    eventually(lambda: len(installation.query("SELECT 1 FROM blobs WHERE queue_place IS NOT NULL")) == SLOW_FILES - 1)

    _released.release()
    (answered,) = installation.all_ended([first])
    second = installation.send("second", "Bring what?", attachments=[text_file("Bring bread.")], **ask)
    (answered_too,) = installation.all_ended([second])

    assert "Bring milk" in answered.messages[-1].content
    assert "Bring bread" in answered_too.messages[-1].content
    prepared = installation.query("SELECT tenant FROM blobs WHERE prepared_at IS NOT NULL")
    check_tries(
        "a tenant's sixteen slow files: a neighbour's file that waits for more than one of them",
        tries=2,
        successes=len(prepared) - 3,
    )
    for _ in slow:
        _released.release()
    assert {result.state for result in installation.all_ended(slow)} == {TurnState.COMPLETED}


def test_a_tenants_turns_begin_with_the_next_free_places_whatever_anothers_queue(installation: Installation) -> None:
    installation.start(worker(threads=4), *installation.upkeep())
    hold(installation, HELD_TURNS)
    installation.saw("hold begins", 4)  # alone, it takes all places

    first = installation.send("first", "hello", tenant="other")
    eventually(lambda: "neglected_turns_notified" in installation.logs())
    installation.open_gate("g0")
    (answered,) = installation.all_ended([first])
    # It is known now, and a place stays free for it: nothing has to end first.
    second = installation.send("second", "hello", tenant="other")
    (answered_too,) = installation.all_ended([second])

    assert (answered.state, answered_too.state) == (TurnState.COMPLETED, TurnState.COMPLETED)
    rows = installation.query("SELECT tenant FROM turns WHERE started_at IS NOT NULL ORDER BY started_at")
    begun_before = [row["tenant"] for row in rows].index("other") - 4
    ended_before = len(installation.notes("hold ends")) - 1
    check_tries(
        "a tenant's hundred long turns: a neighbour's turn that waits for more than the next free place",
        tries=2,
        successes=begun_before + ended_before,
    )
