"""Messages that people wrote to an agent in Slack, each with where its answer stands.

What stays true: a message has one row, however often Slack tells of it, and one more for each turn that follows the
one that answered it; a row holds its text only until a turn does.
"""

from sqlalchemy import Column, ForeignKeyConstraint, Identity, Index, Integer, Table, Text
from sqlalchemy.schema import CheckConstraint

from store.database.column_types import Json, Key, OurId, Time
from store.tables.metadata import index_where, metadata

#: A row in one of these states still has work ahead of it.
SLACK_UNFINISHED = "state in ('received', 'sent', 'waiting')"
#: A row that stands for the message itself, and not for a turn that followed.
SLACK_FIRST = "follows is null"

slack_messages = Table(
    "slack_messages",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    Column("tenant", Text, nullable=False),
    #: The workspace, the channel, and the message's time in it: so Slack names a message.
    Column("team_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("ts", Text, nullable=False),
    #: Slack's id of the event that came first, the same in each of its deliveries.
    Column("event_id", Text, nullable=False),
    #: Our thread.
    Column("thread_id", Text, nullable=False),
    #: The message under which Slack shows the answer; null where it stands in the channel itself.
    Column("reply_to", Text),
    #: Who wrote it, by Slack's id of them.
    Column("user_id", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    #: `received`, then `sent` as a turn, then perhaps `waiting` for a person; in the end `answered` or `failed`.
    Column("state", Text, nullable=False),
    #: The process that works at it; null where none does.
    Column("claim", OurId),
    #: When a process may take it up: of one that is claimed, when its claim ends.
    Column("due_at", Time, nullable=False),
    #: How often it was claimed.
    Column("attempts", Integer, nullable=False, server_default="0"),
    #: What was written, and the files with it as Slack describes them; null once a turn has them.
    Column("content", Text),
    Column("files", Json),
    #: The thread and the turn that answer it.
    Column("thread_key", Key),
    Column("turn_id", OurId),
    #: The turn that answered the message before this one: a call that it left open was decided, or it was queued anew.
    Column("follows", OurId),
    #: What was posted of the answer: `posts`, the times of its messages, and `files`, Slack's ids of its files.
    Column("answer", Json),
    #: Why it failed, in a word of Slack's or ours.
    Column("error", Text),
    Column("finished_at", Time),
    ForeignKeyConstraint(["thread_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
    CheckConstraint("state in ('received', 'sent', 'waiting', 'answered', 'failed')", name="state"),
    index_where("uq_slack_messages_ts", "tenant", "team_id", "channel_id", "ts", where=SLACK_FIRST, unique=True),
    index_where("ix_slack_messages_due_at", "tenant", "due_at", where=SLACK_UNFINISHED),
    # Those of one thread that come before another one; and whether the agent takes part in it.
    Index("ix_slack_messages_thread_id", "tenant", "thread_id", "ts"),
    index_where("ix_slack_messages_turn_id", "turn_id", where="turn_id is not null"),
    index_where("ix_slack_messages_thread_key", "thread_key", where="thread_key is not null"),
    Index("ix_slack_messages_user_id", "tenant", "user_id"),
    index_where("ix_slack_messages_finished_at", "tenant", "finished_at", where="finished_at is not null"),
    sqlite_autoincrement=True,
)
