"""No core file of a process, nor of its children: it would hold messages, keys and passwords, and fill the disk."""

import resource


def forbid() -> None:
    """Forbid the system to write one, for good: no child can allow it again.

    With 0, Linux still hands one to a program that a `core_pattern` names; with 1, to none, and no file is so short.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
