"""Logging in a process that is not ours: events go into standard logging, as its application set it up.

What stays true: an application that configured structlog is left alone, whenever it did.
"""

import structlog


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
