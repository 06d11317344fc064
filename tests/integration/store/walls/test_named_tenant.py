"""The tenant of a transaction: named in its first message, and gone with its end."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from conversation.errors import InvalidInput, TurnNotFound
from producers import Producer
from store.database.engine import Database
from store.database.function_calls import FunctionCall
from store.database.tenant import act_for
from store.settings import Settings, load
from store.walls.roles import GATEWAY
from tests.integration.producers.backend import register_agent
from tests.integration.store.walls.one_of_each import as_role
from tests.integration.wire import WireTap

#: A statement that would outlive its transaction.
SESSION_SET = re.compile(r"(^|;)\s*SET\s+(?!LOCAL\b|CONSTRAINTS\b|TRANSACTION\b)")
SESSION_CONFIG = re.compile(r"set_config\([^)]*\bfalse\b")
FOLDERS = ("agent", "producers", "store", "tasks", "threadmill")


@pytest.fixture
def tap(database_url: str) -> Iterator[WireTap]:
    with WireTap(database_url) as opened:
        yield opened


@pytest.fixture
def settings(tap: WireTap, valkey_url: str, tmp_path: Path) -> Settings:
    """Settings with one connection, which all transactions share, as behind a pooler."""
    url = as_role(tap.url, GATEWAY)
    files = str(tmp_path)
    return load(database_url=url, broker_url=valkey_url, file_store_url=files, db_pool_size=1, db_max_overflow=0)


@pytest.fixture
def producer(settings: Settings, database: Database) -> Iterator[Producer]:
    register_agent(database)
    opened = Producer(settings)
    opened.warm_up()
    yield opened
    opened.close()


def read_named(connection: Connection) -> str | None:
    return connection.execute(text("SELECT current_setting('threadmill.tenant', true)")).scalar_one() or None


def test_a_name_costs_no_round_trip(producer: Producer, tap: WireTap) -> None:
    with tap.listening() as sending:
        turn = producer.send("t", "hello", tenant="acme")
    with tap.listening() as reading:
        assert producer.find_turn(turn.id, tenant="acme").tenant == "acme"

    assert sending.round_trips == 1, sending
    # BEGIN with its limits and the tenant, the SELECT, COMMIT.
    assert reading.round_trips == 3, reading
    assert "SET LOCAL threadmill.tenant = 'acme'" in sending.statements[0]
    assert "SET LOCAL threadmill.tenant = 'acme'" in reading.statements[0]


def test_a_name_ends_with_its_transaction(producer: Producer) -> None:
    database = producer.database
    turn = producer.send("t", "hello", tenant="acme")

    named = [
        database.run(read_named),
        database.acting_for("acme").run(read_named),
        database.run(read_named),
        database.acting_for("other").run(read_named),
    ]

    assert named == [None, "acme", None, "other"]
    for tenant in (None, "other"):
        with pytest.raises(TurnNotFound):
            producer.find_turn(turn.id, tenant=tenant)


async def test_each_task_of_a_loop_has_its_own_name(settings: Settings) -> None:
    database = Database(settings.model_copy(update={"db_pool_size": 5}))

    async def read(tenant: str) -> bool:
        with act_for(tenant):
            await asyncio.sleep(0)
            return await database.run_async(read_named) == tenant

    assert all(await asyncio.gather(*(read(f"tenant-{number}") for number in range(20))))
    assert await database.acting_for("acme").run_async(read_named) == "acme"
    assert await database.run_async(read_named) is None
    await database.close_async()


def test_a_database_of_one_tenant_names_it_and_a_block_or_a_call_names_another(settings: Settings) -> None:
    database, nameless_database = Database(settings, tenant="acme"), Database(settings)

    assert database.run(read_named) == "acme"
    assert database.patient(1).run(read_named) == "acme"
    assert database.acting_for("other").run(read_named) == "other"
    with act_for("block"):
        assert nameless_database.run(read_named) == "block"
    database.close()
    nameless_database.close()


@pytest.mark.parametrize("name", ["", "it's", "a'; RESET ROLE; --", "a b", "ä", "a\x00", 7])
def test_a_name_that_is_none_never_reaches_sql(name: object, producer: Producer, tap: WireTap) -> None:
    runner = producer.database.acting_for(name)  # type: ignore[arg-type]  # what a caller without types may pass

    with tap.listening() as traffic:
        with pytest.raises(InvalidInput):
            runner.run(read_named)
        with pytest.raises(InvalidInput):
            runner.call(FunctionCall("new_id_v1", {}))

    assert traffic.statements == []


def test_no_setting_of_ours_outlives_its_transaction() -> None:
    """Behind a pooler, the next transaction of the connection is another client's."""
    found = [
        f"{path}: {literal[:80]}"
        for folder in FOLDERS
        for path in Path(folder).rglob("*.*")
        for literal in _list_sql(path)
        if SESSION_SET.search(literal) or SESSION_CONFIG.search(literal)
    ]

    assert found == []


def _list_sql(path: Path) -> list[str]:
    if path.suffix == ".sql":
        statements = path.read_text()
        # What a function sets for the time of its call ends with the call.
        return [re.sub(r"^SET \w+ (FROM CURRENT|= \w+)$", "", statements, flags=re.MULTILINE)]
    if path.suffix != ".py":
        return []
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
