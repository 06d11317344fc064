"""The settings of turns: the agents that answer them, and the workers and sweeps that run them."""

from typing import Self

from pydantic import BaseModel, Field, model_validator

from conversation.when_busy import MERGE_MAX, WhenBusy
from store.settings.units import (
    CommaSeparated,
    LimitOfTenant,
    Networks,
    NonEmptyText,
    Seconds,
    SecondsOrZero,
    TenantLimit,
)
from store.settings.variables import variable


class AgentSettings(BaseModel):
    """The agents, and what holds for one that does not say."""

    #: Modules that define agents, comma-separated: imported by every worker.
    agent_modules: CommaSeparated = ("agent.assistant",)
    #: The agent of a message that names none.
    default_agent: NonEmptyText = "assistant"
    #: What becomes of a message whose thread has an unfinished turn, where the message, its thread and its agent say
    #: nothing: `enqueue`, `reject`, `interrupt`, `rollback`, `merge` or `steer`.
    when_busy: WhenBusy = WhenBusy.ENQUEUE
    #: Messages that one turn answers together, at most, where they were sent to be merged; as many it takes in while
    #: it runs, at each step.
    merge_max_messages: int = Field(MERGE_MAX, ge=1, le=1000)
    #: The model of agents that name none.
    model: NonEmptyText = "offline/recall"
    #: How deep agents may call agents as tools, for an agent that sets no limit; 0 lets none call another.
    agent_max_depth: int = Field(5, ge=0, le=20)
    #: Agents that one turn may call as tools, those of called agents included, for an agent that sets no limit.
    agent_max_children: int = Field(50, ge=0, le=1000)
    #: Keep what a provider said with a turn's error, short and without keys. It may quote what users wrote: without it,
    #: the kind of the error, its HTTP status and a sentence of ours are kept.
    keep_provider_errors: bool = False
    #: Networks in which remote MCP servers may be beside public addresses, comma-separated: `127.0.0.0/8,10.1.0.0/16`.
    mcp_allow_networks: Networks = ()


class WorkerSettings(BaseModel):
    """How many turns run at once, how long a worker holds them, and how lost ones are found."""

    #: Turns that one worker process runs at once, most of which wait for a model.
    worker_concurrency: int = Field(100, ge=1, le=10_000)
    #: Connections to the database that the turns of one worker process share; its heartbeat has one more.
    worker_db_connections: int = Field(8, ge=1, le=1000)
    #: Threads of a worker process that run synchronous tools.
    tool_threads: int = Field(32, ge=1, le=1000)
    #: Seconds after its last heartbeat in which a worker still counts as alive.
    lease_duration_seconds: Seconds = 15
    #: Seconds between two heartbeats.
    heartbeat_interval_seconds: Seconds = 2
    #: Folder of the files by which health checks see a worker; if empty, one of the user's in the temporary folder.
    runtime_dir: str = ""
    #: Attempts at one turn, whatever it fails of; an agent may have its own number. 0 means any number while something
    #: is away, and an end at the fifth or a later one that fails of anything else.
    turn_max_attempts: int = Field(0, ge=0)
    #: Seconds for which a turn is retried while what it needs is away: its model, the file store, a tool server.
    #: An agent may have its own, and a turn's deadline may be sooner.
    turn_retry_max_seconds: float = Field(86_400, ge=0, le=30 * 86_400, allow_inf_nan=False)
    #: Seconds that a turn waits for a decision, an answer or a client's result; an agent may have its own, and a turn's
    #: deadline may be sooner.
    wait_expire_seconds: float = Field(7 * 86_400, gt=0, le=366 * 86_400, allow_inf_nan=False)
    #: Failures in a row, in one worker, after which a model's breaker opens: the other workers do not ask it either.
    breaker_failures: int = Field(5, ge=1)
    #: Seconds between two probes, over all workers, whether a model whose breaker is open is back.
    breaker_probe_seconds: Seconds = 10
    #: Turns of one tenant that run at once: with `%`, the part of each worker's places that it may take while that
    #: worker sees other tenants, too (alone it may take all); a number holds over all workers, beside
    #: claims of the same moment; 0 is no limit.
    tenant_max_running_turns: LimitOfTenant = TenantLimit(percent=90)
    #: Unfinished turns of one tenant before further messages are refused; 0 means any number.
    tenant_max_unfinished_turns: int = Field(0, ge=0)
    #: Turns of one thread that a task runs before it yields to others.
    task_max_turns: int = Field(20, ge=1)
    #: Seconds after which a task yields to others, between two turns.
    task_max_seconds: Seconds = 60
    #: Seconds that a stopping worker lets its turns go on before it hands them over.
    shutdown_grace_seconds: SecondsOrZero = 20
    #: Seconds between two sweeps.
    sweep_interval_seconds: Seconds = 2
    #: Seconds after a wake-up before the sweep publishes one for the same turn again, if the broker has lost it.
    sweep_grace_seconds: SecondsOrZero = 10
    #: Seconds that a due turn may wait for a worker before `threadmill status` reports it.
    status_max_wait_seconds: Seconds = 300
    #: Seconds between two looks for schedules whose time has come.
    schedule_interval_seconds: Seconds = 5
    #: Seconds by which a run may be late that is sent although its schedule skips missed ones.
    schedule_grace_seconds: SecondsOrZero = 300
    #: Wake-ups of one sweep, at most.
    sweep_batch: int = Field(500, ge=1)
    #: Wake-ups that may wait in the broker before a sweep publishes no more.
    sweep_queue_limit: int = Field(2000, ge=1)

    @model_validator(mode="after")
    def _check_heartbeat(self) -> Self:
        if self.heartbeat_interval_seconds * 3 > self.lease_duration_seconds:
            raise ValueError(
                f"{variable('heartbeat_interval_seconds')}: "
                f"three heartbeats must fit into {variable('lease_duration_seconds')}"
            )
        return self
