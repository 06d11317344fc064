"""`threadmill retention …`: policies, legal holds, and runs that delete what is due."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conversation.errors import InvalidInput
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_database
from threadmill.cli.output import print_json, print_list, print_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from store.database.engine import Database
    from store.retention.policy import Policy

group = typer.Typer(help="Set how long threads are kept, and delete what is past it.", no_args_is_help=True)

ThreadId = Annotated[str, typer.Argument(help="The thread's id.")]
TenantScope = Annotated[str, typer.Option(help="The policy of this tenant; without it, of every tenant.")]
AgentScope = Annotated[str, typer.Option(help="Of threads that this agent answers.")]
ThreadScope = Annotated[str, typer.Option(help="Of one thread of the tenant.")]
Reason = Annotated[str, typer.Option(help="Why: a matter, no user's name. It stands in the audit for good.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@group.command("set")
def set_policy(
    tenant: TenantScope = "",
    agent: AgentScope = "",
    thread: ThreadScope = "",
    idle_days: Annotated[
        float | None, typer.Option(help="Delete threads that nothing changed for so many days.")
    ] = None,
    max_age_days: Annotated[float | None, typer.Option(help="Delete messages that are older.")] = None,
    max_messages: Annotated[int | None, typer.Option(help="Delete all but so many of the newest messages.")] = None,
    keep_last: Annotated[int | None, typer.Option(help="So many of the newest stay, however old they are.")] = None,
    keep_summary: Annotated[bool | None, typer.Option(help="Keep the summary, drop what it covers.")] = None,
    archive: Annotated[bool | None, typer.Option(help="Archive what is deleted.")] = None,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Accept an agent or a thread that is not known yet.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Set the policy of a scope, in place of the one before; the strictest of all applies to a thread.

    Says how many threads are past it now, and asks before it is set if there are any.
    """
    from store.retention import policies
    from store.retention.policy import Policy

    policy = Policy(
        tenant=tenant,
        agent=agent,
        thread_id=thread,
        idle_days=idle_days,
        max_age_days=max_age_days,
        max_messages=max_messages,
        keep_last=keep_last,
        keep_summary=keep_summary,
        archive=archive,
    )
    if policy.scope == "installation":
        raise InvalidInput("--tenant", "is missing", "what holds for all stands in the settings")
    policy.check()
    with open_database() as (database, _):
        if not allow_unknown:
            database.run(_check_known, policy=policy)
        _confirm(database, policy, yes=yes)
        database.run(policies.put, policy=policy)


def _check_known(connection: "Connection", policy: "Policy") -> None:
    """Refuse a scope whose name is nobody's: a slip would delete nothing, or later what was not meant."""
    from store.retention import preview

    fix = "mend the name, or pass --allow-unknown"
    if policy.agent and not preview.is_agent_known(connection, policy.agent):
        known_agents = ", ".join(preview.list_known_agents(connection)) or "none"
        raise InvalidInput("agent", f"{policy.agent!r} is known to nobody (known: {known_agents})", fix)
    if policy.thread_id and not preview.is_thread_known(connection, policy.tenant, policy.thread_id):
        raise InvalidInput("thread", f"{policy.thread_id!r} is not stored for tenant {policy.tenant!r}", fix)


def _confirm(database: "Database", policy: "Policy", *, yes: bool) -> None:
    """Say what the next run deletes by a policy, and ask whether it shall be set."""
    from store.retention.preview import preview

    counts = database.run(preview, policy=policy)
    about = "about " if counts.is_estimate else ""
    print_text(
        f"past this policy now: {about}{counts.whole} threads that go whole, "
        f"{about}{counts.shortened} that may lose messages"
    )
    if (counts.whole or counts.shortened) and not yes:
        typer.confirm("Set it, so that the next run of retention deletes them for good?", abort=True)


