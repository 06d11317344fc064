"""A source of webhooks that come in, as its creator asks for it and as it is stored."""

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from conversation.errors import InvalidInput
from conversation.inbound_mapping import InboundMapping
from conversation.inbound_signature import FIXED_HEADERS, WHSEC, WITH_HEADER, Scheme, whsec_key
from conversation.validation import check_text
from conversation.when_busy import WhenBusy

#: Characters of a source's id: 62 ** 24 is above 2 ** 142.
ID_CHARS = 24
_DIGITS = string.digits + string.ascii_letters
_ID = re.compile(rf"[0-9A-Za-z]{{{ID_CHARS}}}")
#: Characters of a secret: fewer could be found by trying.
SECRET_MIN_CHARS, SECRET_MAX_CHARS = 16, 512
#: Bytes of a key of Standard Webhooks, at least.
WHSEC_MIN_BYTES = 16
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSourceRecord:
    """A source as it is stored, without its secrets."""

    #: The end of its address: `/v1/inbound/` and this.
    id: str
    tenant: str
    name: str
    scheme: Scheme
    #: The header of its signature, or of its secret; None where the scheme has several.
    header: str | None
    mapping: InboundMapping
    #: The values of which a body has to have one, by pointer, to be taken.
    only: Mapping[str, list[Any]]
    #: None: the installation's default, or the one that the thread was handed over to.
    agent: str | None
    #: The policy of its messages for a thread that is busy; None leaves it to the thread.
    when_busy: WhenBusy | None
    priority: int
    max_bytes: int
    created_at: datetime
    updated_at: datetime
    #: None while it takes what comes.
    disabled_at: datetime | None

    @property
    def path(self) -> str:
        """The path of its address, at the gateway."""
        return f"/v1/inbound/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInboundSource:
    """A source that was made, or given a new secret, with the secret: it is shown once."""

    source: InboundSourceRecord
    secret: str = field(repr=False)


def make_source_id() -> str:
    """Make the id of a source."""
    return "".join(secrets.choice(_DIGITS) for _ in range(ID_CHARS))


def is_source_id(value: object) -> bool:
    """Whether a value is an id as `make_source_id` makes them: others need not be looked for."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def check_header(scheme: Scheme, header: object) -> str | None:
    """The header of a scheme that leaves it to the sender; None for the others. Raises `InvalidInput`."""
    if scheme not in WITH_HEADER:
        if header is not None and header != FIXED_HEADERS.get(scheme):
            raise InvalidInput("header", f"goes with no {scheme.value}", "leave it out")
        return FIXED_HEADERS.get(scheme)
    text = check_text("header", "" if header is None else header, max_chars=100)
    if not _HEADER.fullmatch(text):
        raise InvalidInput("header", "is no name of a header", f"name that of {scheme.value}, as X-Signature")
    return text.lower()


def check_secret(scheme: Scheme, secret: object) -> str:
    """A secret that a sender signs with. Raises `InvalidInput`, which does not quote it."""
    text = check_text("secret", secret, max_chars=SECRET_MAX_CHARS)
    if len(text) < SECRET_MIN_CHARS or text.strip() != text:
        fix = f"pass {SECRET_MIN_CHARS} to {SECRET_MAX_CHARS} characters, or leave it out"
        raise InvalidInput("secret", "is too short, or has white space around it", fix)
    if scheme is Scheme.STANDARD_WEBHOOKS and text.startswith(WHSEC) and len(whsec_key(text)) < WHSEC_MIN_BYTES:
        raise InvalidInput("secret", "is no key of Standard Webhooks", f"pass {WHSEC} and the key in base64")
    return text
