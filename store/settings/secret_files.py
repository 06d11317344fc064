"""Values out of files: `THREADMILL_DATABASE_URL_FILE` names the file that holds `THREADMILL_DATABASE_URL`.

What stays true: a file is read once, when the settings are, and its content is never shown. That is how
Docker, Kubernetes and systemd hand out secrets; a variable can be read by whoever may look at the process.
"""

import os
from collections.abc import Callable, Collection, Mapping, MutableMapping
from pathlib import Path

from conversation.errors import InvalidSettings

SUFFIX = "_FILE"
#: The ends of other variables that may be given by a file: keys of model providers.
KEY_SUFFIXES = ("_API_KEY", "_SECRET_ACCESS_KEY")
#: Bytes of one value, at most: enough for a chain of certificates.
VALUE_MAX_BYTES = 64 * 1024


def read_settings_files(fields: Collection[str], variable: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """The values of the settings that are given by a file, by field, and a complaint for each wrong one."""
    values, complaints = {}, []
    environment = {name.upper(): value for name, value in os.environ.items()}
    for field in fields:
        name = variable(field)
        if path := environment.get(f"{name}{SUFFIX}"):
            try:
                values[field] = _read_value(name, path, environment)
            except ValueError as error:
                complaints.append(str(error))
    return values, complaints


def export_key_files(environment: MutableMapping[str, str]) -> None:
    """Set `OPENAI_API_KEY` from the file that `OPENAI_API_KEY_FILE` names, and each other provider's key so.

    Model clients read their keys from the environment of this process. Raises `InvalidSettings`.
    """
    complaints = []
    for variable in sorted(environment):
        name = variable.removesuffix(SUFFIX)
        if variable == name or not name.endswith(KEY_SUFFIXES) or name.startswith("THREADMILL_"):
            continue
        if path := environment[variable]:
            try:
                environment[name] = _read_value(name, path, environment)
            except ValueError as error:
                complaints.append(str(error))
    if complaints:
        raise InvalidSettings("\n".join(complaints))


def _read_value(name: str, path: str, environment: Mapping[str, str]) -> str:
    """The content of a variable's file without white space around it. Raises `ValueError` with the whole complaint."""
    variable = f"{name}{SUFFIX}"
    if environment.get(name):
        raise ValueError(f"{variable}: {name} is set as well; keep one of the two")
    try:
        with Path(path).open("rb") as file:
            content = file.read(VALUE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no path"
        raise ValueError(
            f"{variable}={path!r}: cannot be read ({reason}); name a file that this user may read"
        ) from None
    if len(content) > VALUE_MAX_BYTES:
        raise ValueError(
            f"{variable}={path!r}: is longer than {VALUE_MAX_BYTES} bytes; name a file with the value alone"
        )
    try:
        value = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{variable}={path!r}: is no text in UTF-8; name a file with the value alone") from None
    if not value or "\0" in value:
        raise ValueError(f"{variable}={path!r}: holds no value; write it there, or unset the variable")
    return value
