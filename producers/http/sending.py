"""Sending a message for a principal.

What stays true: everything is checked before anything is stored, and the files are stored before the message is. The
answer tells of the turn as it was sent: the same for every request with the same key.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import UploadFile

from conversation.attachment import Attachment
from conversation.branch_address import MAIN, check_address, split_address
from conversation.errors import IdempotencyConflict, InvalidInput
from conversation.parts import Content
from conversation.turn import TurnState
from producers.http.answer_shapes import write_moment
from producers.http.dependencies import Gateway
from producers.http.message_bodies import MessageBody
from producers.http.principal import Principal
from producers.http.problems import key_conflict
from producers.http.request_shapes import NewMessage
from producers.http.visibility import acting_user, database_of, viewer_of
from producers.received_files import ReceivedFile, examine_received
from producers.send_options import SendOptions
from producers.send_request import build_request, limits_of
from producers.turn import AsyncTurn
from store.files.attachable import FileChoice
from store.files.ingest import FileIngest
from store.settings import Settings
from store.turns.send_request import SendRequest
from store.turns.visible_send import SentTurn, accept_of_viewer, check_send


@dataclass(frozen=True, slots=True)
class SentMessage:
    """The turn of a message that was sent."""

    turn_id: str
    #: The id of the row of its thread or branch.
    address: str
    #: False where the key led to a turn that was there already.
    is_new: bool
    #: In the shape of `Turn`.
    turn_json: dict[str, Any]


async def send_message(
    gateway: Gateway, principal: Principal, address: str, body: MessageBody, *, key: str | None, creates: bool
) -> SentMessage:
    """Send a message to a thread, or to the address of a branch.

    Raises as `producers.send_message`, and `ThreadNotFound`, unless it `creates` the thread.
    """
    request = await prepare_request(gateway, principal, address, body, key=key)
    try:
        sent = await database_of(gateway, principal).run_async(
            accept_of_viewer, viewer_of(principal), request, limits_of(gateway.settings), creates=creates
        )
    except IdempotencyConflict:
        raise key_conflict() from None
    await _notify(gateway, request, sent)
    return SentMessage(sent.accepted.turn_id, sent.accepted.address, sent.accepted.is_new, _as_sent(request, sent))


async def prepare_request(
    gateway: Gateway, principal: Principal, address: str, body: MessageBody, *, key: str | None
) -> SendRequest:
    """Check a message and store its files, before the transaction that sends it. Raises as `producers.send_message`."""
    check_address("thread_id", address)
    producer, message = gateway.producer, body.message
    user = acting_user(principal, message.user, message.metadata)
    producer.connections.notifier.warm_up()
    chosen_files = await _find_chosen(gateway, principal, address, message, len(body.files))
    received_files = await examine_files(body.files, gateway.settings)
    attachments = [*chosen_files, *(file.attachment for file in received_files)]
    options = _options_of(message, attachments, user=user, key=key, tenant=principal.tenant)
    content = message.content if isinstance(message.content, str) else [part.model_dump() for part in message.content]
    thread_id, branch = split_address(address)
    request = _build_request(thread_id, content, replace(options, branch=branch), gateway.settings)
    await store_files(gateway, principal, received_files)
    return request


async def examine_files(files: Sequence[UploadFile], settings: Settings) -> list[ReceivedFile]:
    """Examine the files of a form. Raises `FileRejected` and `InvalidInput`."""
    return [
        await asyncio.to_thread(examine_received, file.file, file.filename or "file", file.content_type, settings)
        for file in files
    ]


async def store_files(gateway: Gateway, principal: Principal, files: Sequence[ReceivedFile]) -> None:
    """Store examined files. Raises `FileStoreUnavailable` and `LimitReached`."""
    if files:
        # An S3 client takes a while to import.
        blobs = await asyncio.to_thread(lambda: gateway.producer.blobs)
        opened_files = [(file.attachment, file.content) for file in files]
        await FileIngest(gateway.producer.database, blobs).store_opened(opened_files, tenant=principal.tenant)


async def _find_chosen(
    gateway: Gateway, principal: Principal, thread_id: str, message: NewMessage, received: int
) -> list[Attachment]:
    count, limit = len(message.attachments) + received, gateway.settings.attachments_max_count
    if count > limit:
        raise InvalidInput("attachments", f"are {count}", f"at most {limit} fit in one message")
    if count == 0:
        return []
    choices = [FileChoice(file.sha256, file.filename) for file in message.attachments]
    return await database_of(gateway, principal).run_async(check_send, viewer_of(principal), thread_id, choices)


def _options_of(
    message: NewMessage, attachments: Sequence[Attachment], *, user: str | None, key: str | None, tenant: str
) -> SendOptions:
    return SendOptions(
        attachments=attachments,
        agent=message.agent,
        idempotency_key=key,
        metadata=message.metadata,
        user=user,
        tenant=tenant,
        priority=message.priority,
        not_before=message.not_before,
        deadline=message.deadline,
        when_busy=message.when_busy,
        merge_window=message.merge_window,
    )


def _build_request(thread_id: str, content: Content, options: SendOptions, settings: Settings) -> SendRequest:
    try:
        return build_request(thread_id, content, options, settings)
    except InvalidInput as error:
        if error.field != "parts":
            raise
        # Over HTTP the parts are the content.
        raise InvalidInput("content", error.problem, "attach it as well") from None


async def _notify(gateway: Gateway, request: SendRequest, sent: SentTurn) -> None:
    if sent.accepted.needs_wake_up:
        turn = AsyncTurn(
            id=sent.accepted.turn_id,
            tenant=request.tenant,
            address=sent.accepted.address,
            is_new=sent.accepted.is_new,
            connections=gateway.producer.connections,
            priority=request.priority,
            interrupts=sent.accepted.interrupts,
        )
        await turn.notify()


def _as_sent(request: SendRequest, sent: SentTurn) -> dict[str, Any]:
    nothing_yet = ("started_at", "finished_at", "error", "usage", "cost", "position", "schedule_id", "messages")
    no_other = ("merged_into", "interrupted_by")
    return {
        "id": sent.accepted.turn_id,
        "thread_id": split_address(request.thread_id)[0],
        "branch": split_address(sent.accepted.address)[1] or MAIN,
        "state": TurnState.QUEUED.value,
        "agent": sent.agent,
        "attempt": 0,
        "created_at": write_moment(sent.created_at),
        **dict.fromkeys((*nothing_yet, *no_other)),
        "rolled_back": False,
    }
