"""Making a branch or a fork: a row that shares the history of another one up to a seq.

What stays true: no message is read, copied or changed for it, so it costs the same however long the history is; what
retention hides stays hidden, and the summary that tells of it comes along; a tool call is never parted from its result.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, exists, func, literal, not_, or_, select, update
from sqlalchemy.sql import null

from conversation import ids
from conversation.arguments import check_whole_number
from conversation.errors import InvalidInput
from conversation.history import open_calls
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.history import message_rows
from store.history.counters import estimate_of
from store.history.visibility import is_hidden_summary
from store.lineage import Lineage, Part, select_range
from store.tables import messages, summaries, thread_context, threads

#: Messages among which a call is looked for that has no result yet, and that are counted one by one.
NEAR_MESSAGES = 1_000
#: Columns of a summary that its copy takes over.
_SUMMARY_COLUMNS = ("from_seq", "to_seq", "content", "model", "usage", "cost", "prompt_version", "sections", "report")


def check_at(connection: Connection, source: AnyRow, at: int | None) -> int:
    """The seq up to which a history can be shared; its end, where none is named.

    Raises `InvalidInput` where it is no seq of the history, or parts a tool call from its result.
    """
    at = source.last_seq if at is None else at
    at = check_whole_number("at", at, maximum=source.last_seq, fix=f"pass a seq from 0 to {source.last_seq}")
    lineage = Lineage.of(source)
    last_assistant = select_range(
        lineage,
        [messages.c.seq, messages.c.tool_calls],
        after_seq=max(0, at - NEAR_MESSAGES),
        to_seq=at,
        where=[messages.c.role == "assistant", messages.c.rolled_back.is_(False)],
        newest_first=True,
        limit=1,
    )
    row = connection.execute(last_assistant).one_or_none()
    if row is not None and row.tool_calls:
        rows = connection.execute(message_rows.history_rows(lineage, after_seq=row.seq - 1, to_seq=at))
        if open_calls(message_rows.load(connection, lineage, rows)):
            raise InvalidInput("at", f"{at} parts a tool call from its result", "pass the seq of the last result")
    return at


def insert_sharing(connection: Connection, source: AnyRow, new_id: str, at: int, **values: Any) -> int | None:
    """Insert a row that shares the history of another one, up to and with a seq; None if its id is there already."""
    lineage, hidden_to = Lineage.of(source), min(at, source.history_starts_after)
    stored_lineage = lineage.share(at, has_own_system=_has_own_system(connection, lineage, at))
    statement = insert_for(connection, threads).values(
        tenant=source.tenant,
        id=new_id,
        title=source.title,
        owner=source.owner,
        metadata=source.metadata,
        created_at=clock(),
        updated_at=clock(),
        last_seq=at,
        parent_key=stored_lineage[-1][0] if stored_lineage else None,
        shared_to_seq=at,
        lineage=stored_lineage,
        history_starts_after=hidden_to,
        context_version=source.context_version,
        agent=source.agent,
        assigned_agent=source.assigned_agent,
        when_busy=source.when_busy,
        # To retention, it is as old as the messages that it shares.
        retained_from=(source.retained_from or source.created_at) if at else None,
        **_count_uncovered(connection, source, lineage, hidden_to, at),
        **values,
    )
    insertion = statement.on_conflict_do_nothing(index_elements=["tenant", "id"]).returning(threads.c.key)
    key: int | None = connection.execute(insertion).scalar_one_or_none()
    if key is not None:
        _copy_context(connection, source, key)
        _copy_summary(connection, source, lineage, key, at)
    return key


def _has_own_system(connection: Connection, lineage: Lineage, at: int) -> bool:
    own_part = lineage.parts[-1].clip(0, at)
    return bool(connection.execute(select(exists().where(own_part.holds(), messages.c.role == "system"))).scalar_one())


def _copy_context(connection: Connection, source: AnyRow, key: int) -> None:
    if source.context_version:
        _copy_rows(connection, thread_context, ["key", "content", "updated_at"], source.key, key)


def _copy_rows(connection: Connection, table: Table, columns: Sequence[str], source_key: int, key: int) -> None:
    """Copy rows of a table to the thread of this key."""
    copied_rows = select(literal(key), *(table.c[name] for name in columns)).where(table.c.thread_key == source_key)
    connection.execute(table.insert().from_select(["thread_key", *columns], copied_rows))


def _copy_summary(connection: Connection, source: AnyRow, lineage: Lineage, key: int, at: int) -> None:
    """Copy the newest summary that covers nothing behind `at`, and count what it leaves uncovered."""
    if source.summary_id is None:
        return
    newest_summary = (
        select(summaries)
        .where(summaries.c.restored_at.is_(None), or_(*(_covers(part) for part in lineage.slices(0, at))))
        .order_by(summaries.c.to_seq.desc(), summaries.c.thread_key.desc())
        .limit(1)
        .subquery()
    )
    names = ["thread_key", "id", *_SUMMARY_COLUMNS, "previous_id", "created_at"]
    copied_row = select(
        literal(key),
        literal(ids.new_id(), summaries.c.id.type),
        *(newest_summary.c[name] for name in _SUMMARY_COLUMNS),
        null(),
        newest_summary.c.created_at,
    )
    insertion = summaries.insert().from_select(names, copied_row).returning(summaries.c.id, summaries.c.to_seq)
    row = connection.execute(insertion).one_or_none()
    if row is not None:
        covered_to = max(row.to_seq, min(at, source.history_starts_after))
        counted = _count_uncovered(connection, source, lineage, covered_to, at)
        connection.execute(update(threads).where(threads.c.key == key).values(summary_id=row.id, **counted))


def _covers(part: Part) -> Any:
    """Whether a summary of a part's row covers nothing behind the part."""
    is_within = (summaries.c.thread_key == part.thread_key) & (summaries.c.to_seq <= part.to_seq)
    return and_(is_within, not_(is_hidden_summary(part.thread_key)))


def _count_uncovered(
    connection: Connection, source: AnyRow, lineage: Lineage, covered_to: int, at: int
) -> dict[str, int]:
    """Count what no summary covers: message by message where they are few, else by the source's mean."""
    if at - covered_to <= NEAR_MESSAGES:
        return _count_range(connection, lineage, covered_to, at)
    if source.last_seq - at <= NEAR_MESSAGES and source.uncovered_messages >= source.last_seq - covered_to:
        # The source counts from the same seq.
        behind = _count_range(connection, lineage, at, source.last_seq)
        return {name: max(0, getattr(source, name) - count) for name, count in behind.items()}
    mean_tokens = source.uncovered_tokens / source.uncovered_messages if source.uncovered_messages else 0
    uncovered = at - covered_to
    return {"uncovered_messages": uncovered, "uncovered_tokens": round(uncovered * mean_tokens)}


def _count_range(connection: Connection, lineage: Lineage, after_seq: int, to_seq: int) -> dict[str, int]:
    if after_seq >= to_seq:
        return {"uncovered_messages": 0, "uncovered_tokens": 0}
    tokens = func.coalesce(messages.c.tokens, estimate_of(messages)).label("tokens")
    counted = select_range(lineage, [messages.c.seq, tokens], after_seq=after_seq, to_seq=to_seq).subquery()
    total = select(func.count(), func.coalesce(func.sum(counted.c.tokens), 0)).select_from(counted)
    uncovered_messages, uncovered_tokens = connection.execute(total).one()
    return {"uncovered_messages": uncovered_messages, "uncovered_tokens": int(uncovered_tokens)}
