"""Tenants in rotation: whose rows are looked at next, so that none waits behind another's many.

What stays true: a step in an index for each tenant, however many rows it has. Whoever looks keeps the last tenant
that it served and asks for those behind it; after the last name the first one comes again.
"""

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, FromClause, Table, func, literal, select


def list_tenants(
    connection: Connection,
    table: Table,
    condition: Callable[[FromClause], ColumnElement[bool]],
    *,
    after: str,
    limit: int,
) -> list[str]:
    """List tenants with such rows, by name, from behind `after` on and round to it: so many at most.

    An index has to hold the tenant next to what `condition` says of the rows that it is given.
    """
    tenants = _list_behind(connection, table, condition, after=after, limit=limit)
    if len(tenants) == limit or not after:
        return tenants
    first = _list_behind(connection, table, condition, after="", limit=limit - len(tenants))
    return tenants + [tenant for tenant in first if tenant <= after]


def _list_behind(
    connection: Connection,
    table: Table,
    condition: Callable[[FromClause], ColumnElement[bool]],
    *,
    after: str,
    limit: int,
) -> list[str]:
    rows, later_rows = table.alias("rows_of_tenants"), table.alias("later_rows")
    first = (
        select(func.min(rows.c.tenant).label("tenant"), literal(1).label("number"))
        .where(condition(rows), rows.c.tenant > after)
        .cte("tenants_in_rotation", recursive=True)
    )
    next_tenant = (
        select(func.min(later_rows.c.tenant))
        .where(condition(later_rows), later_rows.c.tenant > first.c.tenant)
        .scalar_subquery()
    )
    names = first.union_all(
        select(next_tenant, first.c.number + 1).where(first.c.tenant.is_not(None), first.c.number < limit)
    )
    statement = select(names.c.tenant).where(names.c.tenant.is_not(None)).order_by(names.c.number)
    return list(connection.execute(statement).scalars())
