"""The owner of a thread: the user whose it is, by the caller's own id of them.

What stays true: a message makes a thread somebody's only if it is nobody's; only a caller who loaded it, and says so,
gives it to another user.
"""

from sqlalchemy import Connection, func, or_, select, update

from conversation.errors import InvalidInput
from conversation.thread import Thread
from conversation.user import named_user
from store.database.statements import AnyRow
from store.tables import threads


def adopt_thread(connection: Connection, key: int, user: str) -> None:
    """Make a thread this user's if it is nobody's; not where a worker holds its row, whose claim does the same."""
    own, others = threads.alias("own"), threads.alias("others")
    is_other = or_(others.c.key == own.c.root_key, others.c.root_key == func.coalesce(own.c.root_key, own.c.key))
    # A thread and all its branches are one user's.
    keys_of_others = select(others.c.key).join_from(own, others, is_other).where(own.c.key == key)
    of_thread = or_(threads.c.key == key, threads.c.key.in_(keys_of_others))
    unowned = select(threads.c.key).where(of_thread, threads.c.owner.is_(None))
    lockable_keys = unowned.with_for_update(key_share=True, skip_locked=True)
    connection.execute(update(threads).where(threads.c.key.in_(lockable_keys)).values(owner=user))


def choose_owner(row: AnyRow, thread: Thread) -> str | None:
    """The owner of a stored thread after this working copy is saved.

    A copy that was loaded may give the thread to another user. Raises `InvalidInput` where one that was not loaded,
    or that is stale, names another user than whose thread it is.
    """
    user = named_user(thread.user, thread.metadata)
    owner: str | None = row.owner
    if thread.loaded is not None and thread.user in (thread.loaded.user, owner):
        return owner or user
    if owner in (None, user) or (thread.loaded is not None and thread.loaded.user == owner):
        return user
    if user is None:
        return owner
    problem = f"is {user!r}, and the stored thread {row.id!r} is another user's"
    raise InvalidInput("user", problem, "load the thread, and set its user to give it to another one")
