"""Logging in any process: the ids that the lines of a turn have; and what holds in a process that is not ours.

What stays true: an application that configured structlog is left alone, whenever it did, and events go into standard
logging as it set that up. Whatever is logged while a turn runs, by its tools too, has the turn's ids.
"""

from contextlib import AbstractContextManager

import structlog

from conversation.turn import LeasedTurn


def bind_turn(turn: LeasedTurn) -> AbstractContextManager[None]:
    """Give each line that is logged within it the ids of a turn."""
    return structlog.contextvars.bound_contextvars(
        tenant=turn.tenant, thread=turn.thread_id, turn=turn.id, agent=turn.agent
    )


def use_standard_logging() -> None:
    """Hand events to `logging`; structlog's own default would print them to standard output."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
