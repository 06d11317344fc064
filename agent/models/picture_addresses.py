"""Pictures by address, which the provider fetches by itself: those that it cannot open refuse a request for ever.

What stays true: after a refusal the model is asked once more, with a line in place of each picture that may be
the reason; the reply remembers their addresses, so that no later request of its thread names them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from agent.models.content_fitting import address_of, drop_addresses
from agent.models.protocol import ModelReply, ModelRequest
from conversation.errors import ModelError

#: Kinds of errors that a picture may be the reason of: for some providers the library fetches it itself.
_KINDS = frozenset({"refused", "not_found", "unexpected", "unavailable", "timeout"})


def suspect_addresses(request: ModelRequest, error: ModelError) -> frozenset[str]:
    """The addresses that the error names, or whose host it names; all of them where a refusal names none."""
    if error.kind not in _KINDS:
        return frozenset()
    addresses, text = _list_addresses(request.messages), error.provider_text
    named_addresses = [address for address in addresses if address in text]
    named_hosts = [address for address in addresses if (urlsplit(address).hostname or address) in text]
    return frozenset(named_addresses or named_hosts or (() if error.retryable else addresses))


def leave_out_pictures(request: ModelRequest, addresses: frozenset[str]) -> ModelRequest:
    """The request with a line in place of each picture at one of these addresses."""
    return replace(request, messages=[drop_addresses(message, addresses) for message in request.messages])


def remember_addresses(reply: ModelReply, addresses: frozenset[str]) -> ModelReply:
    """The reply with the addresses that are not to be tried again."""
    return replace(reply, provider_fields=(reply.provider_fields or {}) | {"unreachable_pictures": sorted(addresses)})


def _list_addresses(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = (
        part
        for message in messages
        if isinstance(message.get("content"), list | tuple)
        for part in message["content"] or ()
    )
    return [address for part in parts if (address := address_of(part)) is not None]
