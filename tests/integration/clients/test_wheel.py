"""The wheel of the Python client, in an environment of httpx alone, beside a project that has our names itself."""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "clients" / "python"
#: httpx and what it depends on, as the lock files have them.
PACKAGES = ("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "sniffio", "typing_extensions.py")
PROGRAM = """
import sys
import tasks, store
from threadmill_client import AsyncThreadmill, ConnectionLost, Threadmill
with Threadmill("http://127.0.0.1:1", "tm_key", retries=0) as client:
    try:
        client.send_message("a", tasks.QUESTION)
    except ConnectionLost:
        print("told", tasks.__file__, store.__file__)
ours = {"threadmill", "agent", "conversation", "producers", "celery", "sqlalchemy"} & set(sys.modules)
assert not ours, ours
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=folder / "source", check=True, capture_output=True, timeout=100)
    return next(folder.glob("*.whl"))


@pytest.mark.soak
def test_the_wheel_has_its_types_and_needs_httpx_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        (metadata,) = [opened.read(name) for name in opened.namelist() if name.endswith("/METADATA")]
        licences = [name for name in opened.namelist() if name.endswith("/LICENSE")]

    modules = {f"threadmill_client/{path.name}" for path in (SOURCE / "threadmill_client").glob("*.py")}
    assert names == modules | {"threadmill_client/py.typed"}
    told = message_from_bytes(metadata)
    assert (told["Name"], told.get_all("Requires-Dist")) == ("threadmill-client", ["httpx>=0.27"])
    assert (told["Requires-Python"], len(licences)) == (">=3.10", 1)


@pytest.mark.soak
def test_it_works_beside_a_project_with_our_names(wheel: Path, tmp_path: Path) -> None:
    environment, project = tmp_path / "venv", tmp_path / "shop"
    venv.EnvBuilder(symlinks=True).create(environment)
    packages = next(environment.glob("lib/python*/site-packages"))
    for name in PACKAGES:
        installed = Path(sysconfig.get_path("purelib")) / name
        if installed.exists():
            (packages / name).symlink_to(installed)
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(packages)
    (project / "store").mkdir(parents=True)
    (project / "store" / "__init__.py").touch()
    (project / "tasks.py").write_text("QUESTION = 'Where is my parcel?'\n")

    ended = subprocess.run(
        [environment / "bin" / "python", "-W", "error", "-c", PROGRAM],
        cwd=project,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert (ended.stderr, ended.stdout.split()[0]) == ("", "told")
    assert f"{project / 'tasks.py'} {project / 'store' / '__init__.py'}" in ended.stdout


def test_it_imports_httpx_and_what_python_has() -> None:
    imported = {
        name.partition(".")[0]
        for path in (SOURCE / "threadmill_client").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else []
        )
    }  # fmt: skip

    assert imported - sys.stdlib_module_names == {"httpx", "threadmill_client"}


def test_its_version_is_written_once_for_each_reader() -> None:
    from threadmill_client import __version__

    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    assert (project["version"], project["dependencies"]) == (__version__, ["httpx>=0.27"])
