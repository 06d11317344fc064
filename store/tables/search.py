"""SQLite's full-text index over the content of messages; PostgreSQL's is an index of the table itself.

What stays true: the index reads `messages` by rowid and is kept up by triggers, so that no writer has to
think of it. The migrations create the same: a test compares the two.
"""

from sqlalchemy import DDL, event

from store.tables.threads import messages

_STATEMENTS = (
    (
        "CREATE VIRTUAL TABLE messages_search USING fts5("
        "content, content='messages', content_rowid='rowid', tokenize='unicode61')"
    ),
    (
        "CREATE TRIGGER messages_search_insert AFTER INSERT ON messages BEGIN "
        "INSERT INTO messages_search (rowid, content) VALUES (new.rowid, new.content); END"
    ),
    (
        "CREATE TRIGGER messages_search_delete AFTER DELETE ON messages BEGIN "
        "INSERT INTO messages_search (messages_search, rowid, content) "
        "VALUES ('delete', old.rowid, old.content); END"
    ),
    (
        "CREATE TRIGGER messages_search_update AFTER UPDATE OF content ON messages BEGIN "
        "INSERT INTO messages_search (messages_search, rowid, content) "
        "VALUES ('delete', old.rowid, old.content); "
        "INSERT INTO messages_search (rowid, content) VALUES (new.rowid, new.content); END"
    ),
)

for _statement in _STATEMENTS:
    event.listen(messages, "after_create", DDL(_statement).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
