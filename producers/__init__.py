"""For web backends: send what a user wrote, and get the handle of the turn that answers it.

Importing this is cheap: no model library, no S3 client, no agent and no task comes with it. In a process
where a name of ours means somebody else's package, it says so in one line.
"""

import threadmill_packages

threadmill_packages.check(__name__)

from producers.api import (  # noqa: E402 - in a foreign process, only now is it sure to be ours
    cancel_turn,
    cancel_turn_async,
    complete_upload,
    complete_upload_async,
    create_upload,
    create_upload_async,
    default_producer,
    file_url,
    file_url_async,
    find_file,
    find_file_async,
    find_turn,
    find_turn_async,
    list_pending,
    list_pending_async,
    list_turns,
    list_turns_async,
    read_file,
    read_file_async,
    read_thread,
    read_thread_async,
    requeue_turn,
    requeue_turn_async,
    requeue_turns,
    requeue_turns_async,
    send_message,
    send_message_async,
    thread_events,
    thread_events_async,
    thumbnail_url,
    thumbnail_url_async,
    user_events,
    user_events_async,
    warm_up,
    warm_up_async,
)
from producers.producer import Producer  # noqa: E402
from producers.requeue_report import RequeueReport  # noqa: E402
from producers.turn import AsyncTurn, Turn  # noqa: E402

__all__ = [
    "AsyncTurn",
    "Producer",
    "RequeueReport",
    "Turn",
    "cancel_turn",
    "cancel_turn_async",
    "complete_upload",
    "complete_upload_async",
    "create_upload",
    "create_upload_async",
    "default_producer",
    "file_url",
    "file_url_async",
    "find_file",
    "find_file_async",
    "find_turn",
    "find_turn_async",
    "list_pending",
    "list_pending_async",
    "list_turns",
    "list_turns_async",
    "read_file",
    "read_file_async",
    "read_thread",
    "read_thread_async",
    "requeue_turn",
    "requeue_turn_async",
    "requeue_turns",
    "requeue_turns_async",
    "send_message",
    "send_message_async",
    "thread_events",
    "thread_events_async",
    "thumbnail_url",
    "thumbnail_url_async",
    "user_events",
    "user_events_async",
    "warm_up",
    "warm_up_async",
]
