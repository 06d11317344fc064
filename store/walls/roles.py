"""The roles of a deployment's processes, and what each may do with each table.

What stays true: none of them owns anything or can log in; roles that log in are members of them. A role has what its
processes need: `tests/integration/store/walls` runs the pipeline under them.
"""

from collections.abc import Mapping

#: Backends and the gateway: bound to the tenant that a transaction names.
GATEWAY = "threadmill_gateway"
#: Workers that run turns and read files.
WORKER = "threadmill_worker"
#: Workers of the maintenance queue: summaries, cleanup, the sweep; and the operator's commands.
MAINTENANCE = "threadmill_maintenance"
ROLES = (GATEWAY, WORKER, MAINTENANCE)

_LETTERS = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE"}

#: For each table, what the gateway, a worker and maintenance may do: Select, Insert, Update, Delete.
_TABLES: Mapping[str, tuple[str, str, str]] = {
    "alembic_version": ("S", "S", "S"),
    # Conversations
    "threads": ("SIUD", "SIUD", "SIUD"),
    # A thread whose history others share is deleted message by message.
    "messages": ("SID", "SI", "SIUD"),
    "thread_context": ("SIUD", "SIUD", "SIUD"),
    "summaries": ("SID", "S", "SIUD"),
    # Turns
    "turns": ("SIUD", "SIU", "SIUD"),
    "inbox_messages": ("SID", "SID", "SIUD"),
    # A decision on a call that was left open begins a turn with it; the deletion of a thread ends its turns.
    "steps": ("SIU", "SIU", "SIUD"),
    "pending_calls": ("SIU", "SIU", "SIUD"),
    "turn_attempts": ("SI", "SIU", "SIUD"),
    "workers": ("S", "SIUD", "SIUD"),
    "agents": ("S", "SIU", "SIU"),
    "schedules": ("SIUD", "", "SIUD"),
    "inbound_sources": ("SIUD", "", "SIUD"),
    # Files
    "attachments": ("SID", "SI", "SID"),
    "blobs": ("SIU", "SIU", "SIUD"),
    "renditions": ("S", "SI", "SID"),
    "uploads": ("SIUD", "SIUD", "SIUD"),
    # Retention and erasure
    "archives": ("SU", "", "SIUD"),
    "dropped_files": ("SIU", "", "SIUD"),
    "erasure_items": ("", "", "SIUD"),
    "erasures": ("", "", "SIUD"),
    "pending_deletions": ("SIUD", "S", "SIUD"),
    "retention_policies": ("", "", "SIUD"),
    "retention_rescans": ("", "", "SIUD"),
    # Webhooks. Deliveries are written by a function with its owner's rights.
    "webhooks": ("SIUD", "", "SIUD"),
    "webhook_deliveries": ("SUD", "", "SIUD"),
    # Access. Keys are found and noted by functions, whose ever they are.
    "api_keys": ("", "", "SIUD"),
    "installation": ("S", "S", "S"),
    # Chat systems
    "slack_messages": ("SIUD", "SIU", "SIUD"),
    # Operations
    "audit": ("I", "I", "SIU"),
    "idempotent_answers": ("SIUD", "", "SIUD"),
    "schedule_runs": ("", "", "SIUD"),
}


#: Functions that work with their owner's rights, each on the rows that its arguments or the named tenant let it: the
#: roles that may call them. Nobody else may.
CALLERS: Mapping[str, tuple[str, ...]] = {
    "find_messages_v1": ROLES,
    "find_api_keys_v1": (GATEWAY,),
    "find_inbound_source_v1": (GATEWAY,),
    "note_key_uses_v1": (GATEWAY,),
    # Called by their triggers alone, for which nobody needs a right.
    "record_turn_event_v1": (),
    "record_switch_v1": (),
}


def privileges_of(role: str) -> dict[str, frozenset[str]]:
    """The privileges of a role, by table."""
    place = ROLES.index(role)
    return {table: frozenset(_LETTERS[letter] for letter in letters[place]) for table, letters in _TABLES.items()}


def create_roles_sql() -> str:
    """The SQL with which an administrator makes the roles, where the migrating user may not; it may run again."""
    return "\n".join(_create_role_sql(role) for role in ROLES)


def _create_role_sql(role: str) -> str:
    # Databases of one cluster share its roles: another migration may make them at this moment.
    return (
        f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
    )
