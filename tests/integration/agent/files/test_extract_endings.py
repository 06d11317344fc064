"""How readers of files end: by themselves, by the file, by their limits, or by the host."""

import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.files import extract
from agent.files.extract import Extracted, extract_text
from tests.integration.agent.files.test_extract import PDF, page, pdf


@pytest.fixture
def reader_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replace the program that reads by one of the test's."""

    def replace(program: str) -> None:
        path = tmp_path / "extract_worker.py"
        path.write_text(program)
        monkeypatch.setattr(extract, "_WORKER", path)

    return replace


@pytest.mark.parametrize(
    "program", ["import os; os.abort()", "import os; os.kill(os.getpid(), 11)", "raise ValueError"]
)
async def test_a_reader_that_crashes_is_a_problem(reader_that, program: str) -> None:
    reader_that(f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {program}")

    found = await extract_text(pdf(page("Hello")) * 1000, PDF)

    assert found == Extracted("", problem="The PDF could not be read: it crashed its reader, as a damaged file may.")


async def test_a_reader_that_its_host_kills_may_go_better_next_time(reader_that) -> None:
    reader_that("import os; os.kill(os.getpid(), 9)")

    with capture_logs() as logs:
        found = await extract_text(pdf(page("Hello")), PDF)

    problem = "The PDF could not be read now: its reader was killed, as hosts do that run out of memory."
    assert found == Extracted("", problem=problem, is_final=False)
    assert [(line["event"], line["returncode"]) for line in logs] == [("reader_failed", -9)]


@pytest.mark.parametrize("reader", ["no_such_reader:read", "pdf.document:read"])
async def test_a_reader_that_is_not_installed_is_no_fault_of_the_file(reader: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pypdf.py").write_text("import no_such_thing")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(extract._READERS, PDF, ("PDF", reader))

    with capture_logs() as logs:
        found = await extract_text(pdf(page("Hello")), PDF)

    problem = "The PDF could not be read now: its reader is not installed."
    assert found == Extracted("", problem=problem, is_final=False)
    assert [line["event"] for line in logs] == ["reader_failed"]


async def test_a_reader_that_uses_up_its_time_on_the_processor_is_told_from_one_that_is_killed(reader_that) -> None:
    folder = str(Path(extract.__file__).parent)
    reader_that(
        f"import json, sys; sys.path.append({folder!r}); from extract_worker import restrain; "
        "restrain(json.loads(sys.argv[1]) | {'cpu_seconds': 1})\nwhile True: pass"
    )

    found = await extract_text(pdf(page("Hello")), PDF)

    assert found == Extracted("", problem="The PDF could not be read: it takes too much time.")


async def test_a_reader_sees_no_secret_of_the_environment(reader_that, monkeypatch) -> None:
    monkeypatch.setenv("THREADMILL_DATABASE_URL", "postgresql://user:secret@host/name")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    reader_that("import json, os; print(json.dumps({'text': str(dict(os.environ))}))")

    found = await extract_text(b"", PDF)

    assert "PATH" in found.text
    assert "secret" not in found.text


async def test_a_reader_that_cannot_be_started_is_a_problem(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    found = await extract_text(pdf(page("Hello")), PDF)

    problem = "The PDF could not be read now: No such file or directory."
    assert found == Extracted("", problem=problem, is_final=False)
