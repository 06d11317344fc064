"""The tenants that a process has seen lately: whether one of them has others beside it.

What stays true: nothing is asked for it, and two names are all that is kept.
"""

import time

#: Seconds for which a tenant that was seen counts as there.
SEEN_SECONDS = 600.0


class Neighbours:
    """The last two tenants that one process saw. Only on one thread."""

    def __init__(self) -> None:
        #: The times at which they were seen, the newest last.
        self._seen_at: dict[str, float] = {}

    def note(self, tenant: str) -> None:
        """Note that a tenant is there."""
        self._seen_at.pop(tenant, None)
        self._seen_at[tenant] = time.monotonic()
        if len(self._seen_at) > 2:
            del self._seen_at[next(iter(self._seen_at))]

    def has_others(self, tenant: str) -> bool:
        """Whether another tenant was seen lately."""
        return any(other != tenant for other in self._list_lately_seen())

    def are_several(self) -> bool:
        """Whether two tenants were seen lately."""
        return len(self._list_lately_seen()) > 1

    def _list_lately_seen(self) -> list[str]:
        oldest = time.monotonic() - SEEN_SECONDS
        return [tenant for tenant, seen_at in self._seen_at.items() if seen_at > oldest]
