"""For web backends: send what a user wrote, and get the handle of the turn that answers it.

Importing this is cheap: no model library, no S3 client, no agent and no task comes with it.
"""

from producers.api import (
    complete_upload,
    complete_upload_async,
    create_upload,
    create_upload_async,
    default_producer,
    file_url,
    file_url_async,
    find_turn,
    find_turn_async,
    requeue_turn,
    requeue_turn_async,
    send_message,
    send_message_async,
    thumbnail_url,
    thumbnail_url_async,
    warm_up,
    warm_up_async,
)
from producers.producer import Producer
from producers.turn import AsyncTurn, Turn

__all__ = [
    "AsyncTurn",
    "Producer",
    "Turn",
    "complete_upload",
    "complete_upload_async",
    "create_upload",
    "create_upload_async",
    "default_producer",
    "file_url",
    "file_url_async",
    "find_turn",
    "find_turn_async",
    "requeue_turn",
    "requeue_turn_async",
    "send_message",
    "send_message_async",
    "thumbnail_url",
    "thumbnail_url_async",
    "warm_up",
    "warm_up_async",
]
