"""`threadmill demo`, from its first line to its last."""

import signal
from pathlib import Path

import pytest

from tests.acceptance.command_line import processes_of, read_until, run, started

pytestmark = pytest.mark.soak

GONE = "postgresql://me:s3cret@127.0.0.1:9/gone"
#: What has to be said, in this order.
SAID = (
    "Database, broker, workers, clock, Flower and the gateway start",
    "-> fernhollow-01",
    "ok  5 turns completed",
    "get_product",
    "ok  8 messages stand once, in one order",
    "ok  order-label.png  image/png  9853 bytes  sha256 71e2dd193c60",
    "ok  invoice.pdf  application/pdf  2408 bytes  sha256 e16fe5282e5e",
    "Flower is at http://127.0.0.1:",
    "ok  its API shows the 5 tasks turns.run as SUCCESS",
    "the gateway is at http://127.0.0.1:",
    "turn.started   support, attempt 1",
    "turn.ended     completed",
    "ok  the stream ended with the turn",
    "was killed (SIGKILL)",
    "ok  the turn has not ended",
    "ok  it completed in attempt 2",
    "ok  its 10 messages stand once",
    "ok  effects in the shop's ledger: refund x1, change_address x1",
    "nothing is left running; everything held",
)


@pytest.mark.timeout(180)
def test_the_demo_shows_every_promise_and_leaves_nothing(tmp_path: Path) -> None:
    # As in a shell with the addresses of a stack: the demonstration has servers of its own.
    ended = run("demo", folder=tmp_path, THREADMILL_DATABASE_URL=GONE, THREADMILL_BROKER_URL="redis://127.0.0.1:9/0")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    rest = ended.stdout
    for line in SAID:
        _, found, rest = rest.partition(line)
        assert found, f"{line!r} is missing or comes too early in:\n{ended.stdout}"
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.endurance
@pytest.mark.timeout(180)
def test_a_demo_that_cannot_go_on_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    ended = run("demo", "--model", "nobody/nothing", folder=tmp_path)

    assert ended.returncode == 1
    assert "-> fernhollow-01" in ended.stdout
    assert "failed after" in ended.stdout
    assert "The end of the log of turns:" in ended.stderr
    assert "Traceback" not in ended.stderr.partition("The end of the log")[0]
    kept = next(tmp_path.glob("threadmill-demo-*"))
    assert f"data and logs are kept in {kept}" in ended.stderr
    assert (kept / "logs" / "turns.log").exists()
    assert processes_of(tmp_path) == {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("moment", ["waiting for turns", pytest.param("<- fernhollow-", marks=pytest.mark.endurance)])
def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, moment: str) -> None:
    with started("demo", folder=tmp_path) as demo:
        assert moment in read_until(demo, moment)

        demo.send_signal(signal.SIGINT)

        told, _ = demo.communicate(timeout=40)
    assert demo.returncode == 130
    assert told.endswith("interrupted; everything was stopped\n")
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
