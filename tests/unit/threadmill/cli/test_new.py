"""`threadmill new`: what it makes works, and what it refuses it leaves alone."""

import importlib
import subprocess
import sys
import tomllib
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values

from agent import registry
from conversation.errors import InvalidInput
from store.settings import Settings, variable
from threadmill.cli.new import PLACES, choose_module, new

ROOT = Path(__file__).parents[4]
TEMPLATES = ROOT / "threadmill" / "project_template"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project called book-shop, importable."""
    new(tmp_path / "book-shop")
    monkeypatch.syspath_prepend(tmp_path / "book-shop")
    monkeypatch.setattr(registry, "_agents", {})
    yield tmp_path / "book-shop"
    for name in [name for name in sys.modules if name.startswith(("book_shop", "test_book_shop"))]:
        del sys.modules[name]


def test_its_test_passes_and_a_worker_would_find_its_agent(project: Path) -> None:
    suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module("test_book_shop"))
    result = unittest.TestResult()

    suite.run(result)

    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    variables = dotenv_values(project / ".env")
    modules = (variables["THREADMILL_AGENT_MODULES"] or "").split(",")
    assert variables["THREADMILL_DEFAULT_AGENT"] in registry.load(modules)


def test_its_settings_are_settings_and_its_secrets_are_its_owners_alone(project: Path) -> None:
    variables = dotenv_values(project / ".env")
    compose = (ROOT / "docker-compose.yml").read_text()
    asked = {name for name in variables if f"${{{name}:?" in compose}

    assert {name for name in variables if name.startswith("THREADMILL_")} <= {*map(variable, Settings.model_fields)}
    assert {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "FLOWER_BASIC_AUTH", "THREADMILL_S3_SECRET_ACCESS_KEY"} <= asked
    assert all(variables.values())
    assert (project / ".env").stat().st_mode & 0o777 == 0o600
    assert ".env" in (project / ".gitignore").read_text().split()


def test_its_compose_file_adds_to_services_that_are_there(project: Path) -> None:
    ours = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    theirs = yaml.safe_load((project / "docker-compose.override.yml").read_text())

    assert set(theirs["services"]) == {name for name, service in ours.items() if "OPENAI_API_KEY" in str(service)}
    assert theirs["services"]["worker"]["volumes"] == ["${PWD}/book_shop:/app/book_shop:ro"]


def test_its_readme_is_short_and_what_it_has_is_clean(project: Path) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "."]
    checked = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    assert len((project / "README.md").read_text().splitlines()) <= 10
    assert checked.stdout == ""


def test_templates_are_all_used_and_are_installed_with_the_package() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]

    assert {path.name for path in TEMPLATES.iterdir()} == {f"{name}.tmpl" for name in PLACES}
    assert "project_template/*.tmpl" in data["threadmill"]


@pytest.mark.parametrize(
    "name",
    ["", "Shop", "a b", "1shop", "shop-", "a--b", "shöp", "a.b", "x" * 41, "class", "match", "json", "store", "agent",
     "celery", "openai", "threadmill", "tests"],
)  # fmt: skip
def test_a_name_that_would_be_in_somebodys_way_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^folder: "):
        choose_module(name)


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "notes").write_text("mine")
    (tmp_path / "market").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("shop", "market"):
        with pytest.raises(InvalidInput, match="name a new folder"):
            new(tmp_path / name)

    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["notes"]
    assert (tmp_path / "market").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bazaar").mkdir()
    monkeypatch.chdir(tmp_path / "bazaar")

    new(Path())

    assert (tmp_path / "bazaar" / "bazaar" / "agent.py").is_file()
