"""`threadmill inbound …`: sources of webhooks that come in: create, list, try, rotate, disable and delete them.

What stays true: a secret is printed once, by the command that makes it, alone on standard output.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_producer
from threadmill.cli.moments import read_length
from threadmill.cli.output import print_json, print_list, print_note, print_record, print_text, show_cell

if TYPE_CHECKING:
    from conversation.inbound_source import InboundSourceRecord, NewInboundSource

group = typer.Typer(help="Let other programs' webhooks send messages.", no_args_is_help=True)

OneSource = Annotated[str, typer.Argument(help="The source's id.")]


@group.command("create")
def create_inbound(
    name: Annotated[str, typer.Argument(help="What sends here, for you.")],
    thread: Annotated[str, typer.Option(help="The thread id: 'github-{/repository/id}-{/issue/number}'.")],
    text: Annotated[str, typer.Option(help="The message: '{/issue/title}: {/comment/body}'.")],
    key: Annotated[str, typer.Option(help="What tells a repeated event: '{header:x-github-delivery}'.")],
    user: Annotated[str | None, typer.Option(help="Who asks: '{/sender/login}'.")] = None,
    scheme: Annotated[
        str, typer.Option(help="How it is signed: standard-webhooks, hmac-sha256, github, stripe, token.")
    ] = "standard-webhooks",
    header: Annotated[str | None, typer.Option(help="The header of the signature, of hmac-sha256 and token.")] = None,
    only: Annotated[str | None, typer.Option(help='Take these alone: \'{"/action": ["opened"]}\'.')] = None,
    agent: Annotated[str | None, typer.Option(help="The agent that shall answer.")] = None,
    when_busy: Annotated[
        str | None, typer.Option(help="While its thread is busy: enqueue, reject, interrupt, rollback, merge, steer.")
    ] = None,
    secret_from_stdin: Annotated[
        bool, typer.Option("--secret-from-stdin", help="The secret is the sender's: read it from standard input.")
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Create a source, print its secret, and on standard error its address."""
    mapping = {"thread_id": thread, "text": text, "idempotency_key": key, **({} if user is None else {"user": user})}
    with open_producer() as producer:
        made = producer.inbound_sources.create(
            name,
            mapping,
            secret=_read_secret(secret_from_stdin),
            scheme=scheme,  # type: ignore[arg-type]  # checked with the others
            header=header,
            only=None if only is None else _read_json("--only", only),
            agent=agent,
            when_busy=when_busy,
            tenant=tenant,
        )
    _print_secret(made, is_theirs=secret_from_stdin, as_json=as_json)


@group.command("list")
def list_inbound(
    tenant: Annotated[str | None, typer.Option(help="Sources of this tenant; without it, of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sources, without their secrets."""
    with open_producer() as producer:
        sources = producer.inbound_sources.list(tenant=tenant)
    columns: dict[str, Callable[[InboundSourceRecord], object]] = {
        "SOURCE": lambda source: source.id,
        "STATE": lambda source: "enabled" if source.disabled_at is None else "disabled",
        "TENANT": lambda source: source.tenant,
        "SCHEME": lambda source: source.scheme.value,
        "AGENT": lambda source: source.agent,
        "CREATED": lambda source: source.created_at,
        "NAME": lambda source: source.name,
    }
    print_list(sources, columns, empty="no inbound sources are made", as_json=as_json, to_json=_to_json)


@group.command("try")
def try_inbound(
    source_id: OneSource,
    with_header: Annotated[
        list[str] | None, typer.Option(help="A header of it, as 'X-Id: 7'; may be repeated.")
    ] = None,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Print the message that a body on standard input would make. Nothing is verified, stored or sent."""
    from conversation.inbound_body import read_inbound_body
    from producers.inbound_message import build_inbound_request

    with open_producer() as producer:
        source, settings = producer.inbound_sources.find(source_id, tenant=tenant), producer.settings
    pairs = [line.partition(":")[::2] for line in with_header or []]
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    request = build_inbound_request(source, read_inbound_body(sys.stdin.buffer.read(), headers), settings)
    if request is None or request.message is None:
        print_json({"taken": False}) if as_json else print_text("this body is left out, by `only`")
        return
    message = {"thread": request.thread_id, "user": request.user, "text": request.message.content}
    print_record({"taken": True, **message, "metadata": request.metadata}, as_json=as_json)


@group.command("rotate")
def rotate_inbound(
    source_id: OneSource,
    grace: Annotated[str, typer.Option(help="How long the secret before works as well: 0s, 90s, 2h, 1d.")] = "24h",
    secret_from_stdin: Annotated[
        bool, typer.Option("--secret-from-stdin", help="The secret is the sender's: read it from standard input.")
    ] = False,
    tenant: Tenant = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Give a source a new secret and print it; the one before works as well for the grace."""
    length = read_length("--grace", grace)
    assert length is not None
    with open_producer() as producer:
        made = producer.inbound_sources.rotate_secret(
            source_id, secret=_read_secret(secret_from_stdin), grace=length, tenant=tenant
        )
    _print_secret(made, is_theirs=secret_from_stdin, as_json=as_json)


@group.command("enable")
def enable_inbound(source_id: OneSource, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Have a source take what comes."""
    _enable(source_id, tenant, enabled=True)


@group.command("disable")
def disable_inbound(source_id: OneSource, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Have a source refuse what comes, as if it were not there."""
    _enable(source_id, tenant, enabled=False)


@group.command("delete")
def delete_inbound(source_id: OneSource, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Delete a source; the turns of what came stay."""
    with open_producer() as producer:
        producer.inbound_sources.delete(source_id, tenant=tenant)
    print_text(f"deleted {show_cell(source_id)}")


def _enable(source_id: str, tenant: str, *, enabled: bool) -> None:
    with open_producer() as producer:
        source = producer.inbound_sources.enable(source_id, enabled=enabled, tenant=tenant)
    print_text(f"{source.id} is {'enabled' if source.disabled_at is None else 'disabled'}")


def _read_secret(from_stdin: bool) -> str | None:
    return sys.stdin.readline().strip() if from_stdin else None


def _print_secret(made: "NewInboundSource", *, is_theirs: bool, as_json: bool) -> None:
    """Print a secret that was made, and on standard error where to send."""
    source, secret = made.source, None if is_theirs else made.secret
    if as_json:
        print_json({**_to_json(source), "path": source.path, "secret": secret})
        return
    if secret is not None:
        print_text(secret)
    print_note(f"threadmill: send to {source.path} of the gateway; the secret is not shown again")


def _to_json(source: "InboundSourceRecord") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(source)


def _read_json(option: str, text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise typer.BadParameter(f"is {text!r}; write JSON", param_hint=option) from None
