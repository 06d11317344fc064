"""The tables. Children refer to a thread by its internal `key`; users see `(tenant, id)`.

What stays true: every foreign key has an index; a key is never used twice; `turn_inputs` holds
what was said but has no place in the history yet, `messages` holds the history in the order of
`seq`. A change here needs a migration beside it: a test compares the two.
"""

from store.tables.files import attachments, blobs, renditions, uploads
from store.tables.metadata import metadata
from store.tables.operations import audit, schedule_runs
from store.tables.retention import (
    archives,
    dropped_files,
    erasure_items,
    erasures,
    retention_cuts,
    retention_looks,
    retention_policies,
)
from store.tables.threads import MAX_SUMMARY_FAILURES, SUMMARIZED, context, messages, summaries, threads
from store.tables.turns import UNFINISHED, agents, steps, turn_inputs, turns, workers

__all__ = [  # noqa: RUF022 - grouped by file
    "metadata",
    # Conversations
    "threads", "messages", "context", "summaries", "MAX_SUMMARY_FAILURES", "SUMMARIZED",
    # Turns
    "turns", "turn_inputs", "steps", "workers", "agents", "UNFINISHED",
    # Files
    "attachments", "blobs", "renditions", "uploads",
    # Retention and erasure
    "archives", "dropped_files", "erasure_items", "erasures",
    "retention_cuts", "retention_looks", "retention_policies",
    # Operations
    "audit", "schedule_runs",
]  # fmt: skip
