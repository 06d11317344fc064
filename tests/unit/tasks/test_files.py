"""The task that prepares files: which one, how it is read, and what it leaves behind while files wait."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from kombu.exceptions import OperationalError

from conversation.task_contract import PREPARE_FILE
from store.files.file_queue import FileClaim
from store.files.prepared_rows import Preparation
from store.settings import load
from tasks import files
from tasks.celery_app import app
from tasks.neighbours import Neighbours

PREPARATION = Preparation("other", "1" * 64, "text/plain", 1, waits_for_scan=False, is_read=False, attempt=1)
BEGUN = FileClaim(PREPARATION, has_more=True, tenants=frozenset({"default", "other"}))
HELD_BACK = FileClaim(is_held_back=True, tenants=frozenset({"default"}))


class Site:
    """One process of files, with what its claims come to, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
        self.settings = load(database_url="sqlite:///:memory:", **values)
        self.preparer = Mock(return_value=SimpleNamespace(prepare_begun=AsyncMock()))
        self.claims: list[FileClaim] = []
        self.asked: list[dict[str, Any]] = []
        self.requested: list[tuple[str, str]] = []
        self.in_broker = Mock(return_value=0)
        database = SimpleNamespace(close_async=AsyncMock(), run_async=self._claim)
        for name, value in {
            "current": lambda: self.settings,
            "open_file_store": Mock(),
            "Database": Mock(return_value=database),
            "FilePreparer": self.preparer,
            "request_file": lambda *names: self.requested.append(names),
            "count_queued_tasks": self.in_broker,
            "LOOK_SECONDS": 0.0,
            "_neighbours": Neighbours(),
        }.items():
            monkeypatch.setattr(files, name, value)

    async def _claim(self, _: object, **options: Any) -> FileClaim:
        self.asked.append(options)
        return self.claims.pop(0) if len(self.claims) > 1 else self.claims[0]

    def run(self, claims: Sequence[FileClaim]) -> None:
        self.claims = list(claims)
        app.tasks[PREPARE_FILE](v=1, tenant="default", sha256="0" * 64)

    @property
    def prepared(self) -> list[Preparation]:
        return [call.args[0] for call in self.preparer.return_value.prepare_begun.call_args_list]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


@pytest.mark.parametrize(("ocr", "languages"), [("", ""), ("tesseract", "eng+deu")])
def test_the_languages_of_ocr_reach_the_reader(ocr: str, languages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, ocr=ocr, ocr_languages="eng+deu")

    site.run([BEGUN])

    (_, _, read), _ = site.preparer.call_args
    assert read.keywords == {"ocr_languages": languages}


def test_the_file_whose_turn_it_is_is_prepared_and_not_the_one_that_is_named(site: Site) -> None:
    site.run([FileClaim(is_settled=True), BEGUN])

    assert site.prepared == [PREPARATION]


def test_what_waits_behind_it_has_a_task_on_its_way(site: Site) -> None:
    site.run([BEGUN])
    site.in_broker.return_value = 1
    site.run([BEGUN])
    site.in_broker.side_effect = OperationalError
    site.run([BEGUN])

    assert site.requested == [("other", "1" * 64)]
    assert len(site.prepared) == 3


def test_a_process_that_may_take_none_looks_again_and_leaves_a_task_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run([HELD_BACK, HELD_BACK, BEGUN])
    assert (len(site.asked), site.prepared) == (3, [PREPARATION])

    monkeypatch.setattr(files, "PATIENCE_SECONDS", 0.0)
    site.requested.clear()
    site.run([HELD_BACK])
    assert site.requested == [("default", "0" * 64)]


def test_tenants_that_were_seen_count_as_neighbours(site: Site) -> None:
    site.run([BEGUN])
    site.run([FileClaim()])

    assert [options["has_neighbours"] for options in site.asked] == [False, True]
    assert site.asked[1]["after"] == "other"
