"""The policies of row-level security, each made out of its table's columns.

What stays true: a table with a tenant, or with a foreign key that leads to one, has a policy; a row is its tenant's if
all that it refers to is. A parent is looked up by its key for each row that is read, whatever the planner expects: it
may not read all threads of a tenant instead.
"""

from dataclasses import dataclass

from sqlalchemy import ForeignKeyConstraint, Table

from store.database.tenant import SETTING

#: The tenant that the transaction names. After a transaction that named one, the setting is empty, not null.
NAMED_TENANT = f"nullif(current_setting('{SETTING}', true), '')"
#: The policy that binds everybody but the owner. Another text of a policy needs another number here.
TENANT_POLICY = "threadmill_tenant_1"
#: The policy of those who work for all tenants.
PROCESS_POLICY = "threadmill_process_1"


@dataclass(frozen=True, slots=True)
class TenantRule:
    """The conditions under which a row is the named tenant's: to be seen, and to be written."""

    using: str
    check: str


def rule_of(table: Table) -> TenantRule | None:
    """The rule of a table; None of one that has no tenant and reaches none."""
    own = [f"tenant = {NAMED_TENANT}"] if "tenant" in table.c else []
    parents = [condition for key in table.foreign_key_constraints if (condition := _parent_condition(table, key))]
    if not own and not parents:
        return None
    parents.sort()
    # What was written by the rule of its writing needs no look at its parents to be read.
    return TenantRule(using=" AND ".join(own or parents), check=" AND ".join(own + parents))


def _parent_condition(table: Table, key: ForeignKeyConstraint) -> str | None:
    """The condition that the row that a foreign key names is the tenant's; None where the key itself says so."""
    parent = key.referred_table
    if "tenant" not in parent.c or "tenant" in key.column_keys:
        return None
    columns = zip(key.elements, key.column_keys, strict=True)
    is_parent = " AND ".join(f'parent.{one.column.name} = {table.name}."{name}"' for one, name in columns)
    # Names of our own tables and columns.
    return f"(SELECT parent.tenant FROM {parent.name} AS parent WHERE {is_parent}) = {NAMED_TENANT}"  # noqa: S608
