"""Webhooks: who is told of which events, and each delivery of an event to one of them.

What stays true: a delivery is written by the transaction that changed what it tells of, by a trigger, so that no
writer of turns has to think of it. Of one thread, a webhook is sent one delivery at a time, in the order of `key`.
"""

from sqlalchemy import DDL, Column, Identity, Index, Integer, SmallInteger, Table, Text, event
from sqlalchemy.schema import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

from store.database.column_types import Json, Key, OurId, Time
from store.tables.metadata import index_where, metadata
from store.tables.turns import turns

#: A delivery that is still to be made.
PENDING = "state = 'pending'"

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", OurId, primary_key=True),
    Column("tenant", Text, nullable=False),
    #: What its owner calls it.
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    #: The kinds of events that it is told of; null for all.
    Column("kinds", Json),
    #: The agents of whose turns it is told; null for all.
    Column("agents", Json),
    #: The address at which a person decides, with `{thread_id}`, `{turn_id}` and `{call_id}` in it.
    Column("link_template", Text),
    #: The keys that sign, each encrypted, with its end: the newest last.
    Column("secrets", Json, nullable=False),
    Column("state", Text, nullable=False),
    #: Why it is disabled: its owner asked for it, or its server answered 410.
    Column("disabled_reason", Text),
    #: Attempts in a row that failed, of whichever delivery.
    Column("failures", Integer, nullable=False, server_default="0"),
    #: Nothing is sent to it before: it is away, or asked for a pause.
    Column("retry_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    CheckConstraint("state in ('enabled', 'disabled')", name="state"),
    Index("ix_webhooks_tenant", "tenant", "created_at"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    #: The order in which events happened, within a thread.
    Column("key", Key, Identity(always=False), primary_key=True),
    #: What receivers know it by: the same in each attempt, and when it is replayed.
    Column("id", OurId, nullable=False),
    Column("tenant", Text, nullable=False),
    #: No foreign key: each end of a turn would lock the webhook's row. What has none any more is deleted.
    Column("webhook_id", OurId, nullable=False),
    Column("thread_key", Key, nullable=False),
    Column("turn_id", OurId),
    Column("kind", Text, nullable=False),
    #: When it happened.
    Column("created_at", Time, nullable=False),
    #: What it tells beside its ids, as it was then.
    Column("details", Json, nullable=False),
    #: The bytes that are signed: written before the first attempt, and the same in each.
    Column("body", Text),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_try_at", Time, nullable=False),
    #: The attempt under way, and until when nobody else makes another.
    Column("claim", OurId),
    Column("claimed_until", Time),
    Column("last_tried_at", Time),
    #: The HTTP status of the last attempt; null where there was no answer.
    Column("last_status", SmallInteger),
    #: Why the last attempt failed, in a word of ours.
    Column("last_error", Text),
    #: When it was delivered, or given up.
    Column("finished_at", Time),
    Column("replayed_at", Time),
    UniqueConstraint("id"),
    ForeignKeyConstraint(["thread_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
    CheckConstraint("state in ('pending', 'delivered', 'dead')", name="state"),
    Index("ix_webhook_deliveries_thread_key", "thread_key"),
    Index("ix_webhook_deliveries_webhook_id", "webhook_id", "key"),
    index_where("ix_webhook_deliveries_due", "webhook_id", "next_try_at", "key", where=PENDING),
    index_where("ix_webhook_deliveries_order", "webhook_id", "thread_key", "key", where=PENDING),
    index_where("ix_webhook_deliveries_dead", "webhook_id", "key", where="state = 'dead'"),
    index_where("ix_webhook_deliveries_finished_at", "finished_at", where="finished_at is not null"),
    sqlite_autoincrement=True,
)

# PostgreSQL's are in `store/functions/record_turn_event_v1.sql` and `record_switch_v1.sql`, and do the same.
_RECORD_TURN_EVENT = (
    "CREATE TRIGGER webhooks_record_turn_event AFTER UPDATE OF state ON turns "
    "WHEN new.state IN ('completed', 'failed', 'cancelled', 'waiting') AND old.state <> new.state BEGIN "
    "INSERT INTO webhook_deliveries "
    "(id, tenant, webhook_id, thread_key, turn_id, kind, created_at, details, state, next_try_at) "
    "SELECT lower(hex(randomblob(16))), new.tenant, webhooks.id, new.thread_key, new.id, 'turn.' || new.state, "
    "coalesce(new.finished_at, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'), "
    "json_object('agent', new.agent, 'error_kind', new.error_kind), 'pending', "
    "coalesce(new.finished_at, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000') "
    "FROM webhooks WHERE webhooks.tenant = new.tenant AND webhooks.state = 'enabled' "
    "AND (webhooks.kinds IS NULL OR EXISTS "
    "(SELECT 1 FROM json_each(webhooks.kinds) AS kind WHERE kind.value = 'turn.' || new.state)) "
    "AND (webhooks.agents IS NULL OR EXISTS "
    "(SELECT 1 FROM json_each(webhooks.agents) AS agent WHERE agent.value = new.agent)); END"
)

_RECORD_SWITCH = (
    "CREATE TRIGGER webhooks_record_switch AFTER UPDATE OF chosen_key ON threads "
    "WHEN old.chosen_key IS NOT new.chosen_key AND new.deleted_at IS NULL BEGIN "
    "INSERT INTO webhook_deliveries "
    "(id, tenant, webhook_id, thread_key, kind, created_at, details, state, next_try_at) "
    "SELECT lower(hex(randomblob(16))), new.tenant, webhooks.id, new.key, 'thread.switched', "
    "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', json_object('agent', chosen.agent, 'branch', "
    "CASE instr(chosen.id, '/') WHEN 0 THEN 'main' ELSE substr(chosen.id, instr(chosen.id, '/') + 1) END, "
    "'shared_to_seq', coalesce(chosen.shared_to_seq, 0)), "
    "'pending', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' "
    "FROM webhooks JOIN threads AS chosen ON chosen.key = coalesce(new.chosen_key, new.key) "
    "WHERE webhooks.tenant = new.tenant AND webhooks.state = 'enabled' "
    "AND (webhooks.kinds IS NULL OR EXISTS "
    "(SELECT 1 FROM json_each(webhooks.kinds) AS kind WHERE kind.value = 'thread.switched')) "
    "AND (webhooks.agents IS NULL OR EXISTS "
    "(SELECT 1 FROM json_each(webhooks.agents) AS agent WHERE agent.value = chosen.agent)); END"
)

for _trigger in (_RECORD_TURN_EVENT, _RECORD_SWITCH):
    # A percent sign would be a placeholder of DDL's.
    _ddl = DDL(_trigger.replace("%", "%%")).execute_if(dialect="sqlite")  # type: ignore[no-untyped-call]
    event.listen(webhook_deliveries, "after_create", _ddl)
webhook_deliveries.add_is_dependent_on(turns)
