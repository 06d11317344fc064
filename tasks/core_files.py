"""No core file of a process, nor of its children: it would hold messages, keys and passwords, and fill the disk."""

import resource


def forbid() -> None:
    """Forbid the system to write one, for good: no child can allow it again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
