"""Messages out of Slack that an erasure takes: those that have no turn yet, and what names who wrote others."""

from sqlalchemy import ColumnElement, Connection, delete, select

from store.erasure.subject import Subject
from store.retention.deletion import add_erased_counts
from store.tables import slack_messages

#: Rows of one page.
PAGE = 1000


def delete_slack_messages(connection: Connection, erasure_id: str, subject: Subject) -> bool:
    """Delete the next page of the subject's rows; False at the end. An answer that is being written is not ended."""
    keys = select(slack_messages.c.key).where(is_of(subject)).limit(PAGE)
    count = connection.execute(delete(slack_messages).where(slack_messages.c.key.in_(keys.scalar_subquery()))).rowcount
    if count:
        add_erased_counts(connection, erasure_id, {"slack_messages": count})
    return bool(count)


def has_slack_messages(subject: Subject) -> ColumnElement[bool]:
    """The condition that there is such a row."""
    return select(slack_messages.c.key).where(is_of(subject)).exists()


def is_of(subject: Subject) -> ColumnElement[bool]:
    """The condition that a row is the subject's."""
    condition = slack_messages.c.tenant == subject.tenant
    if subject.user is not None:
        condition &= slack_messages.c.user_id == subject.user
    if subject.thread_id is not None:
        condition &= slack_messages.c.thread_id == subject.thread_id
    return condition
