"""The metadata that all tables register with, and what their keys and indexes share."""

from sqlalchemy import Index, MetaData, Table, TextClause, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def index_where(
    name: str, *columns: str | TextClause, where: str, unique: bool = False, table: Table | None = None
) -> Index:
    """An index over the rows for which a condition holds, on both databases."""
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition, _table=table)
