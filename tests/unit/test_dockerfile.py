"""The image holds the whole application, nothing else of this folder, and only locked packages."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile as pairs of keyword and rest, continued lines joined."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(word.upper(), " ".join(rest.split())) for word, rest in pairs]


IMAGE = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
LAST_FROM = max(place for place, (word, _) in enumerate(IMAGE) if word == "FROM")
FINAL = IMAGE[LAST_FROM:]
IGNORE = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


def said(word: str, stage: list[tuple[str, str]]) -> list[str]:
    return [rest for found, rest in stage if found == word]


def copied(stage: list[tuple[str, str]]) -> set[str]:
    """What a stage takes from this folder."""
    return {name for rest in said("COPY", stage) if "--from=" not in rest for name in rest.split()[:-1]}


def test_packages_are_built_in_a_stage_of_their_own() -> None:
    assert len(said("FROM", IMAGE)) == 2
    assert "--from=packages /opt/venv /opt/venv" in said("COPY", FINAL)


def test_packages_are_installed_by_hash_and_never_compiled() -> None:
    (install,) = [rest for rest in said("RUN", IMAGE) if "pip install" in rest]

    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(install.split())
    assert not re.search(r"apt-get|gcc|build-essential", " ".join(rest for _, rest in IMAGE))


def test_the_lock_is_copied_before_the_sources() -> None:
    """A changed source leaves the layer of packages as it is."""
    assert copied(IMAGE[:LAST_FROM]) == {"requirements/app.txt"}
    assert "requirements/app.txt" not in copied(FINAL)


def test_every_package_of_the_project_is_in_the_image() -> None:
    packages = {name.split(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    modules = {f"{name}.py" for name in PROJECT["tool"]["setuptools"]["py-modules"]}

    assert copied(FINAL) == packages | modules


def test_a_folder_keeps_its_name_in_the_image() -> None:
    for rest in said("COPY", FINAL):
        *options, source, target = rest.split()
        assert options or target in {f"./{source}", "./"}


@pytest.mark.parametrize("source", sorted(copied(IMAGE)))
def test_what_is_copied_exists_and_is_sent_to_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in IGNORE


def test_nothing_else_is_sent_to_the_builder() -> None:
    allowed = {line[1:] for line in IGNORE if line.startswith("!")}

    assert IGNORE[0] == "*"
    assert allowed == copied(IMAGE)


def test_the_process_is_not_root() -> None:
    (user,) = said("USER", FINAL)

    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert FINAL.index(("USER", user)) > max(place for place, (word, _) in enumerate(FINAL) if word in {"RUN", "COPY"})


def test_the_command_is_the_process_itself_and_is_told_to_stop_as_celery_expects() -> None:
    assert json.loads(said("CMD", FINAL)[0])[0] == "celery"
    assert not said("ENTRYPOINT", FINAL)
    assert said("STOPSIGNAL", FINAL) == ["SIGTERM"]


def test_logs_leave_at_once_and_litellm_fetches_nothing() -> None:
    environment = dict(pair.split("=", 1) for rest in said("ENV", FINAL) for pair in rest.split())

    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert environment["LITELLM_MODE"] == "PRODUCTION"


def test_the_lock_pins_every_dependency_with_a_hash() -> None:
    text = (ROOT / "requirements" / "app.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and line.lstrip()[0] != "#"]

    wanted = set(map(distribution, PROJECT["project"]["dependencies"]))

    assert all(re.match(r"[\w.\[\]-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
    assert wanted <= set(map(distribution, pins))


def distribution(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
