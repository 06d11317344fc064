"""`threadmill keys …`: make API keys for the gateway, list, rotate and revoke them.

What stays true: a key is printed once, by the command that makes its secret, alone on standard output, so that it
can be piped where it belongs; no other command knows it.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, open_database
from threadmill.cli.moments import END_HELP, read_end, read_length
from threadmill.cli.output import print_json, print_list, print_note, print_text, show_cell

if TYPE_CHECKING:
    from store.keys.key_rows import KeyRecord
    from store.keys.key_text import ApiKey

group = typer.Typer(help="Make API keys for the gateway, list, rotate and revoke them.", no_args_is_help=True)

OneKey = Annotated[str, typer.Argument(help="The key's id, or the key itself.")]
Expires = Annotated[str | None, typer.Option(help=f"When the key ends: {END_HELP}. Without it: never.")]


@group.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whose threads it is for.")] = DEFAULT_TENANT,
    user: Annotated[str | None, typer.Option(help="The only user whose threads it may see.")] = None,
    scopes: Annotated[str, typer.Option(help="What it may do, comma-separated: read, write, operate.")] = "read,write",
    expires: Expires = None,
    name: Annotated[str, typer.Option(help="What you call it: who has it, and for what.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once and alone: it is stored nowhere.

    `read` looks, `write` sends and changes, `operate` deletes, asks again, and makes webhooks.
    """
    from store.keys.key_rows import KeyRequest, create_key
    from store.keys.key_text import make_key

    request = KeyRequest(
        tenant=tenant, name=name, scopes=_split(scopes), user=user, expires=read_end("--expires", expires)
    )
    key = make_key()
    with open_database() as (database, _):
        record = database.run(create_key, request, key)
    _print_key(key, record, as_json=as_json)


@group.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Keys of this tenant; without it, of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the keys, without their secrets."""
    from store.keys import key_rows

    with open_database() as (database, _):
        keys = database.run(key_rows.list_keys, tenant=tenant)
    columns: dict[str, Callable[[KeyRecord], object]] = {
        "KEY": lambda key: key.id,
        "STATE": lambda key: key.state,
        "TENANT": lambda key: key.tenant,
        "USER": lambda key: key.user,
        "SCOPES": lambda key: ",".join(key.scopes),
        "CREATED": lambda key: key.created_at,
        "EXPIRES": lambda key: key.expires_at,
        "USED": lambda key: key.last_used_at,
        "NAME": lambda key: key.name,
    }
    print_list(keys, columns, empty="no keys are made", as_json=as_json)


@group.command("rotate")
def rotate_key(
    key_id: OneKey,
    grace: Annotated[str, typer.Option(help="How long the secret before works as well: 0s, 90s, 2h, 1d.")] = "24h",
    expires: Annotated[str | None, typer.Option(help=f"A new end: {END_HELP}. Without it: as before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it; the one before works as well for the grace."""
    from store.keys import key_rows
    from store.keys.key_text import make_key, read_id

    length = read_length("--grace", grace)
    assert length is not None
    key = make_key(read_id("key_id", key_id))
    with open_database() as (database, _):
        record = database.run(key_rows.rotate_key, key, grace=length, expires=read_end("--expires", expires))
    _print_key(key, record, as_json=as_json)


@group.command("revoke")
def revoke_key(key_id: OneKey) -> None:
    """Revoke a key for good, and each secret of it.

    Gateways take it for as long as they keep what they read (THREADMILL_GATEWAY_CREDENTIAL_CACHE_SECONDS).
    """
    from store.keys import key_rows
    from store.keys.key_text import read_id

    with open_database() as (database, settings):
        record = database.run(key_rows.revoke_key, read_id("key_id", key_id))
    seconds = settings.gateway_credential_cache_seconds
    print_text(f"revoked {record.id}; every gateway refuses it within {seconds:g} s")


def _print_key(key: "ApiKey", record: "KeyRecord", *, as_json: bool) -> None:
    """Print a key with its new secret, and on standard error what it is."""
    if as_json:
        print_json({"key": key.text, **asdict(record)})
        return
    print_text(key.text)
    print_note(f"threadmill: key {show_cell(record.id)} of tenant {record.tenant}; it is not shown again")
    if record.previous_expires_at is not None:
        print_note(f"threadmill: the secret before works until {_show(record.previous_expires_at)}")


def _show(moment: datetime) -> str:
    return show_cell(moment)


def _split(scopes: str) -> list[str]:
    return [scope.strip() for scope in scopes.split(",") if scope.strip()]
