"""The user that runs PostgreSQL when we are root: the server refuses to be root itself.

A way is a prefix to the command. It is tried out before it is used, and each one asks for the
parent-death signal itself, because changing the user clears the one that was asked for before.
Nothing outside the server's own folder is changed: no user is added, no folder is opened up.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from threadmill.embedded.errors import ServerFailed


def find_unprivileged_prefix(probe: Sequence[str], directory: Path) -> list[str]:
    """Find the prefix with which `probe` (and its like) runs in `directory` as a user that is not root."""
    if os.geteuid() != 0:
        return []
    if _can_run([*namespace(), *probe]):
        return namespace()
    _give_to_nobody(directory)
    # The user `nobody` has to reach the folder as well, through every folder above it.
    if _can_run([*nobody(), *probe]) and _can_run([*nobody(), "ls", str(directory)]):
        return nobody()
    raise ServerFailed(
        "PostgreSQL refuses to run as root, and neither a user namespace (unshare) nor the user `nobody` "
        f"(setpriv) works here for {directory}: start this as another user, or set THREADMILL_DATABASE_URL"
    )


def namespace() -> list[str]:
    """Stay root outside, where the files are, and be `nobody` inside: no file changes hands."""
    user = pwd.getpwnam("nobody")
    mapping = [f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]
    return ["unshare", "--user", *mapping, "setpriv", "--pdeathsig", "INT"]


def nobody() -> list[str]:
    """Become `nobody` for good: for containers that refuse user namespaces."""
    user = pwd.getpwnam("nobody")
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, "--pdeathsig", "INT"]


def _can_run(command: Sequence[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def _give_to_nobody(directory: Path) -> None:
    user = pwd.getpwnam("nobody")
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