@group.command("list")
def list_policies(
    tenant: Annotated[str | None, typer.Option(help="Policies that apply to this tenant.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the policies; the settings of the last run are the installation's."""
    from store.retention import policies

    with open_database() as (database, _):
        stored_policies = database.run(policies.list_policies, tenant=tenant)
    columns: dict[str, Callable[[Policy], object]] = {
        "SCOPE": lambda policy: policy.scope,
        "TENANT": lambda policy: policy.tenant,
        "AGENT": lambda policy: policy.agent,
        "THREAD": lambda policy: policy.thread_id,
        "POLICY": _rules,
    }
    print_list(stored_policies, columns, empty="no policies are set", as_json=as_json, to_json=_policy_to_json)


def _policy_to_json(policy: "Policy") -> dict[str, Any]:
    return {"scope": policy.scope, **policy.to_json()}


def _rules(policy: "Policy") -> dict[str, Any]:
    """The rules of a policy, without its scope."""
    return {name: value for name, value in policy.to_json().items() if name not in ("tenant", "agent", "thread_id")}


@group.command("remove")
def remove_policy(tenant: TenantScope = "", agent: AgentScope = "", thread: ThreadScope = "") -> None:
    """Remove the policy of a scope."""
    from store.retention import policies

    with open_database() as (database, _):
        was_removed = database.run(policies.remove, tenant=tenant, agent=agent, thread_id=thread)
    if not was_removed:
        raise InvalidInput("policy", "is not set for this scope", "`threadmill retention list` shows all")


@group.command()
def hold(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, reason: Reason = "") -> None:
    """Put a thread under legal hold: nothing of it is deleted, whatever a policy says."""
    from store.retention import legal_holds

    with open_database() as (database, _):
        database.run(legal_holds.hold, tenant=tenant, thread_id=thread_id, reason=reason)


@group.command()
def release(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, reason: Reason = "") -> None:
    """Release a thread from its legal hold."""
    from store.retention import legal_holds

    with open_database() as (database, _):
        database.run(legal_holds.release, tenant=tenant, thread_id=thread_id, reason=reason)


@group.command()
def run(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted and by which policy; change nothing.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is past its retention, and files that no message has any more. Beat does it by itself.

    Threads under legal hold, and threads with unfinished turns, stay. The
    settings of this shell are the installation's policy.
    """
    if dry_run:
        _report(as_json=as_json)
        return
    if not yes:
        typer.confirm("Delete what `threadmill retention run --dry-run` shows, for good?", abort=True)
    _delete(as_json=as_json)


def _report(*, as_json: bool) -> None:
    """Print what a run would delete now, by which policy, and what a hold keeps."""
    from store.retention.dry_run import build_report

    with open_database() as (database, settings):
        report = build_report(database, settings)
    if as_json:
        print_json(report.to_json())
        return
    for share in report.due:
        rule = f"{share.policy['field']}={share.policy['value']:g} of the {share.policy['scope']}"
        print_text(f"{rule}: {share.threads} threads, {share.messages} messages, {share.bytes} bytes")
        if share.oldest is not None:
            print_text(f"  the oldest of {share.oldest:%Y-%m-%d %H:%M}")
    for thread in report.held:
        print_text(f"kept by a legal hold: {thread['id']} of {thread['tenant']} ({thread['policy']['field']})")
    if not report.held_is_complete:
        print_text(f"kept by a legal hold: more than {len(report.held):,}, of which no more are named")
    print_text(f"at work now: {report.busy}")
    if not report.is_complete:
        print_text("a policy changed since the last run: the next one may find more")


def _delete(*, as_json: bool) -> None:
    """Run retention, and print its outcome."""
    from tasks.jobs.retention import run_retention

    with open_database() as (database, settings):
        result = run_retention(database, settings)
    if as_json:
        print_json(asdict(result))
        return
    print_text(f"deleted {result.threads} threads, {result.messages} messages and {result.blobs} blobs")
    if result.archived:
        print_text(f"archived what a policy wants archived first, in {result.archived} parts")
    if result.held or result.busy:
        print_text(f"kept {result.held} threads by a legal hold, and {result.busy} that are at work")
    if result.erased:
        print_text(f"finished {result.erased} erasures that had broken off")
    if result.erasures_held or result.erasures_left:
        print_text(f"erasures not finished: {result.erasures_held} by a legal hold, {result.erasures_left} others")
    if result.failed:
        print_text(f"could not archive {result.failed} threads: they keep their messages")
