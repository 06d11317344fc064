"""The task that prepares files hands on how they are to be read."""

from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import pytest

from store.settings import load
from tasks import files


@pytest.mark.parametrize(("ocr", "languages"), [("", ""), ("tesseract", "eng+deu")])
async def test_the_languages_of_ocr_reach_the_reader(ocr: str, languages: str, monkeypatch) -> None:
    settings = load(database_url="sqlite:///:memory:", ocr=ocr, ocr_languages="eng+deu")
    preparer = Mock(return_value=SimpleNamespace(prepare=AsyncMock()))
    monkeypatch.setattr(files, "current", lambda: settings)
    monkeypatch.setattr(files, "open_file_store", Mock())
    monkeypatch.setattr(files, "Database", Mock(return_value=SimpleNamespace(close_async=AsyncMock())))
    monkeypatch.setattr(files, "FilePreparer", preparer)

    await files._prepare("default", "0" * 64)

    (_, _, read), _ = preparer.call_args
    assert read.keywords == {"ocr_languages": languages}
