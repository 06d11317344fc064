"""`threadmill webhooks …`: make webhooks, list, change and delete them, see what was delivered, send it again.

What stays true: the key that signs is printed once, by the command that makes it, alone on standard output, so that it
can be piped where it belongs; no other command shows it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, open_database, open_producer
from threadmill.cli.moments import read_length, read_moment
from threadmill.cli.output import print_json, print_list, print_note, print_text, show_cell

if TYPE_CHECKING:
    from producers.webhooks import NewSecret, Webhook, WebhookDelivery

group = typer.Typer(
    help="Tell other servers of events: make webhooks, and see what they were told.", no_args_is_help=True
)

OneWebhook = Annotated[str, typer.Argument(help="The webhook's id.")]
Url = Annotated[str, typer.Argument(help="Where events are sent: https://…")]
Kinds = Annotated[
    str | None,
    typer.Option(
        help="Of which events, comma-separated: turn.completed, turn.failed, turn.cancelled, turn.waiting, "
        "thread.switched. Without it: of all."
    ),
]
Agents = Annotated[str | None, typer.Option(help="Of whose turns, comma-separated. Without it: of all agents.")]
Link = Annotated[
    str | None, typer.Option(help="Where a person decides what a turn waits for: https://…/{turn_id}/{call_id}.")
]
Name = Annotated[str, typer.Option(help="What you call it.")]


@group.command("create")
def create_webhook(
    url: Url,
    tenant: Annotated[str, typer.Option(help="Of whose events it is told.")] = DEFAULT_TENANT,
    kinds: Kinds = None,
    agents: Agents = None,
    link: Link = None,
    name: Name = "",
    as_json: AsJson = False,
) -> None:
    """Make a webhook and print the key by which its server verifies, once and alone."""
    with open_producer() as producer:
        made = producer.webhooks.create(
            url, tenant=tenant, kinds=_split(kinds), agents=_split(agents), link_template=link, name=name
        )
    _print_secret(made, as_json=as_json)


@group.command("list")
def list_webhooks(
    tenant: Annotated[str | None, typer.Option(help="Webhooks of this tenant; without it, of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the webhooks, without their keys."""
    with open_producer() as producer:
        webhooks = producer.webhooks.list(tenant=tenant)
    columns: dict[str, Callable[[Webhook], object]] = {
        "WEBHOOK": lambda webhook: webhook.id,
        "STATE": _state_of,
        "TENANT": lambda webhook: webhook.tenant,
        "KINDS": lambda webhook: ",".join(webhook.kinds) if webhook.kinds else "all",
        "AGENTS": lambda webhook: ",".join(webhook.agents) if webhook.agents else "all",
        "FAILURES": lambda webhook: webhook.failures,
        "NEXT": lambda webhook: webhook.retry_at,
        "NAME": lambda webhook: webhook.name,
        "URL": lambda webhook: webhook.url,
    }
    print_list(webhooks, columns, empty="no webhooks are made", as_json=as_json)


@group.command("change")
def change_webhook(
    webhook_id: OneWebhook,
    url: Annotated[str | None, typer.Option(help="Where events are sent from now on.")] = None,
    kinds: Kinds = None,
    agents: Agents = None,
    link: Link = None,
    name: Annotated[str | None, typer.Option(help="What you call it.")] = None,
) -> None:
    """Change what is given: an option that is left out stays as it is."""
    given = {"url": url, "kinds": _split(kinds), "agents": _split(agents), "link_template": link, "name": name}
    _change(webhook_id, {field: value for field, value in given.items() if value is not None})


@group.command("enable")
def enable_webhook(webhook_id: OneWebhook) -> None:
    """Tell a webhook of events again, first of what waited for it."""
    _change(webhook_id, {"enabled": True})


@group.command("disable")
def disable_webhook(webhook_id: OneWebhook) -> None:
    """Tell a webhook of nothing more, until it is enabled."""
    _change(webhook_id, {"enabled": False})


@group.command("rotate")
def rotate_secret(
    webhook_id: OneWebhook,
    grace: Annotated[str, typer.Option(help="How long the key before signs as well: 0s, 90s, 2h, 1d.")] = "24h",
    as_json: AsJson = False,
) -> None:
    """Give a webhook a new key and print it; the one before signs as well for the grace."""
    length = read_length("--grace", grace)
    assert length is not None
    with open_producer() as producer:
        made = producer.webhooks.rotate_secret(webhook_id, grace=length, tenant=None)
    _print_secret(made, as_json=as_json)


