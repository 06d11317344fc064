"""`threadmill doctor`, as a person and as a cron job run it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from store.blobs import LocalBlobs
from store.doctor import CHECKS
from tests.command import run_command
from tests.integration.store.doctor.conftest import Site


class Terminal:
    """Runs the command on the site."""

    def __init__(self, site: Site, files: Path) -> None:
        self.folder = files.parent
        self.environment = {
            "PATH": os.environ["PATH"],
            "THREADMILL_DATABASE_URL": site.database.settings.database_url.get_secret_value(),
            "THREADMILL_FILE_STORE_URL": str(files),
        }

    def doctor(self, *arguments: str, status: int) -> subprocess.CompletedProcess[str]:
        done = run_command("doctor", *arguments, folder=self.folder, environment=self.environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done


@pytest.fixture
def terminal(site: Site, files: LocalBlobs) -> Terminal:
    return Terminal(site, files.base)


def test_a_healthy_store_is_status_0(site: Site, terminal: Terminal) -> None:
    site.answered()
    site.save_file(thread="u")

    told = terminal.doctor(status=0)

    assert told.stdout == f"{len(CHECKS)} checks, 0 findings, 0 still open\n"


def test_what_is_wrong_is_status_1_until_it_is_repaired(site: Site, terminal: Terminal) -> None:
    site.answered()
    site.change(last_seq=1)

    looked = terminal.doctor(status=1)
    mended = terminal.doctor("--repair", status=0)
    after = terminal.doctor(status=0)

    assert (
        "tenant=default thread=t: last_seq is 1, the newest message stands at 2 [found]\n"
        "  what helps: the thread's last_seq is moved to its newest message\n"
    ) in looked.stdout
    assert "can be mended with --repair" in looked.stdout
    assert "[repaired: last_seq was set to 2]" in mended.stdout
    assert after.stdout.startswith(f"{len(CHECKS)} checks, 0 findings")


def test_what_cannot_be_repaired_stays_status_1_unless_it_is_left_out(site: Site, terminal: Terminal) -> None:
    sha256 = site.save_file()
    site.files.delete("default", sha256)

    mended = terminal.doctor("--repair", status=1)

    assert "[left]" in mended.stdout
    assert "restore the bytes from a backup" in mended.stdout
    terminal.doctor("--skip", "blob-without-object", status=0)
    terminal.doctor("--check", "last-seq-behind", "--check", "turn-unclaimed", status=0)


def test_programs_are_told_in_json(site: Site, terminal: Terminal) -> None:
    site.answered()
    site.change(last_seq=1)

    looked = json.loads(terminal.doctor("--json", status=1).stdout)
    mended = json.loads(terminal.doctor("--json", "--repair", "--tenant", "default", status=0).stdout)

    assert (looked["healthy"], looked["complete"], len(looked["checks"])) == (False, True, len(CHECKS))
    found = {check["check"]: check["findings"] for check in looked["checks"]}
    assert found["last-seq-behind"] == [
        {
            "ids": {"tenant": "default", "thread": "t"},
            "detail": "last_seq is 1, the newest message stands at 2",
            "repairable": True,
            "outcome": "found",
            "done": "",
        }
    ]
    assert mended["healthy"]
    assert {note["outcome"] for check in mended["checks"] for note in check["findings"]} == {"repaired"}


def test_a_look_that_was_cut_short_by_time_is_never_called_healthy(site: Site, terminal: Terminal) -> None:
    site.answered()

    # The clock runs from before the first statement on.
    told = terminal.doctor("--json", "--seconds", "0.000001", status=3)

    report = json.loads(told.stdout)
    assert (report["healthy"], report["complete"]) == (False, False)


def test_a_look_at_only_the_newest_threads_is_as_asked_for(site: Site, terminal: Terminal) -> None:
    site.answered("t")
    site.answered("u")

    told = terminal.doctor("--threads", "1", status=0)

    assert "last-seq-behind: nothing found; left out by the bound on threads\n" in told.stdout


def test_what_a_dead_worker_left_behind_counts_after_the_time_that_is_asked_for(site: Site, terminal: Terminal) -> None:
    dead = site.worker()
    site.send()
    site.claim(dead)
    site.kill(dead)

    terminal.doctor("--older-than", "3600", status=0)

    assert "turn-without-lease" in terminal.doctor("--older-than", "0", status=1).stdout


def test_a_file_store_that_is_away_is_status_1(site: Site, terminal: Terminal) -> None:
    site.save_file()
    terminal.environment |= {
        "THREADMILL_FILE_STORE_URL": "s3://none",
        "THREADMILL_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "THREADMILL_S3_ACCESS_KEY_ID": "key",
        "THREADMILL_S3_SECRET_ACCESS_KEY": "hushed",
    }

    told = terminal.doctor(status=1)

    assert "blob-without-object: could not be examined" in told.stdout
    assert "hushed" not in told.stdout + told.stderr


def test_what_is_wrong_with_the_call_or_the_database_is_one_line(terminal: Terminal, tmp_path: Path) -> None:
    assert "check: is 'nothing'" in terminal.doctor("--check", "nothing", status=1).stderr
    terminal.doctor("--limit", "0", status=2)
    terminal.environment["THREADMILL_DATABASE_URL"] = f"sqlite:///{tmp_path}/new.db"

    told = terminal.doctor(status=1)

    assert told.stderr.startswith("threadmill: ")
    assert len(told.stderr.splitlines()) == 1
