"""What the tools did to the world: a table of their own, beside Threadmill's and unknown to it.

What stays true: one row for each time that a tool ran to its effect, whatever became of its turn, its
worker or its result.
"""

import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.effects (
    execution uuid PRIMARY KEY,
    tool text NOT NULL,
    repeatable boolean NOT NULL,
    turn_id uuid NOT NULL,
    call_id text NOT NULL,
    idempotency_key text NOT NULL,
    ref text NOT NULL,
    arguments jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
#: Seconds that a tool goes on trying while its database is away: below the tool's own limit.
PATIENCE_SECONDS = 45.0


def create(database_url: str) -> None:
    """Make the table."""
    with psycopg.connect(database_url) as connection:
        connection.execute(SCHEMA)


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing done, and the call that asked for it."""

    tool: str
    #: Whether doing it twice under one key is as good as once.
    repeatable: bool
    turn_id: str
    call_id: str
    idempotency_key: str
    ref: str
    #: What it ran with: its arguments, and the answer to what it asked.
    arguments: dict[str, Any]


def leave(database_url: str, effect: Effect) -> None:
    """Leave one effect. The same execution tried twice, as after a lost answer, is one row."""
    ids = (effect.turn_id, effect.call_id, effect.idempotency_key, effect.ref)
    row = (uuid4(), effect.tool, effect.repeatable, *ids, Jsonb(effect.arguments))
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with psycopg.connect(database_url, connect_timeout=5) as connection:
                connection.execute(
                    "INSERT INTO shop.effects (execution, tool, repeatable, turn_id, call_id, "
                    "idempotency_key, ref, arguments) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
                    "ON CONFLICT (execution) DO NOTHING",
                    row,
                )
                return
        except psycopg.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.2)
