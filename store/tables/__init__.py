"""The tables. Children refer to a thread by its internal `key`; users see `(tenant, id)`.

What stays true: every foreign key has an index; a key is never used twice; `inbox_messages` holds
messages without a seq in the history yet, `messages` holds the history in the order of
`seq`. A change here needs a migration beside it: a test compares the two.
"""

import store.tables.search  # noqa: F401 - listens to the creation of messages
from store.tables.access import api_keys, installation
from store.tables.files import attachments, blobs, renditions, uploads
from store.tables.inbound import inbound_sources
from store.tables.metadata import metadata
from store.tables.operations import audit, idempotent_answers, schedule_runs
from store.tables.retention import (
    archives,
    dropped_files,
    erasure_items,
    erasures,
    pending_deletions,
    retention_policies,
    retention_rescans,
)
from store.tables.schedules import schedules
from store.tables.slack import slack_messages
from store.tables.threads import (
    CAN_BE_SUMMARIZED,
    FILLS_WINDOW,
    HAS_HISTORY_STEP,
    HAS_MESSAGES_STEP,
    HAS_TOKENS_STEP,
    HISTORY_STEP,
    MAX_SUMMARY_FAILURES,
    UNCOVERED_MESSAGES_STEP,
    UNCOVERED_TOKENS_STEP,
    messages,
    summaries,
    thread_context,
    threads,
)
from store.tables.turns import UNFINISHED, agents, inbox_messages, pending_calls, steps, turn_attempts, turns, workers
from store.tables.webhooks import webhook_deliveries, webhooks

__all__ = [  # noqa: RUF022 - grouped by file
    "metadata",
    # Conversations
    "threads", "messages", "thread_context", "summaries", "MAX_SUMMARY_FAILURES", "CAN_BE_SUMMARIZED",
    "FILLS_WINDOW", "HAS_HISTORY_STEP", "HAS_MESSAGES_STEP", "HAS_TOKENS_STEP", "HISTORY_STEP",
    "UNCOVERED_MESSAGES_STEP", "UNCOVERED_TOKENS_STEP",
    # Turns
    "turns", "inbox_messages", "steps", "pending_calls", "turn_attempts", "workers", "agents", "UNFINISHED",
    "schedules", "inbound_sources",
    # Files
    "attachments", "blobs", "renditions", "uploads",
    # Retention and erasure
    "archives", "dropped_files", "erasure_items", "erasures",
    "pending_deletions", "retention_rescans", "retention_policies",
    # Webhooks
    "webhooks", "webhook_deliveries",
    # Access
    "api_keys", "installation",
    # Chat systems
    "slack_messages",
    # Operations
    "audit", "idempotent_answers", "schedule_runs",
]  # fmt: skip
