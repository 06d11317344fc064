"""The variables of the environment: their names, and names that are nearly theirs."""

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from pydantic import AliasChoices

from store.settings.secret_files import SUFFIX

PREFIX = "THREADMILL_"
#: Older deployments of this design used this prefix, for the fields that have `old_aliases`.
OLD_PREFIX = "NARRATOR_"
#: How alike two names are (0 to 1) before one of them is taken for a slip of the other.
SLIP_RATIO = 0.85


def variable(field: str) -> str:
    """The environment's name of a setting."""
    return f"{PREFIX}{field.upper()}"


def old_aliases(field: str) -> AliasChoices:
    """Both names of a setting that older deployments have, too."""
    return AliasChoices(variable(field), f"{OLD_PREFIX}{field.upper()}")


def name_in_use(field: str) -> str:
    """The variable under the prefix with which it was set."""
    old = f"{OLD_PREFIX}{field.upper()}"
    in_use = {name.upper() for name, value in os.environ.items() if value}
    return old if old in in_use and variable(field) not in in_use else variable(field)


def list_misspelled(environment: Iterable[str], fields: Collection[str]) -> list[str]:
    """A line for each variable that is nearly the name of a setting. Other variables are ignored."""
    variables = {f"{variable(field)}{suffix}" for field in fields for suffix in ("", SUFFIX)}
    lines = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in variables:
            # The prefix is common to all names: it says nothing about likeness.
            names = [other.removeprefix(PREFIX) for other in variables]
            matches = get_close_matches(name.upper().removeprefix(PREFIX), names, n=1, cutoff=SLIP_RATIO)
            lines += [f"{name}: no setting has this name; {PREFIX}{match} has" for match in matches]
    return lines
