"""The shapes of requests: what their bodies are read by, and what the OpenAPI document shows of them.

What stays true: a request with a field that is not here is refused, and so is a value of another type.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from producers.http.answer_shapes import SHA256, Metadata


def _require_text(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("write it as 2030-01-31T12:00:00Z")  # noqa: TRY004 - pydantic turns no TypeError into an answer
    return value


#: A moment in a request.
Moment = Annotated[AwareDatetime, BeforeValidator(_require_text), Field(strict=False)]


class RequestShape(BaseModel):
    """What is common to the bodies of requests."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewThread(RequestShape):
    """A thread to be made."""

    id: str | None = Field(None, description="Your own id; one is made without it.", examples=["order-4711"])
    title: str | None = Field(None, examples=["Where is my parcel?"])
    metadata: Metadata | None = Field(None, examples=[{"plan": "pro"}])
    user: str | None = Field(None, description="Whose thread it is, by your own id of them.", examples=["ada"])


class ThreadChanges(RequestShape):
    """What changes of a thread."""

    title: str | None = Field(None, description="null removes it.", examples=["Parcel 4711"])
    metadata: Metadata | None = Field(
        None, description="The keys that change: a value of null removes its key.", examples=[{"plan": "free"}]
    )


class NewFork(RequestShape):
    """A copy to be made of a thread."""

    id: str | None = Field(None, description="The id of the copy; one is made without it.", examples=["order-4711-b"])
    at: int | None = Field(None, description="The `seq` of the last message to copy; all without it.", examples=[2])


class TextPart(RequestShape):
    """Some text of a message."""

    type: Literal["text"]
    text: str = Field(examples=["What is on this picture?"])


class ImageAddress(RequestShape):
    """Where an image is."""

    url: str = Field(examples=["https://example.org/cat.png"])


class ImagePart(RequestShape):
    """An image that the model's provider fetches by itself."""

    type: Literal["image_url"]
    image_url: ImageAddress


class FileName(RequestShape):
    """Which attachment of the message it is."""

    filename: str = Field(examples=["report.pdf"])


class FilePart(RequestShape):
    """The place of an attachment among the parts."""

    type: Literal["file"]
    file: FileName


MessagePart = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]


#: Text, or parts in their order: told apart first, so that an error is told of what was meant.
MessageContent = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[MessagePart], Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "text"),
]


class ChosenFile(RequestShape):
    """A file that is stored already: of an upload that is complete, or of the same thread."""

    sha256: str = Field(examples=[SHA256])
    filename: str | None = Field(None, description="Its name in this message.", examples=["report.pdf"])


class NewMessage(RequestShape):
    """A message to be sent, and how it is to be answered."""

    content: MessageContent = Field("", examples=["Where is my parcel?"])
    attachments: list[ChosenFile] = Field([], examples=[[]])
    agent: str | None = Field(None, description="Who answers; the installation's default without it.", examples=[None])
    metadata: Metadata | None = Field(None, examples=[None])
    user: str | None = Field(
        None, description="Who asks; a key or token of one user need not say it.", examples=["ada"]
    )
    priority: int = Field(0, ge=0, le=9, description="Higher is sooner; it orders threads.")
    not_before: Moment | None = Field(None, description="The message waits until then.", examples=[None])
    deadline: Moment | None = Field(None, description="A turn that is not over by then fails.", examples=[None])


class NewAttempt(RequestShape):
    """How a turn is to be tried again."""

    agent: str | None = Field(None, description="Who answers now; the turn's own without it.", examples=["assistant"])


class NewUpload(RequestShape):
    """A file that the client will put into the store by itself."""

    filename: str = Field(examples=["report.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes.", examples=[48213])
    sha256: str = Field(description="Of its bytes, in lower-case hex.", examples=[SHA256])


class NewText(RequestShape):
    """A text for every turn of a thread."""

    content: str = Field(examples=["The user writes from Lisbon."])
