"""The stack that runs in this folder: a second terminal works with it, without a word.

What stays true: what the environment says wins; a stack is used only while it lives, and only out of files
that nobody else may write or read.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

#: Where `threadmill up` keeps what it runs, in the folder in which it is started.
DIRECTORY = Path(".threadmill")
#: The addresses of one installation: they go together.
DATABASE_URL, BROKER_URL, FILE_STORE_URL = (
    "THREADMILL_DATABASE_URL",
    "THREADMILL_BROKER_URL",
    "THREADMILL_FILE_STORE_URL",
)
#: Advice by what a driver, or the store, says of a database that is there.
ADVICE = {
    "does not have the schema": "run `threadmill migrate`",
    "unable to open database file|file is not a database": f"check the path in {DATABASE_URL}",
    r"authentication failed|no password supplied|(role|database) \"[^\"]*\" does not exist": (
        f"check user, password and name of the database in {DATABASE_URL}"
    ),
}
#: What drivers say where nothing listens.
ABSENCE = "Connection refused|closed the connection|timeout expired|No route to host|resolve|not known|No such file"


def adopt(directory: Path = DIRECTORY) -> None:
    """Set the variables of the stack that runs here, unless the environment names another database."""
    variables = find(directory)
    if _is_set(DATABASE_URL) and os.environ.get(DATABASE_URL) != variables.get(DATABASE_URL):
        return
    for name, value in variables.items():
        if not _is_set(name):
            os.environ[name] = value


def find(directory: Path = DIRECTORY) -> Mapping[str, str]:
    """The variables of the stack that runs in a folder; none where none does."""
    if not directory.is_dir():
        return {}
    from threadmill.embedded.home import ENVIRONMENT_FILE, Home

    home = Home(directory)
    text = home.read_private(ENVIRONMENT_FILE) if home.is_owned() else None
    try:
        return dict(json.loads(text or "{}"))
    except ValueError:
        # No command stops because somebody edited the file.
        return {}


def add_advice(problem: str) -> str:
    """The problem of a database, with what to do about it."""
    advice = advise(problem)
    return problem if advice is None else f"{problem}; {advice}"


def advise(problem: str, directory: Path = DIRECTORY) -> str | None:
    """Advice for a database that answers nobody, or not us; None where the problem says it, or nobody knows."""
    for pattern, advice in ADVICE.items():
        if re.search(pattern, problem):
            return advice
    if not re.search(ABSENCE, problem):
        return None
    start = "start one with `threadmill up` (`make up` in a checkout)"
    if not _is_set(DATABASE_URL):
        return f"no stack runs in this folder, and {DATABASE_URL} is not set: {start}, or set it"
    if os.environ.get(DATABASE_URL) == find(directory).get(DATABASE_URL):
        return f"the stack of this folder keeps its logs in {directory / 'logs'}"
    return f"{DATABASE_URL} points there: start that database, or unset the variable and {start}"


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(name.replace("THREADMILL_", "NARRATOR_")))
