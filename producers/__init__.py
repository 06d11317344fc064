"""Who may ask: a web backend says what the user wrote, and gets the handle of the turn that answers.

Importing this is cheap: no model library, no S3 client, no agent and no task comes with it.
"""

from producers.producer import Producer
from producers.send import (
    default_producer,
    find_turn,
    find_turn_async,
    requeue_turn,
    requeue_turn_async,
    send_message,
    send_message_async,
)
from producers.turn import AsyncTurn, Turn

__all__ = [
    # The handle
    "AsyncTurn",
    # For applications with more than one configuration
    "Producer",
    "Turn",
    "default_producer",
    # The verbs
    "find_turn",
    "find_turn_async",
    "requeue_turn",
    "requeue_turn_async",
    "send_message",
    "send_message_async",
]
