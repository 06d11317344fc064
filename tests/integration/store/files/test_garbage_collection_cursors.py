"""Where a collection ended: the next run goes on there, misses nothing, and nobody reads a file's hash."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from store import tables
from store.blobs import LocalBlobs
from store.database.column_types import clock
from store.database.engine import Database
from store.files import garbage_collection
from store.settings import load
from tasks.jobs import collect_files

#: Files by tenant: one that fills many runs, and some that fill none.
FILES = {"acme": 200, "b1": 3, "b2": 3, "b3": 3, "zeta": 60}
#: Files of one run.
RUN = 20


@pytest.fixture(autouse=True, params=[2, 0], ids=["", "crowded"])
def small_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # With none, more files begin alike than a run looks at.
    monkeypatch.setattr(collect_files, "CURSOR_HASH_CHARS", request.param)
    monkeypatch.setattr(collect_files, "LISTED_OBJECTS_MAX", RUN)
    monkeypatch.setattr(garbage_collection, "SCAN_ROWS", RUN)


def hashes() -> list[tuple[str, str, bytes]]:
    contents = [(tenant, f"{tenant} {number}".encode()) for tenant, n in FILES.items() for number in range(n)]
    return [(tenant, hashlib.sha256(content).hexdigest(), content) for tenant, content in contents]


def path_of(folder: Path, tenant: str, sha256: str) -> Path:
    return folder / "files" / tenant / "sha256" / sha256[:2] / sha256[2:]


def runs(database: Database, folder: Path) -> list[dict[str, Any]]:
    """Runs of the schedule from one end to the other, each with what the one before left as JSON."""
    settings = load(
        database_url=database.settings.database_url, file_store_url=str(folder / "files"), blob_grace_days=7
    )
    outcomes: list[dict[str, Any]] = [{}]
    while len(outcomes) < 200:
        done = collect_files.run_scheduled_collection(database, settings, json.loads(json.dumps(outcomes[-1])))
        outcomes.append(done)
        if done["rows_after"] is None and done["listing_after"] is None:
            break
    return outcomes[1:]


def check(outcomes: list[dict[str, Any]], place: str) -> None:
    """It came to an end, in not many more runs than there are files for, and named none of them."""
    ends = [number for number, each in enumerate(outcomes, start=1) if each[place] is None]
    assert ends != []
    assert ends[0] <= 3 * sum(FILES.values()) / RUN
    told = [each[place][1] for each in outcomes if each[place] is not None]
    assert len(told) > 5
    for tenant, sha256, _ in hashes():
        assert not [each for each in told if each[:8] == sha256[:8]], tenant


@pytest.mark.soak
def test_no_bytes_without_a_row_are_missed(any_database: Database, tmp_path: Path) -> None:
    files = LocalBlobs(tmp_path / "files")
    for tenant, sha256, content in hashes():
        files.put(tenant, sha256, content, "text/plain")
        os.utime(path_of(tmp_path, tenant, sha256), (0, 0))

    outcomes = runs(any_database, tmp_path)

    check(outcomes, "listing_after")
    assert any_database.run(lambda c: c.execute(select(func.count(tables.blobs.c.sha256))).scalar_one()) == sum(
        FILES.values()
    )


def test_no_row_without_a_message_is_missed(any_database: Database, tmp_path: Path) -> None:
    values = [
        {"tenant": tenant, "sha256": sha256, "size": 1, "media_type": "text/plain", "created_at": clock()}
        for tenant, sha256, _ in hashes()
    ]
    any_database.run(lambda c: c.execute(insert(tables.blobs).values(values)))

    outcomes = runs(any_database, tmp_path)

    check(outcomes, "rows_after")
    noted = select(func.count()).where(tables.blobs.c.unreferenced_since.is_not(None))
    assert any_database.run(lambda c: c.execute(noted).scalar_one()) == len(values)
