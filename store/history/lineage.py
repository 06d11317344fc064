"""The lineage of a history, by the name of the package whose readers go by it; see `store.lineage`."""

from store.lineage import (
    OPEN_END,
    Lineage,
    Part,
    read_lineage,
    select_range,
    shared_by_others_to,
    stored_with,
    system_parts,
)

__all__ = [
    "OPEN_END",
    "Lineage",
    "Part",
    "read_lineage",
    "select_range",
    "shared_by_others_to",
    "stored_with",
    "system_parts",
]
