"""Logging of our processes: events with a static name and ids as values, one line each."""

import logging
import sys

import structlog


def configure() -> None:
    """Log our events as key=value lines on standard error, beside warnings of Celery and the libraries."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Celery tells of every task that it received and finished: with our own events that is twice.
    for name in ("celery.app.trace", "celery.worker.strategy", "httpx", "httpcore", "LiteLLM"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
