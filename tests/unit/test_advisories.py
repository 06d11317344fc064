"""No locked version is one that an advisory names: the file that is kept, and the check that reads it."""

import importlib.util
import json
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 29)
HEAD = f"checked = {TODAY}\n"
ADVISORY = '\n[[advisory]]\necosystem = "{}"\npackage = "{}"\nids = ["CVE-1", "GHSA-1"]\naffected = {}\n'
EXCEPTION = '\n[[exception]]\nids = ["GHSA-1"]\nreason = "not reached"\nuntil = {}\n'


@pytest.fixture(scope="module")
def advisories() -> ModuleType:
    spec = importlib.util.spec_from_file_location("advisories", ROOT / "requirements" / "advisories.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that locks one package of each kind."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "app.txt").write_text("Some.Package==1.5.0 \\\n    --hash=sha256:00\nother==2.0\n")
    (tmp_path / "clients" / "web").mkdir(parents=True)
    lock = {"packages": {"": {"version": "9"}, "node_modules/a/node_modules/@x/y": {"version": "3.1.0"}}}
    (tmp_path / "clients" / "web" / "package-lock.json").write_text(json.dumps(lock))
    return tmp_path


def test_no_version_that_is_locked_here_is_named_without_an_exception(advisories: ModuleType) -> None:
    known, exceptions, checked = advisories.read_file()

    problems, _ = advisories.check(today=checked)

    assert problems == []
    assert len(advisories.find_locked()) > 200
    locked = {package for _, package in advisories.find_locked()}
    assert {each.package for each in known} <= locked
    assert exceptions.keys() <= {name for each in known for name in each.ids}


@pytest.mark.parametrize(
    ("advisory", "is_named"),
    [
        (("python", "some-package", '["<1.5.1"]'), True),
        (("python", "some-package", '["<1.5.0", ">=1.6"]'), False),
        (("python", "some-package", '["==1.5"]'), True),
        (("npm", "some-package", '["<1.5.1"]'), False),
        (("npm", "@x/y", '[">=3,<3.1.1"]'), True),
        (("npm", "@x/y", '[">=0,<4.0.0-next.3"]'), True),
        (("python", "unlocked", '["<99"]'), False),
    ],
)
def test_a_version_that_an_advisory_names_is_a_problem(
    advisories: ModuleType, project: Path, advisory: tuple[str, str, str], is_named: bool
) -> None:
    file = project / "advisories.toml"
    file.write_text(HEAD + ADVISORY.format(*advisory))

    problems, warnings = advisories.check(project, file, today=TODAY)

    assert [advisory[1] in line and "CVE-1" in line for line in problems] == [True] * is_named
    assert warnings == []


def test_time_alone_fails_nothing_and_is_told(advisories: ModuleType, project: Path) -> None:
    file = project / "advisories.toml"
    file.write_text(HEAD + EXCEPTION.format("2026-12-31") + ADVISORY.format("python", "other", '["<3"]'))

    now = advisories.check(project, file, today=TODAY)
    late = advisories.check(project, file, today=TODAY + timedelta(days=100))

    assert now == ([], [])
    assert late[0] == []
    assert ["exception ended" in late[1][0], "--refresh" in late[1][1]] == [True, True]


def test_the_file_is_written_anew_out_of_records_and_keeps_its_exceptions(
    advisories: ModuleType, project: Path, tmp_path: Path
) -> None:
    file, records = project / "advisories.toml", tmp_path / "records"
    file.write_text(HEAD + EXCEPTION.format("2026-12-31") + ADVISORY.format("python", "gone", '["<3"]'))
    records.mkdir()
    events = [{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.4"}, {"last_affected": "1.5.0"}]
    record = {
        "id": "PYSEC-1",
        "aliases": ["CVE-2"],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "some_package"},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            },
            {"package": {"ecosystem": "npm", "name": "@x/y"}, "versions": ["3.1.0"]},
            {"package": {"ecosystem": "PyPI", "name": "unlocked"}, "versions": ["1"]},
            {"package": {"ecosystem": "Go", "name": "other"}, "versions": ["2.0"]},
        ],
    }
    (records / "one.json").write_text(json.dumps(record))
    (records / "two.yaml").write_text("id: X\nwithdrawn: 2026-01-01\naffected: []\n")
    later = TODAY + timedelta(days=1)

    advisories.refresh(records, project, file, today=later)

    known, exceptions, checked = advisories.read_file(file)
    assert (checked, exceptions) == (later, {"GHSA-1": date(2026, 12, 31)})
    assert [(each.package, each.ids, each.affected) for each in sorted(known)] == [
        ("@x/y", ("PYSEC-1", "CVE-2"), ("==3.1.0",)),
        ("some-package", ("PYSEC-1", "CVE-2"), (">=0,<1.0", ">=1.4,<=1.5.0")),
    ]
    problems, _ = advisories.check(project, file, today=later)
    assert len(problems) == 2


def test_the_command_fails_for_a_version_that_is_planted(
    advisories: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "requirements" / "app.txt").write_text("filelock==3.19.1\n")
    monkeypatch.setattr(advisories.check, "__defaults__", (tmp_path, advisories.FILE))

    status = advisories.main([])

    assert status == 1
    assert "filelock 3.19.1: CVE-2025-68146" in capsys.readouterr().err