@group.command("reseal")
def reseal_secrets() -> None:
    """Encrypt all keys by the first of THREADMILL_WEBHOOK_ENCRYPTION_KEYS; then the others may go.

    Those of webhooks, and those of inbound sources.
    """
    from store.webhooks import reseal
    from store.webhooks.sealed_secrets import SealedSecrets

    with open_database() as (database, settings):
        rows = database.run(reseal.list_sealed)
        for table_name, row_id in rows:
            database.run(reseal.reseal, table_name, row_id, SealedSecrets(settings))
    print_text(f"encrypted the keys of {len(rows)} webhooks and inbound sources anew")


@group.command("delete")
def delete_webhook(webhook_id: OneWebhook) -> None:
    """Delete a webhook, with what was not delivered yet."""
    with open_producer() as producer:
        producer.webhooks.delete(webhook_id, tenant=None)
    print_text(f"deleted {webhook_id}")


@group.command("deliveries")
def list_deliveries(
    webhook_id: OneWebhook,
    state: Annotated[str | None, typer.Option(help="Those in this state: pending, delivered or dead.")] = None,
    limit: Annotated[int, typer.Option(help="How many, at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the deliveries to a webhook, the newest first."""
    with open_producer() as producer:
        page = producer.webhooks.list_deliveries(webhook_id, state=state, limit=limit, tenant=None)
    columns: dict[str, Callable[[WebhookDelivery], object]] = {
        "DELIVERY": lambda delivery: delivery.id,
        "STATE": lambda delivery: delivery.state,
        "KIND": lambda delivery: delivery.kind,
        "HAPPENED": lambda delivery: delivery.created_at,
        "TRIES": lambda delivery: delivery.attempts,
        "NEXT": lambda delivery: delivery.next_try_at,
        "STATUS": lambda delivery: delivery.last_status,
        "THREAD": lambda delivery: delivery.thread_id,
        "TURN": lambda delivery: delivery.turn_id,
        "ERROR": lambda delivery: delivery.last_error,
    }
    print_list(page, columns, empty="nothing was to be delivered to it", as_json=as_json)
    if page.next_cursor is not None:
        print_note("threadmill: there are more; see --limit")


@group.command("replay")
def replay(
    webhook_id: OneWebhook,
    delivery_id: Annotated[str | None, typer.Argument(help="Which delivery; without it, all that are dead.")] = None,
    since: Annotated[str | None, typer.Option(help="Of events since then: 2h ago, or a moment.")] = None,
) -> None:
    """Send a delivery once more, or all that are dead, each under its id."""
    with open_producer() as producer:
        if delivery_id is not None:
            producer.webhooks.replay(webhook_id, delivery_id, tenant=None)
            print_text(f"{delivery_id} is sent again")
            return
        count = producer.webhooks.replay_dead(webhook_id, since=read_moment("--since", since), tenant=None)
    print_text(f"{count} deliveries are sent again")


@group.command("send")
def send() -> None:
    """Send what is due now: for installations without beat and a maintenance worker, which do it by themselves."""
    from tasks.jobs.send_webhooks import send_webhooks

    with open_database() as (database, settings):
        counts = send_webhooks(database, settings)
    print_text(", ".join(f"{state} {count}" for state, count in sorted(counts.items())) or "nothing is due")


def _change(webhook_id: str, changes: dict[str, Any]) -> None:
    with open_producer() as producer:
        webhook = producer.webhooks.change(webhook_id, tenant=None, **changes)
    print_text(f"{webhook.id} is {webhook.state}")


def _print_secret(made: "NewSecret", *, as_json: bool) -> None:
    """Print a key that was made, and on standard error of what it is."""
    from dataclasses import asdict

    if as_json:
        print_json({"secret": made.secret, **asdict(made.webhook)})
        return
    print_text(made.secret)
    webhook = made.webhook
    print_note(f"threadmill: key of webhook {webhook.id} of tenant {webhook.tenant}; it is not shown again")
    if webhook.previous_key_expires_at is not None:
        print_note(f"threadmill: the key before signs until {show_cell(webhook.previous_key_expires_at)}")


def _state_of(webhook: "Webhook") -> str:
    return f"{webhook.state} ({webhook.disabled_reason})" if webhook.disabled_reason else webhook.state


def _split(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]
