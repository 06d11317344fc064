"""`threadmill threads summarize`, `summaries`, `restore-summary`: the summaries of a thread's older part."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.errors import InvalidInput
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, use_store
from threadmill.cli.output import print_list, print_note, print_text
from threadmill.cli.threads import ThreadId

if TYPE_CHECKING:
    from conversation.summary import Summary
    from store.thread_store import ThreadStore


def _state(summary: "Summary") -> str:
    return "current" if summary.is_current else "restored" if summary.restored_at else "replaced"


_COLUMNS: "dict[str, Callable[[Summary], object]]" = {
    "CREATED": lambda summary: summary.created_at,
    "SUMMARY": lambda summary: summary.id,
    "STATE": _state,
    "FROM_SEQ": lambda summary: summary.from_seq,
    "TO_SEQ": lambda summary: summary.to_seq,
    "MODEL": lambda summary: summary.model,
}


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
        from store.summaries.summarize import defaults_of

        agents = registry.load(store.settings.agent_modules)
        name = agent or store.settings.default_agent
        if name not in agents:
            raise InvalidInput("agent", f"{name!r} is not registered", f"use one of {', '.join(agents)}")
        summarizer = agents[name].summarizer(defaults_of(store.settings))
        preload(summarizer.model_name, parameters=summarizer.parameters, has_tools=False)
        return await store.summarize_thread(thread_id, agents[name], keep_messages=keep)

    new_summaries = use_store(tenant, work)
    reason = "only the turns to keep are left, or another summary, a restore or retention came first"
    print_list(new_summaries, _COLUMNS, empty=f"no summary was written: {reason}", as_json=as_json)


def summaries(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """List a thread's summaries, the newest first; models read the current one."""
    stored_summaries = use_store(tenant, lambda store: store.list_summaries(thread_id))
    print_list(stored_summaries, _COLUMNS, empty=f"{thread_id} has no summaries", as_json=as_json)
    for summary in stored_summaries:
        if summary.is_current and not as_json:
            print_text(f"\n{summary.content}")


def restore(thread_id: ThreadId, tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Undo the newest summary: models read the one before again, or the messages themselves."""
    undone_summary = use_store(tenant, lambda store: store.restore_summary(thread_id))
    undone_summaries = [] if undone_summary is None else [undone_summary]
    print_list(undone_summaries, _COLUMNS, empty=f"{thread_id} has no summary", as_json=as_json)
    if undone_summaries:
        print_note("it is undone; no other is written by itself for a day")
