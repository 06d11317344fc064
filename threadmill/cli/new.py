"""`threadmill new`: a folder with an agent, a tool, a test and what they need to run.

What stays true: nothing that is there is overwritten; a name that Python, Threadmill or an installed package has
already is refused, as a module of that name would not be found, or would hide theirs.
"""

import importlib.util
import keyword
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

import threadmill_packages
from conversation.errors import InvalidInput

#: Where each template goes.
PLACES = {
    "README.md": "README.md",
    "env": ".env",
    "gitignore": ".gitignore",
    "docker-compose.override.yml": "docker-compose.override.yml",
    "package.py": "{module}/__init__.py",
    "agent.py": "{module}/agent.py",
    "tools.py": "{module}/tools.py",
    "test.py": "test_{module}.py",
}
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
NAME_MAX_CHARS = 40
#: Passwords become parts of URLs: letters and digits.
PASSWORD_BYTES = 24
SECRETS = (
    *("postgres_password", "owner_db_password", "gateway_db_password", "worker_db_password", "maintenance_db_password"),
    *("valkey_password", "producer_broker_password", "gateway_broker_password", "worker_broker_password"),
    *("beat_broker_password", "flower_broker_password", "flower_password", "s3_password"),
)


def new(
    folder: Annotated[Path, typer.Argument(help="The folder to make; its last part is the project's name.")],
) -> None:
    """Make a project of your own: a folder with an agent, a tool and a test."""
    path = folder.resolve()
    module = choose_module(path.name)
    check_free(path)
    values = {"name": path.name, "module": module} | {secret: secrets.token_hex(PASSWORD_BYTES) for secret in SECRETS}
    try:
        write_project(path, values)
    except OSError as error:
        raise InvalidInput("folder", f"{str(path)!r} cannot be written ({error.strerror})", "name another") from None
    print("\n".join(describe_next_steps(path)))


def choose_module(name: str) -> str:
    """Choose the name of the project's package. Raises `InvalidInput` where another module would be in its way."""
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > NAME_MAX_CHARS:
        problem = f"{name!r} is no name of a project"
        fix = f"use up to {NAME_MAX_CHARS} small letters, digits and single - or _ between them; begin with a letter"
        raise InvalidInput("folder", problem, fix)
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        raise InvalidInput("folder", f"{module!r} is a word of Python's own", "choose another name")
    if module in threadmill_packages.NAMES or module == "tests" or _is_importable(module):
        problem = f"a module {module!r} is there already, in Python, in Threadmill or among what is installed"
        raise InvalidInput("folder", problem, "choose another name")
    return module


def check_free(path: Path) -> None:
    """Check that there is nothing at this place but perhaps an empty folder. Raises `InvalidInput`."""
    if path.is_dir():
        if (entry := next(path.iterdir(), None)) is not None:
            raise InvalidInput("folder", f"{str(path)!r} is not empty: it has {entry.name!r}", "name a new folder")
    elif path.exists() or path.is_symlink():
        raise InvalidInput("folder", f"{str(path)!r} is no folder", "name a new folder")


def write_project(path: Path, values: dict[str, str]) -> None:
    """Write the files of a project."""
    templates = files("threadmill") / "project_template"
    for template, place in PLACES.items():
        text = Template((templates / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(values)
        target = path / place.format(module=values["module"])
        target.parent.mkdir(parents=True, exist_ok=True)
        # A file that came in between is left alone. Passwords are never readable to others.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if place == ".env" else 0o666)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


def describe_next_steps(path: Path) -> Iterator[str]:
    """The lines that say how to go on."""
    yield f"made {path}: an agent called {path.name}, a tool and a test"
    yield ""
    yield f"  cd {shlex.quote(min(os.path.relpath(path), str(path), key=len))}"
    programs = Path(sys.executable).parent
    if shutil.which("threadmill") != str(programs / "threadmill"):
        yield f'  export PATH={shlex.quote(str(programs))}:"$PATH"'
    yield "  threadmill dev"


def _is_importable(module: str) -> bool:
    # The folder that is to be made may be there, empty: Python takes that for a package of any name.
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None
