"""The Makefile and the script that runs uv: what a newcomer meets first."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TARGETS = [
    *("help", "demo", "new", "up", "test", "test-fast", "soak", "endurance", "chaos", "check", "bench", "lock", "clean")
]


def make(*arguments: str, folder: Path = CHECKOUT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment | variables, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Path:
    """What `make` needs before anything is installed."""
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    shutil.copytree(CHECKOUT / "requirements", tmp_path / "requirements")
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


@pytest.fixture(scope="module")
def run_uv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_uv", CHECKOUT / "requirements" / "run_uv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_python(folder: Path, script: str) -> str:
    path = folder / "some-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def test_make_lists_every_command_with_a_sentence() -> None:
    listed = make().stdout

    assert re.findall(r"^  make ([a-z-]+) +\S.{10}", listed, re.MULTILINE) == TARGETS


def test_every_command_runs_even_if_a_file_has_its_name() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)

    assert phony is not None
    assert phony[1].split() == TARGETS


def test_a_python_that_is_too_old_is_told_apart(bare_checkout: Path, tmp_path: Path) -> None:
    old = fake_python(tmp_path, 'exec python3 -c "import sys; sys.exit(1)"')

    ended = make("demo", f"PYTHON={old}", folder=bare_checkout)

    assert ended.returncode != 0
    assert f"{old} is no Python 3.11 or newer: name one, as in 'make demo PYTHON=python3.12'" in ended.stderr
    assert not (bare_checkout / ".venv").exists()


def test_a_python_without_venv_is_told_apart(bare_checkout: Path, tmp_path: Path) -> None:
    bare = fake_python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac')

    ended = make("demo", f"PYTHON={bare}", folder=bare_checkout)

    assert ended.returncode != 0
    assert f"{bare} lacks venv or ensurepip" in ended.stderr
    assert not (bare_checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        ("", []),
        ("requirements/demo.txt", ["requirements/demo.txt"]),
        ("requirements/dev.txt", []),
        ("pyproject.toml", ["requirements/demo.txt"]),
        ("requirements/uv.txt", ["requirements/uv.txt", "requirements/demo.txt"]),
    ],
)
def test_only_what_changed_is_installed_again(bare_checkout: Path, changed: str, rebuilt: list[str]) -> None:
    (bare_checkout / ".venv").mkdir()
    files = [path for path in bare_checkout.rglob("*") if path.is_file()]
    stamps = [bare_checkout / ".venv" / name for name in (".uv", ".demo")]
    for age, path in [*((300, path) for path in files), (200, stamps[0]), (100, stamps[1])]:
        path.touch()
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    if changed:
        (bare_checkout / changed).touch()

    planned = make("--dry-run", "demo", folder=bare_checkout).stdout

    assert re.findall(r"--require-hashes -r (\S+)", planned) == rebuilt


def test_a_model_is_handed_on_as_one_word() -> None:
    planned = make("--dry-run", "demo", "MODEL=openai/gpt 5").stdout

    assert "threadmill demo --model 'openai/gpt 5'" in planned


def test_what_is_taken_has_passed_every_test_and_every_check() -> None:
    """What has the marks `soak` or `endurance` runs in the command of that name alone: together they leave none out."""
    commands = ("test", "soak", "endurance")
    marks = {command: re.findall(r' -m (\w+|"[^"]+")(?: |$)', run_by(command)) for command in commands}
    script = (CHECKOUT / ".ci" / "run").read_text()

    assert marks == {
        "test": ["pytest"],
        "soak": ["pytest", '"soak and not endurance"'],
        "endurance": ["pytest", "endurance"],
    }
    assert re.findall(r"^make (.+)$", script, re.MULTILINE) == ["test", "check", "soak"]
    assert all("--durations=20" in run_by(command) for command in commands)


def run_by(command: str) -> str:
    """The last line that a command of the Makefile would run."""
    return make("--dry-run", command).stdout.splitlines()[-1]


def test_no_file_of_the_installation_names_a_host() -> None:
    locks = [path for path in sorted((CHECKOUT / "requirements").iterdir()) if path.is_file()]

    for path in (CHECKOUT / "Makefile", CHECKOUT / ".ci" / "run", *locks):
        assert not re.search(r"https?://", path.read_text()), path


def test_uv_is_told_what_pip_is_configured_to(run_uv: ModuleType, tmp_path: Path) -> None:
    pip = {
        "index-url": "mirror",
        "extra-index-url": "one two",
        "cert": "/ca.pem",
        "find-links": f"{tmp_path} /not/there",
    }

    environment = run_uv.uv_environment({"VIRTUAL_ENV": "/another", "HOME": "/home/me"}, pip)

    assert environment == {
        "HOME": "/home/me",
        "VIRTUAL_ENV": sys.prefix,
        "UV_SYSTEM_CERTS": "1",
        "UV_DEFAULT_INDEX": "mirror",
        "UV_INDEX": "one two",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_FIND_LINKS": str(tmp_path),
    }


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_a_variable_of_uvs_own_wins(run_uv: ModuleType, variable: str) -> None:
    environment = run_uv.uv_environment({variable: "mine"}, {"index-url": "pips"})

    assert [value for value in environment.values() if value in ("mine", "pips")] == ["mine"]


def test_pips_settings_are_read_as_pip_ranks_them(run_uv: ModuleType) -> None:
    listed = """\
:env:.index-url='from-variable'
global.extra-index-url='\\none\\ntwo'
global.cert='/global.pem'
global.index-url='from-file'
install.cert='/install.pem'
freeze.timeout='10'
"""

    assert run_uv.settings_in(listed) == {
        "index-url": "from-variable",
        "extra-index-url": "one two",
        "cert": "/install.pem",
    }
