"""`threadmill threads summarize`, `summaries`, `restore-summary`: the summaries of a thread's older part."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.errors import InvalidInput
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, print_json, use_store
from threadmill.cli.threads import ThreadId

if TYPE_CHECKING:
    from conversation.summary import Summary
    from store.thread_store import ThreadStore


def summarize(
    thread_id: ThreadId,
    tenant: Tenant = DEFAULT_TENANT,
    agent: Annotated[
        str | None, typer.Option(help="Whose model and prompt; without it, THREADMILL_DEFAULT_AGENT.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Messages that stay; without it, as the agent says.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have all turns but the newest summarized, now. The messages stay stored."""

    async def work(store: "ThreadStore") -> "list[Summary]":
        from agent import registry
        from agent.model_factory import preload
        from store.settings import export_key_files
        from store.summaries.summarize import defaults_of

        export_key_files(os.environ)
        agents = registry.load(store.settings.agent_modules)
        name = agent or store.settings.default_agent
        if name not in agents:
            raise InvalidInput("agent", f"{name!r} is not registered", f"use one of {', '.join(agents)}")
        summarizer = agents[name].summarizer(defaults_of(store.settings))
        preload(summarizer.model_name, parameters=summarizer.parameters, has_tools=False)
        return await store.summarize_thread(thread_id, agents[name], keep_messages=keep)

    new_summaries = use_store(tenant, work)
    if as_json:
        print_json([asdict(summary) for summary in new_summaries])
        return
    for summary in new_summaries:
        print(f"{summary.id}: seq {summary.from_seq} to {summary.to_seq}, by {summary.model}")
    if not new_summaries:
        reason = "only the turns to keep are left"
        print(f"no summary was written: {reason}, or another summary, a restore or retention came first")


def summaries(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """List a thread's summaries, the newest first; models read the current one."""
    stored_summaries = use_store(tenant, lambda store: store.list_summaries(thread_id))
    if as_json:
        print_json([asdict(summary) for summary in stored_summaries])
        return
    for summary in stored_summaries:
        state = "current" if summary.is_current else "restored" if summary.restored_at else "replaced"
        print(f"{summary.created_at:%Y-%m-%d %H:%M}  {summary.id}  {state:<8}  to seq {summary.to_seq}")
        if summary.is_current:
            print(summary.content)


def restore(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Undo the newest summary: models read the one before again, or the messages themselves."""
    undone_summary = use_store(tenant, lambda store: store.restore_summary(thread_id))
    if as_json:
        print_json(None if undone_summary is None else asdict(undone_summary))
    elif undone_summary is None:
        print(f"{thread_id} has no summary")
    else:
        print(f"{undone_summary.id} is undone; no other is written by itself for a day")
