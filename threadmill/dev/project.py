"""The project that `threadmill dev` runs: the folder's settings, and the files that its agents are made of.

What stays true: what the shell exports comes before what `.env` says; only Python and `.env` count as changes, so
that a tool which writes a file does not restart its own worker.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

#: Folders without code of the project: environments, caches, what other tools keep.
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"})

Snapshot = Mapping[Path, tuple[int, int]]


class Project:
    """The folder of a project, as it is now and as it was when it was looked at last."""

    def __init__(self, folder: Path, shell: Mapping[str, str]) -> None:
        """`shell` holds the variables of the shell, before any of `.env` was added."""
        self.folder = folder
        self._shell = dict(shell)
        self._snapshot: Snapshot = self._look()
        self._pending: Snapshot | None = None

    def environment(self) -> dict[str, str]:
        """The variables of this project's programs: those of the shell over those of `.env`, read anew."""
        values = dotenv_values(self.folder / ".env", interpolate=False)
        return {name: value for name, value in values.items() if value is not None} | self._shell

    def find_changes(self) -> list[Path]:
        """Find the files that changed; none while they are still changing, as an editor saves in several steps."""
        snapshot = self._look()
        if snapshot == self._snapshot:
            self._pending = None
            return []
        if snapshot != self._pending:
            self._pending = snapshot
            return []
        changed = {path for path, _ in self._snapshot.items() ^ snapshot.items()}
        self._snapshot, self._pending = snapshot, None
        return sorted(changed)

    def _look(self) -> Snapshot:
        snapshot: dict[Path, tuple[int, int]] = {}
        for path in (self.folder / ".env", *_find_python(self.folder)):
            try:
                status = path.stat()
            except OSError:  # gone in between
                continue
            snapshot[path] = (status.st_mtime_ns, status.st_size)
        return snapshot


def _find_python(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith(".")]
        yield from (Path(parent, name) for name in names if name.endswith(".py"))
