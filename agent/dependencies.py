"""The dependencies of a run, passed in by its caller: a model, a journal, files, threads for tools.

What stays true: the loop reaches the world through these alone, so that a worker, a library call and
a test run it in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agent.events import Event
from agent.files.protocol import AttachmentReader
from agent.journal import Journal
from agent.models.protocol import Model, ModelPermits
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool_loops import ToolLoops
from conversation.pending_call import WAIT_EXPIRE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDependencies:
    """The dependencies of one run, which owns none of them."""

    model: Model
    #: As the request names it.
    model_name: str
    journal: Journal
    attachments: AttachmentReader
    tool_threads: ToolThreads
    #: Where async tools run; None runs them on the loop of the turn.
    tool_loops: ToolLoops | None = None
    #: The model of agents that name none; None has `model_name`.
    default_model_name: str | None = None
    #: How deep agents may call agents, and how many a turn may call, where the turn's agent sets no limit.
    max_depth: int = 5
    max_children: int = 50
    #: Attempts at a turn, whatever it fails of; 0 sets a limit only to what does not pass by itself.
    max_attempts: int = 0
    #: Seconds for which a turn is retried while what it needs is away.
    max_retry_seconds: float = 86_400
    #: Seconds that a turn waits for a decision, where its agent does not say.
    wait_expire_seconds: float = WAIT_EXPIRE_SECONDS
    #: Whether a turn's error keeps what a provider said, which may quote users.
    keeps_provider_errors: bool = False
    #: The circuit breakers of the process's models; None has none.
    breakers: ModelPermits | None = None
    #: Networks in which MCP servers may be beside public addresses.
    mcp_allow_networks: tuple[str, ...] = ()
    #: Called with each event; None where no caller wants events.
    emit: Callable[[Event], None] | None = None
