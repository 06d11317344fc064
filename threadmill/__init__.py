"""Threadmill: durable conversations for LLM agents, run as Celery jobs or in your own process.

Names are loaded when they are first used: a web backend that only sends does not import what a
worker needs.
"""

import importlib
from typing import Any

import threadmill_packages

#: The module of each public name. `__init__.pyi` says the same to type checkers; a test holds them together.
_MODULES = {
    # Agents and what they are made of
    "Agent": "threadmill.local_agent",
    "AgentResult": "threadmill.agent_result",
    "register": "agent.registry",
    "Tool": "agent.tools.tool",
    "tool": "agent.tools.tool",
    "RunContext": "agent.tools.run_context",
    "WEB_TOOLS": "agent.web",
    "mcp": "agent.mcp",
    # Conversations
    "Thread": "conversation.thread",
    "Message": "conversation.message",
    "Attachment": "conversation.attachment",
    "TextPart": "conversation.parts",
    "ImagePart": "conversation.parts",
    "FilePart": "conversation.parts",
    "ToolCall": "conversation.message",
    "Usage": "conversation.message",
    # Stores
    "ThreadStore": "store.thread_store",
    "Summary": "conversation.summary",
    "FileStore": "store.file_store",
    # Sending to workers
    "send_message": "producers",
    "send_message_async": "producers",
    "Turn": "producers",
    "AsyncTurn": "producers",
    "TurnState": "conversation.turn",
    "TurnResult": "conversation.turn",
    # Watching a run
    "Event": "agent.events",
    "TextDelta": "agent.models.protocol",
    "StreamRestarted": "agent.models.protocol",
    "ToolStarted": "agent.events",
    "ToolFinished": "agent.events",
    "MessageAdded": "agent.events",
    "TurnFinished": "agent.events",
    # Models of your own
    "Model": "agent.models.protocol",
    "ModelRequest": "agent.models.protocol",
    "ModelReply": "agent.models.protocol",
    # Errors
    "ThreadmillError": "conversation.errors",
    "InvalidInput": "conversation.errors",
    "ThreadNotFound": "conversation.errors",
    "ThreadUnderLegalHold": "conversation.errors",
    "TitleConflict": "conversation.errors",
    "TurnFailed": "conversation.errors",
    "FileRejected": "conversation.errors",
    "FileNotStored": "conversation.errors",
    "FileStoreUnavailable": "conversation.errors",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    module_name = _MODULES.get(name)
    if module_name is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    threadmill_packages.check(module_name.partition(".")[0])
    importlib.import_module("conversation.logs").use_standard_logging()
    return getattr(importlib.import_module(module_name), name)


def __dir__() -> list[str]:
    return sorted(__all__)
