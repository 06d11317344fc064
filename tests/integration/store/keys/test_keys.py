"""The rows of API keys, on both databases: how they begin, change and end, and by whose clock."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.errors import DatabaseUnavailable, InvalidInput
from store.blobs.memory import MemoryBlobs
from store.database.engine import Database
from store.database.tenant import act_for
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.installation import read_signing_key
from store.keys.key_rows import KeyRecord, KeyRequest, create_key, list_keys, revoke_key, rotate_key
from store.keys.key_text import ApiKey, make_key
from store.keys.lookup import find_keys, note_uses
from store.settings import load
from store.tables import api_keys, audit
from store.walls.roles import GATEWAY
from threadmill.embedded.postgres import EmbeddedPostgres

HOUR = timedelta(hours=1)


def create(database: Database, **request: Any) -> ApiKey:
    key = make_key()
    database.run(create_key, KeyRequest(**{"tenant": "acme", **request}), key)
    return key


def change(database: Database, key: ApiKey, **values: Any) -> None:
    """Set columns of a key's row; a length of time is from now, by the database's clock."""
    moved = {
        name: datetime.now(UTC) + value if isinstance(value, timedelta) else value for name, value in values.items()
    }
    database.run(lambda connection: connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(moved)))


def is_good(database: Database, key: ApiKey) -> bool:
    usable = database.run(find_keys, [key.id]).get(key.id)
    return usable is not None and usable.match(key) is not None


def record_of(database: Database, key: ApiKey) -> KeyRecord:
    return next(record for record in database.run(list_keys) if record.id == key.id)


def test_a_key_says_whose_it_is_and_its_text_is_stored_nowhere(any_database: Database) -> None:
    key = create(any_database, name="the shop", scopes=["write", "read"], user="ann", expires=HOUR)

    usable = any_database.run(find_keys, [key.id, make_key().id])[key.id]
    record = record_of(any_database, key)
    stored = any_database.run(lambda connection: str(connection.execute(select(api_keys)).mappings().all()))

    assert (usable.tenant, usable.user, usable.scopes) == ("acme", "ann", ("read", "write"))
    assert (record.state, record.name, record.last_used_at) == ("active", "the shop", None)
    assert record.expires_at is not None
    assert record.expires_at - record.created_at == HOUR
    assert key.sha256 in stored
    assert key.text[21:] not in stored
    assert not hasattr(record, "secret_sha256")


def test_only_a_keys_own_secret_is_good(any_database: Database) -> None:
    key = create(any_database)

    assert is_good(any_database, key)
    assert not is_good(any_database, make_key(key.id))
    assert not is_good(any_database, make_key())


@pytest.mark.parametrize(
    ("request_values", "field"),
    [
        ({"tenant": "a b"}, "tenant"), ({"tenant": "threadmill.archives"}, "tenant"), ({"user": "a b"}, "user"),
        ({"user": ""}, "user"), ({"scopes": []}, "scopes"), ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": "read"}, "scopes"), ({"name": "x" * 101}, "name"), ({"name": "\0"}, "name"),
        ({"expires": timedelta()}, "expires"), ({"expires": -HOUR}, "expires"), ({"expires": timedelta.max}, "expires"),
        ({"expires": datetime(2001, 1, 1, tzinfo=UTC)}, "expires"), ({"expires": datetime(2050, 1, 1)}, "expires"),  # noqa: DTZ001 - refused for that
    ],
)  # fmt: skip
def test_what_no_key_can_have_is_refused(sqlite_url: str, request_values: dict[str, Any], field: str) -> None:
    with closing(Database(load(database_url=sqlite_url))) as database, pytest.raises(InvalidInput) as refusal:
        create(database, **request_values)

    assert refusal.value.field == field


def test_a_creation_and_a_rotation_may_be_repeated(any_database: Database) -> None:
    key, request = make_key(), KeyRequest(tenant="acme")

    first = any_database.run(create_key, request, key)
    assert any_database.run(create_key, request, key) == first
    rotated = make_key(key.id)
    once = any_database.run(rotate_key, rotated)
    assert any_database.run(rotate_key, rotated) == once

    assert is_good(any_database, key)
    assert actions(any_database) == ["key.created", "key.rotated"]


def actions(database: Database) -> list[str]:
    query = select(audit.c.action).where(audit.c.action.startswith("key.")).order_by(audit.c.key)
    return database.run(lambda connection: list(connection.execute(query).scalars()))


def test_a_key_ends_by_the_databases_clock(any_database: Database) -> None:
    key = create(any_database, expires=HOUR)
    assert is_good(any_database, key)

    change(any_database, key, expires_at=timedelta(seconds=-1))

    assert not is_good(any_database, key)
    assert record_of(any_database, key).state == "expired"
    with pytest.raises(InvalidInput, match=f"{key.id}' expired at .* UTC; create another one"):
        any_database.run(rotate_key, make_key(key.id))


def test_a_rotated_key_is_good_with_both_secrets_until_the_grace_is_over(any_database: Database) -> None:
    first = create(any_database)
    second, third = make_key(first.id), make_key(first.id)

    record = any_database.run(rotate_key, second)
    assert record.previous_expires_at is not None
    assert record.rotated_at is not None
    assert record.previous_expires_at - record.rotated_at == timedelta(days=1)
    assert is_good(any_database, first)
    assert is_good(any_database, second)

    # The grace is over; then a second rotation in the grace of the first.
    change(any_database, first, previous_expires_at=timedelta(seconds=-1))
    assert not is_good(any_database, first)
    assert is_good(any_database, second)
    change(any_database, first, previous_expires_at=HOUR)
    any_database.run(rotate_key, third)
    assert [is_good(any_database, key) for key in (first, second, third)] == [False, True, True]

    # Without a grace: at once.
    fourth = make_key(first.id)
    any_database.run(rotate_key, fourth, grace=timedelta())
    assert [is_good(any_database, key) for key in (second, third, fourth)] == [False, False, True]


def test_the_grace_of_a_rotation_never_outlives_the_key(any_database: Database) -> None:
    key = create(any_database, expires=HOUR)

    record = any_database.run(rotate_key, make_key(key.id))
    assert record.previous_expires_at == record.expires_at

    longer = any_database.run(rotate_key, make_key(key.id), expires=timedelta(days=9))
    assert longer.previous_expires_at == record.expires_at
    assert longer.expires_at is not None
    assert longer.rotated_at is not None
    assert longer.expires_at - longer.rotated_at == timedelta(days=9)


def test_a_revoked_key_is_revoked_for_good_with_all_its_secrets(any_database: Database) -> None:
    key = create(any_database)
    rotated = make_key(key.id)
    any_database.run(rotate_key, rotated)

    assert any_database.run(revoke_key, key.id).state == "revoked"

    assert not is_good(any_database, key)
    assert not is_good(any_database, rotated)
    for verb, argument in ((revoke_key, key.id), (rotate_key, make_key(key.id))):
        with pytest.raises(InvalidInput, match=f"{key.id}' was revoked at .* UTC"):
            any_database.run(verb, argument)
        with pytest.raises(InvalidInput, match="is no key's id"):
            any_database.run(verb, make_key() if verb is rotate_key else make_key().id)


def test_keys_are_listed_by_tenant(any_database: Database) -> None:
    ours, others = create(any_database), create(any_database, tenant="other")

    assert {record.id for record in any_database.run(list_keys)} == {ours.id, others.id}
    assert [record.id for record in any_database.run(list_keys, tenant="acme")] == [ours.id]


def test_a_use_is_noted_once_a_minute_whatever_the_key_is_like(any_database: Database) -> None:
    keys = [create(any_database) for _ in range(3)]
    ids = [key.id for key in keys]

    any_database.run(note_uses, [*ids, make_key().id])
    first = [record_of(any_database, key).last_used_at for key in keys]
    any_database.run(note_uses, ids)
    assert [record_of(any_database, key).last_used_at for key in keys] == first
    change(any_database, keys[0], last_used_at=timedelta(seconds=-61))
    any_database.run(note_uses, ids)

    now = [record_of(any_database, key).last_used_at for key in keys]
    assert None not in first
    assert now[1:] == first[1:]
    assert now[0] is not None
    assert first[0] is not None
    assert now[0] >= first[0]


@pytest.mark.parametrize(
    ("subject", "left"),
    [
        ({"user": "ann"}, {"bob", None, "other"}),
        ({"whole_tenant": True}, {"other"}),
        ({"thread_id": "t"}, {"ann", "bob", None, "other"}),
    ],
    ids=["user", "tenant", "thread"],
)
def test_an_erasure_takes_the_keys_of_its_subject(
    any_database: Database, subject: dict[str, Any], left: set[str | None]
) -> None:
    for user in ("ann", "bob", None):
        create(any_database, user=user)
    create(any_database, tenant="elsewhere", user="other")

    certificate = run_erasure(any_database, MemoryBlobs(), Subject(tenant="acme", **subject))

    assert {record.user for record in any_database.run(list_keys)} == left
    assert certificate["counts"].get("api_keys", 0) == 4 - len(left)
    assert certificate["outcome"] == ("erased" if len(left) < 4 else "nothing was found")


async def test_a_gateway_whose_role_may_not_read_keys_finds_those_that_it_is_shown(
    database_url: str, postgres_server: EmbeddedPostgres
) -> None:
    owner = Database(load(database_url=database_url))
    ours, theirs = create(owner), create(owner, tenant="other", user="ann")
    postgres_server.create_logins([GATEWAY])
    gateway = Database(load(database_url=postgres_server.url_as(GATEWAY, owner.url.database or "")))

    with act_for("acme"):
        found = await gateway.run_async(find_keys, [ours.id, theirs.id, make_key().id])
        await gateway.run_async(note_uses, [ours.id, theirs.id])
        with pytest.raises(DatabaseUnavailable, match="permission denied for table api_keys"):
            await gateway.run_async(list_keys)

    assert {key.id: (key.tenant, key.user) for key in found.values()} == {
        ours.id: ("acme", None),
        theirs.id: ("other", "ann"),
    }
    assert None not in [record.last_used_at for record in owner.run(list_keys)]
    assert len(await gateway.run_async(read_signing_key)) == 32
    await gateway.close_async()
    owner.close()


def test_the_installation_has_one_signing_key_which_stays(any_database: Database) -> None:
    key = any_database.run(read_signing_key)

    assert len(key) == 32
    assert any_database.run(read_signing_key) == key
