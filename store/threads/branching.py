"""Making a branch or a fork: a row that shares the history of another one up to a seq.

What stays true: no message is read, copied or changed for it, so it costs the same however long the history is; what
retention hides stays hidden, and the summary that tells of it comes along; a tool call is never parted from its result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, case, exists, func, literal, not_, or_, select, update
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


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a history that a branch shares, as `check_share` found it: to which seq, and what its row says."""

    at: int
    has_own_system: bool
    #: What no summary covers: messages and tokens, by the names of their columns.
    uncovered: Mapping[str, int]


def check_share(connection: Connection, source: AnyRow, at: int | None) -> Share:
    """Check that a history can be shared up to a seq, to its end where none is named; one statement reads all there is.

    Raises `InvalidInput` where it is no seq of the history, or parts a tool call from its result.
    """
    at = source.last_seq if at is None else at
    at = check_whole_number("at", at, maximum=source.last_seq, fix=f"pass a seq from 0 to {source.last_seq}")
    lineage, covered_to = Lineage.of(source), min(at, source.history_starts_after)
    counted = _select_count(lineage, *_range_to_count(source, covered_to, at)).subquery("counted")
    own_part = lineage.parts[-1].clip(0, at)
    has_own_system = exists().where(own_part.holds(), messages.c.role == "system")
    call_seq = _select_last_call(lineage, at).scalar_subquery()
    looked = select(counted, has_own_system.label("has_own_system"), call_seq.label("call_seq"))
    row = connection.execute(looked).one()
    if row.call_seq is not None:
        rows = connection.execute(message_rows.history_rows(lineage, after_seq=row.call_seq - 1, to_seq=at))
        if open_calls(message_rows.load(connection, lineage, rows)):
            raise InvalidInput("at", f"{at} parts a tool call from its result", "pass the seq of the last result")
    uncovered = _derive_uncovered(source, covered_to, at, row.uncovered_messages, int(row.uncovered_tokens))
    return Share(at, bool(row.has_own_system), uncovered)


def _select_last_call(lineage: Lineage, at: int) -> Select[Any]:
    """Select the seq of the last thing that an assistant said, if that calls tools; else null, or no row."""
    last_assistant = select_range(
        lineage,
        [messages.c.seq, messages.c.tool_calls],
        after_seq=max(0, at - NEAR_MESSAGES),
        to_seq=at,
        where=[messages.c.role == "assistant", messages.c.rolled_back.is_(False)],
        newest_first=True,
        limit=1,
    ).subquery("last_assistant")
    return select(case((last_assistant.c.tool_calls.is_not(None), last_assistant.c.seq)))


def insert_sharing(connection: Connection, source: AnyRow, new_id: str, share: Share, **values: Any) -> AnyRow | None:
    """Insert a row that shares the history of another one, and return it; None if its id is there already."""
    at, lineage = share.at, Lineage.of(source)
    stored_lineage = lineage.share(at, has_own_system=share.has_own_system)
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
        history_starts_after=min(at, source.history_starts_after),
        context_version=source.context_version,
        agent=source.agent,
        assigned_agent=source.assigned_agent,
        when_busy=source.when_busy,
        # To retention, it is as old as the messages that it shares.
        retained_from=(source.retained_from or source.created_at) if at else None,
        **share.uncovered,
        **values,
    )
    insertion = statement.on_conflict_do_nothing(index_elements=["tenant", "id"]).returning(threads)
    row: AnyRow | None = connection.execute(insertion).one_or_none()
    if row is not None:
        _copy_context(connection, source, row.key)
        _copy_summary(connection, source, lineage, row.key, at)
    return row


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
    row = connection.execute(_select_count(lineage, *_range_to_count(source, covered_to, at))).one()
    return _derive_uncovered(source, covered_to, at, row.uncovered_messages, int(row.uncovered_tokens))


def _range_to_count(source: AnyRow, covered_to: int, at: int) -> tuple[int, int]:
    """The few messages that are counted one by one: those that nothing covers, or those behind `at`; else none."""
    if at - covered_to <= NEAR_MESSAGES:
        return covered_to, at
    return (at, source.last_seq) if _counts_behind(source, covered_to, at) else (at, at)


def _counts_behind(source: AnyRow, covered_to: int, at: int) -> bool:
    """Whether the source counts from the same seq, and has few messages more."""
    is_near = source.last_seq - at <= NEAR_MESSAGES
    return bool(is_near and source.uncovered_messages >= source.last_seq - covered_to)


def _derive_uncovered(
    source: AnyRow, covered_to: int, at: int, counted_messages: int, counted_tokens: int
) -> dict[str, int]:
    """Derive what no summary covers: as counted, as the source has it without what is behind, else by its mean."""
    if at - covered_to <= NEAR_MESSAGES:
        return {"uncovered_messages": counted_messages, "uncovered_tokens": counted_tokens}
    if _counts_behind(source, covered_to, at):
        return {
            "uncovered_messages": max(0, source.uncovered_messages - counted_messages),
            "uncovered_tokens": max(0, source.uncovered_tokens - counted_tokens),
        }
    mean_tokens = source.uncovered_tokens / source.uncovered_messages if source.uncovered_messages else 0
    uncovered = at - covered_to
    return {"uncovered_messages": uncovered, "uncovered_tokens": round(uncovered * mean_tokens)}


def _select_count(lineage: Lineage, after_seq: int, to_seq: int) -> Select[Any]:
    """Select how many messages a range has, and their tokens."""
    tokens = func.coalesce(messages.c.tokens, estimate_of(messages)).label("tokens")
    each = select_range(lineage, [messages.c.seq, tokens], after_seq=after_seq, to_seq=to_seq).subquery()
    return select(
        func.count().label("uncovered_messages"), func.coalesce(func.sum(each.c.tokens), 0).label("uncovered_tokens")
    ).select_from(each)
