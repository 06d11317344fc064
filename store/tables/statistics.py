"""PostgreSQL's statistics of our tables: the planner works by them, an operator reads the sizes.

What stays true: nothing is locked that a turn needs; the counts are estimates, whatever is stored.
"""

from sqlalchemy import Connection, text

from store.tables.metadata import metadata


def refresh(connection: Connection) -> dict[str, dict[str, int]]:
    """Have PostgreSQL analyze our tables; returns rows, about, and bytes with indexes, by table."""
    names = [table.name for table in metadata.sorted_tables]
    # Autovacuum analyzes when a tenth of a table changed: late for a queue that grows and empties.
    connection.execute(text(f"ANALYZE {', '.join(names)}"))
    sizes = text(
        "SELECT relname, greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS bytes "
        "FROM pg_class WHERE relname = ANY(:names) AND pg_table_is_visible(oid)"
    )
    rows = connection.execute(sizes, {"names": names})
    return {row.relname: {"rows": row.rows, "bytes": row.bytes} for row in rows}
