"""Makes `settings.md` out of the settings: `python docs/reference/make_settings.py --write`.

What stays true: nothing is written twice. Names, defaults and bounds come from `Settings` itself,
the words from the comments above its fields; a test compares the page with what is made here.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from store.settings import OLD_PREFIX, Settings, variable

PAGE = Path(__file__).with_name("settings.md")
INTRODUCTION = f"""\
# Settings

Every process reads these variables once, when it starts. A variable that is not set, or empty,
takes its default. A wrong value stops the process with one line for each, as does a variable whose
name is nearly that of a setting; passwords and keys are never shown.

With `_FILE` at its end a variable names the file that holds the value, as Docker, Kubernetes and systemd hand out
secrets: `THREADMILL_DATABASE_URL_FILE=/run/secrets/database_url`. Workers read the keys of model providers from files
as well (`OPENAI_API_KEY_FILE`).

The variables marked † are also read under the prefix `{OLD_PREFIX}`.

This page is made by `python docs/reference/make_settings.py --write`.

| Variable | Default | Unit | Meaning |
|---|---|---|---|
"""

#: The unit of a setting, by the first word of its sentence.
UNITS = {"Seconds": "seconds", "Bytes": "bytes", "Days": "days"}

_COMMENT = re.compile(r"\s*#: (.*)")
_FIELD = re.compile(r"    (\w+): ")


def page() -> str:
    """The whole page, as Markdown."""
    return INTRODUCTION + "".join(f"{row}\n" for row in rows())


def rows() -> Iterator[str]:
    """One row of the table for each setting, in the order of the file."""
    meaning_of = meanings()
    for name, field in Settings.model_fields.items():
        mark = " †" if isinstance(field.validation_alias, AliasChoices) else ""
        meaning = meaning_of.get(name, "")
        yield f"| `{variable(name)}`{mark} | {_default(field)} | {_unit(field, meaning)} | {meaning} |"


def meanings() -> dict[str, str]:
    """The comment above each field, out of the groups that the settings are made of."""
    groups = [group for group in Settings.__mro__ if group.__module__.startswith("store.settings.")]
    comments: dict[str, str] = {}
    lines: list[str] = []
    for line in "".join(map(inspect.getsource, groups)).splitlines():
        if comment := _COMMENT.match(line):
            lines.append(comment[1])
        elif lines:
            if field := _FIELD.match(line):
                comments[field[1]] = " ".join(lines)
            lines = []
    return comments


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(value)
    return "empty" if value == "" else f"`{value}`"


def _unit(field: FieldInfo, meaning: str) -> str:
    if field.annotation in (int, float):
        return UNITS.get(meaning.partition(" ")[0], "count")
    if field.annotation is bool:
        return "true or false"
    return "list" if str(field.annotation).startswith("tuple") else "text"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    else:
        print(page(), end="")
