"""A client of Threadmill's HTTP gateway, for backends in any Python project.

What stays true: httpx is all that it needs, and nothing of Threadmill's own packages is imported.
"""

from threadmill_client.async_client import AsyncPages, AsyncThreadmill
from threadmill_client.client import Pages, Threadmill
from threadmill_client.decoding import Model
from threadmill_client.errors import (
    Conflict,
    ConnectionLost,
    Forbidden,
    GatewayFailed,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    Problem,
    RateLimited,
    ThreadmillError,
    TooLarge,
    TurnNotOver,
    Unauthorized,
    UnexpectedAnswer,
)
from threadmill_client.events import (
    AgentStep,
    AgentSteps,
    Event,
    MessageDelta,
    MessageDone,
    MessageRestarted,
    ThreadDeleted,
    ThreadSwitched,
    ToolStarted,
    TurnDecided,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWaiting,
    UnknownEvent,
)
from threadmill_client.inbound_source_models import InboundMapping, InboundSource, InboundSourceSecret
from threadmill_client.models import (
    Branch,
    BranchComparison,
    ContextEntry,
    File,
    Message,
    Page,
    PendingCall,
    Snippet,
    StreamToken,
    Summary,
    Thread,
    ToolCall,
    Turn,
    TurnError,
    Usage,
    UsageRow,
)
from threadmill_client.schedule_models import Schedule
from threadmill_client.unset import UNSET
from threadmill_client.version import __version__
from threadmill_client.webhook_models import Webhook, WebhookDelivery, WebhookSecret

__all__ = [  # noqa: RUF022 - by what they are
    # Clients
    "AsyncPages", "AsyncThreadmill", "Pages", "Threadmill", "UNSET", "__version__",
    # What they tell of
    "Branch", "BranchComparison", "ContextEntry", "File", "InboundMapping", "InboundSource",
    "InboundSourceSecret", "Message", "Model", "Page", "PendingCall", "Schedule", "Snippet", "StreamToken", "Summary",
    "Thread", "ToolCall", "Turn", "TurnError", "Usage", "UsageRow", "Webhook", "WebhookDelivery", "WebhookSecret",
    # Events
    "AgentStep", "AgentSteps", "Event", "MessageDelta", "MessageDone", "MessageRestarted", "ThreadDeleted",
    "ThreadSwitched", "ToolStarted", "TurnDecided", "TurnEnded", "TurnQueued", "TurnStarted", "TurnWaiting",
    "UnknownEvent",
    # Errors
    "Conflict", "ConnectionLost", "Forbidden", "GatewayFailed", "InvalidRequest", "NotFound", "PreconditionFailed",
    "Problem", "RateLimited", "ThreadmillError", "TooLarge", "TurnNotOver", "Unauthorized", "UnexpectedAnswer",
]  # fmt: skip
