"""The shapes of sources of inbound webhooks: in requests and in answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from conversation.inbound_mapping import MEMBERS_MAX, TEMPLATE_MAX_CHARS
from conversation.inbound_source import SECRET_MAX_CHARS, SECRET_MIN_CHARS, InboundSourceRecord
from conversation.inbound_source import NewInboundSource as StoredSecret
from producers.http.answer_shapes import Written, write_moment
from producers.http.request_shapes import Id, RequestShape, WhenBusyName
from store.inbound.sources import GRACE_MAX, MAX_BYTES, MAX_BYTES_LIMIT, NAME_MAX_CHARS

#: Of examples.
SOURCE_ID = "aB3dE5fG7hJ9kL1mN3pQ5rS7"
SchemeName = Literal["standard-webhooks", "hmac-sha256", "github", "stripe", "token"]
_TEXT_PATTERN = {"pattern": r"^[^\u0000]*$"}
Name = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": NAME_MAX_CHARS, **_TEXT_PATTERN})]
Template = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": TEMPLATE_MAX_CHARS, **_TEXT_PATTERN})]
#: The sender's own secret. Neither a problem nor a log repeats it.
Secret = Annotated[
    str | None,
    Field(
        repr=False,
        description="The sender's, where it has one of its own; one is made without it.",
        json_schema_extra={"writeOnly": True, "minLength": SECRET_MIN_CHARS, "maxLength": SECRET_MAX_CHARS},
        examples=[None],
    ),
]
_MAPPING = {
    "thread_id": "order-{/order/id}",
    "text": "{/event}: {/order/note}",
    "idempotency_key": "{/id}",
    "user": "{/customer}",
}
_OF_MEMBERS: dict[str, Any] = {"maxProperties": MEMBERS_MAX}


class NewInboundMapping(RequestShape):
    """Which parts of a body are the message: templates with `{/json/pointer}`, `{header:name}` and `{sha256}`."""

    thread_id: Template = Field(description="The thread, made where there is none.", examples=["order-{/order/id}"])
    text: Template = Field(description="The message.", examples=["{/event}: {/order/note}"])
    idempotency_key: Template = Field(description="What tells an event that comes again.", examples=["{/id}"])
    user: Template | None = Field(None, description="Who asks.", examples=["{/customer}"])
    metadata: dict[str, Template] = Field(
        {},
        description="A template for each key of the message's metadata.",
        json_schema_extra=_OF_MEMBERS,
        examples=[{"order": "{/order/id}"}],
    )


class NewInboundSource(RequestShape):
    """A source to be made."""

    name: Name = Field(description="What sends here, for you.", examples=["shop"])
    mapping: NewInboundMapping = Field(
        description="Templates of `thread_id`, `text`, `idempotency_key`, and perhaps `user` and `metadata`.",
        examples=[_MAPPING],
    )
    scheme: SchemeName = Field(
        "standard-webhooks",
        description="How the sender signs; `standard-webhooks` without it.",
        examples=["hmac-sha256"],
    )
    header: str | None = Field(
        None, description="The header of the signature, of `hmac-sha256` and `token`.", examples=["X-Signature"]
    )
    only: dict[str, list[Any]] | None = Field(
        None,
        description="The values of which a body has to have one, by pointer, to be taken.",
        json_schema_extra=_OF_MEMBERS,
        examples=[{"/event": ["late", "lost"]}],
    )
    agent: Id | None = Field(None, description="Who answers; the thread's, or the default, without it.")
    when_busy: WhenBusyName | None = Field(
        None, description="What becomes of a message while its thread is busy; the thread says without it."
    )
    priority: int = Field(0, ge=0, le=9, description="Higher is sooner; it orders threads.")
    max_bytes: int = Field(MAX_BYTES, ge=1, le=MAX_BYTES_LIMIT, description="Bytes of a body, at most.")
    secret: Secret = None


class InboundSourceChanges(RequestShape):
    """Changes to be made to a source."""

    enabled: bool = Field(description="Whether it takes what comes.", examples=[True])


class NewInboundRotation(RequestShape):
    """How a source is given a new secret."""

    secret: Secret = None
    grace_seconds: int = Field(
        86_400, ge=0, le=int(GRACE_MAX.total_seconds()), description="How long the secret before is good as well."
    )


class InboundMapping(BaseModel):
    """Which parts of a body are the message: templates."""

    thread_id: str
    text: str
    idempotency_key: str
    user: str | None
    metadata: dict[str, str]


class InboundSource(BaseModel):
    """A source, without its secrets."""

    id: str = Field(examples=[SOURCE_ID])
    name: str
    path: str = Field(description="Where its sender posts to, at this host.", examples=[f"/v1/inbound/{SOURCE_ID}"])
    scheme: SchemeName
    header: str | None
    mapping: InboundMapping
    only: dict[str, list[Any]]
    agent: str | None
    when_busy: WhenBusyName | None
    priority: int
    max_bytes: int
    state: Literal["enabled", "disabled"] = Field(description="`disabled`: as if it were not there.")
    created_at: Written
    updated_at: Written

    @classmethod
    def of(cls, record: InboundSourceRecord, path: str) -> "InboundSource":
        """The shape of a source that is stored, and whose sender posts to this path."""
        values: dict[str, Any] = {name: getattr(record, name) for name in cls.model_fields if hasattr(record, name)}
        return cls.model_validate(
            values
            | {
                "path": path,
                "mapping": {"user": None} | record.mapping.to_json(),
                "state": "enabled" if record.disabled_at is None else "disabled",
                "created_at": write_moment(record.created_at),
                "updated_at": write_moment(record.updated_at),
            }
        )


class InboundSourceList(BaseModel):
    """The sources of a tenant."""

    sources: list[InboundSource]


class InboundSourceSecret(BaseModel):
    """A source with a secret that was made for it, or stored."""

    source: InboundSource
    secret: str = Field(repr=False, description="What its sender signs with. It is not shown again.")

    @classmethod
    def of(cls, made: StoredSecret, path: str) -> "InboundSourceSecret":
        """The shape of a secret that was made, or stored."""
        return cls(source=InboundSource.of(made.source, path), secret=made.secret)
