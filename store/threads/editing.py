"""Making a thread, and changing its title, metadata and agent, for who does so without a working copy.

What stays true: a change is made under the thread's lock, and only to the version that its caller saw, where the
caller says which; the version is another one after each change of title, metadata and owner, whoever made it.
"""

import hashlib
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from sqlalchemy import Connection, case, update

from conversation.canonical_json import canonical_json
from conversation.errors import InvalidInput
from conversation.thread import LAST_UPDATED, TITLE_MAX_CHARS, Thread
from conversation.user import METADATA_KEY, named_user
from conversation.validation import check_id, check_metadata, check_text
from conversation.when_busy import WhenBusy, check_when_busy
from store.database.column_types import clock
from store.tables import threads
from store.threads.branch_rows import is_of_thread, root_key_of
from store.threads.repository import insert_if_absent
from store.threads.thread_views import ThreadView, read_view
from store.threads.visible_threads import Viewer, lock_visible_thread


class Unchanged(Enum):
    """The value of what a caller does not change, where None is a value."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


def create_thread(connection: Connection, thread: Thread) -> ThreadView | None:
    """Store a thread that has no messages; None if one of its id is stored already."""
    thread.check()
    owner = named_user(thread.user, thread.metadata)
    metadata = _without_times(check_metadata("metadata", thread.metadata))
    values = {"tenant": thread.tenant, "id": thread.id, "title": thread.title, "owner": owner, "metadata": metadata}
    inserted_row = connection.execute(insert_if_absent(connection, values).returning(threads.c.key)).one_or_none()
    return None if inserted_row is None else read_view(connection, Viewer(thread.tenant), thread.id)


def edit_thread(
    connection: Connection,
    viewer: Viewer,
    thread_id: str,
    *,
    title: str | Unchanged | None = UNCHANGED,
    metadata: Mapping[str, Any] | None = None,
    assigned_agent: str | Unchanged | None = UNCHANGED,
    when_busy: WhenBusy | str | Unchanged | None = UNCHANGED,
    versions: Collection[str] | None = None,
) -> ThreadView | None:
    """Change a thread's title, its policy, its metadata by the keys that are passed, or the agent it is handed over to.

    None removes a key of the metadata, and gives the thread back to the default agent. A turn that is queued keeps
    its own.
    With `versions`, only a thread of one of them: returns None for another one. Raises `ThreadNotFound`, and
    `InvalidInput` for metadata that names another user than whose thread it is.
    """
    if title is not UNCHANGED and title is not None:
        check_text("title", title, max_chars=TITLE_MAX_CHARS)
    if assigned_agent is not UNCHANGED and assigned_agent is not None:
        check_id("agent", assigned_agent)
    changes = check_metadata("metadata", metadata)
    if when_busy is not UNCHANGED and when_busy is not None:
        when_busy = check_when_busy("when_busy", when_busy)
    row = lock_visible_thread(connection, viewer, thread_id)
    chosen = row.when_busy, row.assigned_agent
    if versions is not None and version_of(row.title, row.metadata, row.owner, *chosen) not in versions:
        return None
    values: dict[str, Any] = {} if title is UNCHANGED else {"title": title}
    if assigned_agent is not UNCHANGED:
        values["assigned_agent"] = assigned_agent
    if when_busy is not UNCHANGED:
        values["when_busy"] = when_busy
    if changes:
        values["metadata"] = _merge(row.metadata, changes, row.owner)
    of_thread = is_of_thread(root_key_of(row))
    is_changed = any(getattr(row, name) != value for name, value in values.items())
    if not is_changed and assigned_agent is not UNCHANGED:
        # Of a branch that an agent handed over, this is not so yet.
        of_thread &= threads.c.assigned_agent.is_distinct_from(assigned_agent)
        is_changed = True
    if is_changed:
        # What all branches have in common, and the moment, which is this one's.
        updated_at = case((threads.c.key == row.key, clock()), else_=threads.c.updated_at)
        connection.execute(update(threads).where(of_thread).values(**values, updated_at=updated_at))
    return read_view(connection, viewer, thread_id)


def version_of(
    title: str | None,
    metadata: Mapping[str, Any],
    owner: str | None,
    when_busy: str | None = None,
    assigned_agent: str | None = None,
) -> str:
    """The version of what can be changed of a thread: a hash of it."""
    text = canonical_json([title, _without_times(metadata), owner, when_busy, assigned_agent])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _merge(stored_values: Mapping[str, Any], changes: Mapping[str, Any], owner: str | None) -> dict[str, Any]:
    remaining = {key: value for key, value in stored_values.items() if key not in changes}
    merged = _without_times(remaining | {key: value for key, value in changes.items() if value is not None})
    if METADATA_KEY in changes and named_user(None, changes) not in (None, owner):
        raise InvalidInput("metadata.user", "names another user than whose thread it is", "leave it out")
    return check_metadata("metadata", merged)


def _without_times(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != LAST_UPDATED}
