"""The request for a turn, made of a message and its options: everything is checked before the first write."""

from dataclasses import replace
from datetime import datetime

from conversation.arguments import check_flag, check_one_of, check_seconds, check_whole_number
from conversation.branch_address import address_of
from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.message import Message
from conversation.parts import Content, ImagePart
from conversation.task_contract import PRIORITY_MAX
from conversation.user import named_user
from conversation.validation import check_id, check_metadata, check_moment, check_tenant_of_user
from conversation.when_busy import MERGE_WINDOW_MAX_SECONDS, WhenBusy, check_when_busy
from producers.attachments import examine_attachments
from producers.send_options import SendOptions
from store.settings import Settings
from store.turns.send_request import SendLimits, SendRequest

#: The roles that a producer may send: the others are the agent's own messages.
SENDER_ROLES = ("user", "system")


def build_request(thread_id: str, content: Content, options: SendOptions, settings: Settings) -> SendRequest:
    """Check a message with its options. Raises `InvalidInput`, and `FileRejected` for its files."""
    request = build_answer_request(thread_id, options, settings)
    files = examine_attachments(options.attachments, settings)
    message = Message(role=options.role, content=content, attachments=files, metadata=request.metadata)  # type: ignore[arg-type]
    _check_says_something(message)
    return replace(request, message=message)


def build_answer_request(thread_id: str, options: SendOptions, settings: Settings) -> SendRequest:
    """Check the options of a turn that answers the history as it stands. Raises `InvalidInput`."""
    check_one_of("role", options.role, SENDER_ROLES)
    fix = f"pass a whole number from 0 to {PRIORITY_MAX}"
    priority = check_whole_number("priority", options.priority, maximum=PRIORITY_MAX, fix=fix)
    metadata = check_metadata("metadata", options.metadata)
    key, agent = options.idempotency_key, options.agent
    branch = None if options.branch is None else check_id("branch", options.branch)
    return SendRequest(
        turn_id=new_id(),
        message=None,
        tenant=check_tenant_of_user(options.tenant),
        thread_id=address_of(check_id("thread_id", thread_id), branch),
        agent=check_id("agent", agent if agent is not None else settings.default_agent),
        is_agent_default=agent is None,
        allow_unknown_agent=check_flag("allow_unknown_agent", options.allow_unknown_agent),
        idempotency_key=None if key is None else check_id("idempotency_key", key),
        priority=priority,
        not_before=_check_moment("not_before", options.not_before),
        deadline=_check_moment("deadline", options.deadline),
        metadata=metadata,
        user=named_user(options.user, metadata),
        when_busy=_check_policy(options),
        default_when_busy=settings.when_busy,
        merge_window_seconds=_check_merge_window(options.merge_window),
    )


def limits_of(settings: Settings) -> SendLimits:
    """The limits of an installation, as its settings have them."""
    return SendLimits(
        message_max_bytes=settings.message_max_bytes, tenant_max_unfinished_turns=settings.tenant_max_unfinished_turns
    )


def _check_says_something(message: Message) -> None:
    message.check_files()
    has_picture = any(isinstance(part, ImagePart) for part in message.parts)
    if not (message.attachments or has_picture or message.content.strip()):
        raise InvalidInput("content", "is empty", "pass some text, or attach a file")


def _check_policy(options: SendOptions) -> WhenBusy | None:
    if options.when_busy is None:
        return None
    policy = check_when_busy("when_busy", options.when_busy)
    if options.not_before is not None and policy is not WhenBusy.ENQUEUE:
        fix = "leave out one of the two"
        raise InvalidInput("when_busy", f"is {policy.value!r} for a message of a later time, which always waits", fix)
    return policy


def _check_merge_window(value: object) -> float:
    seconds = check_seconds("merge_window", value) or 0.0
    if seconds > MERGE_WINDOW_MAX_SECONDS:
        raise InvalidInput("merge_window", f"is {seconds:g}", f"pass at most {MERGE_WINDOW_MAX_SECONDS} seconds")
    return seconds


def _check_moment(field: str, value: datetime | None) -> datetime | None:
    return None if value is None else check_moment(field, value)
