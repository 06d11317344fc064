"""Threadmill: durable conversations for LLM agents, run as Celery jobs or in your own process.

Names are loaded when they are first used: a web backend that only sends does not import what a
worker needs.
"""

import importlib
from typing import Any

import threadmill_packages

#: Of the code: in the image it is not installed, so no package says its version.
__version__ = "0.1.0"

#: The module of each public name. `__init__.pyi` says the same to type checkers; a test holds them together.
_MODULES = {
    # Agents and what they are made of
    "Agent": "threadmill.local_agent",
    "AgentResult": "threadmill.agent_result",
    "register": "agent.registry",
    "Tool": "agent.tools.tool",
    "tool": "agent.tools.tool",
    "RunContext": "agent.tools.run_context",
    "ProducedFile": "agent.tools.produced_file",
    "WEB_TOOLS": "agent.web",
    "mcp": "agent.mcp",
    # Conversations
    "Thread": "conversation.thread",
    "Message": "conversation.message",
    "PendingMessage": "conversation.pending_message",
    "Attachment": "conversation.attachment",
    "TextPart": "conversation.parts",
    "ImagePart": "conversation.parts",
    "FilePart": "conversation.parts",
    "ToolCall": "conversation.message",
    "Usage": "conversation.message",
    # Stores
    "ThreadStore": "store.thread_store",
    "ThreadPage": "store.threads.listing",
    "Summary": "conversation.summary",
    "FileStore": "store.file_store",
    "Settings": "store.settings",
    # Sending to workers
    "send_message": "producers",
    "send_message_async": "producers",
    "SendOptions": "producers.send_options",
    "send_message_in": "producers.sqlalchemy_orm",
    "send_message_in_async": "producers.sqlalchemy_orm",
    "send_message_in_atomic": "producers.django",
    "Producer": "producers",
    "default_producer": "producers",
    "warm_up": "producers",
    "warm_up_async": "producers",
    # Turns
    "Turn": "producers",
    "AsyncTurn": "producers",
    "find_turn": "producers",
    "find_turn_async": "producers",
    "list_turns": "producers",
    "list_turns_async": "producers",
    "cancel_turn": "producers",
    "cancel_turn_async": "producers",
    "requeue_turn": "producers",
    "requeue_turn_async": "producers",
    "requeue_turns": "producers",
    "requeue_turns_async": "producers",
    "RequeueReport": "producers",
    "TurnPage": "store.turns.thread_turns",
    "TurnRecord": "conversation.turn",
    "TurnState": "conversation.turn",
    "TurnError": "conversation.turn",
    "TurnResult": "conversation.turn",
    # Branches
    "choose_branch": "producers",
    "choose_branch_async": "producers",
    "compare_branches": "producers",
    "compare_branches_async": "producers",
    "delete_branch": "producers",
    "delete_branch_async": "producers",
    "edit_message": "producers",
    "edit_message_async": "producers",
    "list_branches": "producers",
    "list_branches_async": "producers",
    "make_branch": "producers",
    "make_branch_async": "producers",
    "regenerate": "producers",
    "regenerate_async": "producers",
    "rename_branch": "producers",
    "rename_branch_async": "producers",
    "Branch": "store.branches.branches",
    "Comparison": "store.branches.branches",
    # What a backend shows
    "read_thread": "producers",
    "read_thread_async": "producers",
    "find_file": "producers",
    "find_file_async": "producers",
    "read_file": "producers",
    "read_file_async": "producers",
    "file_url": "producers",
    "file_url_async": "producers",
    "thumbnail_url": "producers",
    "thumbnail_url_async": "producers",
    # Following threads
    "thread_events": "producers",
    "thread_events_async": "producers",
    "user_events": "producers",
    "user_events_async": "producers",
    "ThreadEvent": "conversation.events",
    "TurnQueued": "conversation.events",
    "TurnStarted": "conversation.events",
    "MessageDelta": "conversation.events",
    "MessageRestarted": "conversation.events",
    "MessageDone": "conversation.events",
    "ToolCallStarted": "conversation.events",
    "TurnEnded": "conversation.events",
    "ThreadDeleted": "conversation.events",
    # Files that clients upload by themselves
    "create_upload": "producers",
    "create_upload_async": "producers",
    "complete_upload": "producers",
    "complete_upload_async": "producers",
    "Upload": "producers.uploads",
    # The gateway, in an app of your own
    "create_gateway": "producers.http.app",
    "run_gateway": "producers.http.app",
    "Authenticator": "producers.http.principal",
    "Principal": "producers.http.principal",
    # Watching a run
    "Event": "agent.events",
    "TextDelta": "agent.models.protocol",
    "StreamRestarted": "agent.models.protocol",
    "ReplyBegun": "agent.events",
    "ToolStarted": "agent.events",
    "ToolFinished": "agent.events",
    "MessageAdded": "agent.events",
    "TurnFinished": "agent.events",
    # Models of your own
    "Model": "agent.models.protocol",
    "ModelRequest": "agent.models.protocol",
    "ModelReply": "agent.models.protocol",
    "RecallModel": "agent.offline.model",
    # Errors
    "ThreadmillError": "conversation.errors",
    "UserError": "conversation.errors",
    "InvalidInput": "conversation.errors",
    "IdempotencyConflict": "conversation.errors",
    "UnknownAgent": "conversation.errors",
    "ThreadNotFound": "conversation.errors",
    "BranchNotFound": "conversation.errors",
    "BranchInUse": "conversation.errors",
    "MessageNotFound": "conversation.errors",
    "TurnNotFound": "conversation.errors",
    "TurnNotRequeueable": "conversation.errors",
    "LimitReached": "conversation.errors",
    "UploadNotFound": "conversation.errors",
    "UploadIncomplete": "conversation.errors",
    "FileNotReady": "conversation.errors",
    "ThreadUnderLegalHold": "conversation.errors",
    "TitleConflict": "conversation.errors",
    "MessagesNotLoaded": "conversation.errors",
    "FileRejected": "conversation.errors",
    "OperatorError": "conversation.errors",
    "InvalidSettings": "conversation.errors",
    "DatabaseUnavailable": "conversation.errors",
    "DatabaseRefused": "conversation.errors",
    "FileStoreUnavailable": "conversation.errors",
    "FileNotStored": "conversation.errors",
    "ScannerUnavailable": "conversation.errors",
    "ToolServerUnavailable": "conversation.errors",
    "UploadsNotSupported": "conversation.errors",
    "ModelError": "conversation.errors",
    "TurnFailed": "conversation.errors",
    "LeaseLost": "conversation.errors",
    "Fault": "conversation.errors",
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
