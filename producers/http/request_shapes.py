"""The shapes of requests: what their bodies are read by, and what the OpenAPI document shows of them.

What stays true: a request with a field that is not here is refused, and so is a value of another type.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from conversation.branch_address import BRANCH_NAME_MAX_CHARS
from conversation.filename import FILENAME_MAX_CHARS
from conversation.thread import TITLE_MAX_CHARS
from conversation.validation import CONTENT_MAX_CHARS, ID_MAX_CHARS
from conversation.when_busy import MERGE_WINDOW_MAX_SECONDS
from producers.http.answer_shapes import SHA256, Metadata

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _require_text(value: object) -> object:
    # A number would be read as seconds since 1970.
    if not isinstance(value, datetime) and not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("write it as 2030-01-31T12:00:00Z")
    return value


#: What an id is made of, as far as a pattern can say it: `conversation.validation.check_id` knows the rest.
ID_SCHEMA: dict[str, Any] = {
    "minLength": 1,
    "maxLength": ID_MAX_CHARS,
    "pattern": r"^[^\s\u0000-\u001f\u007f-\u009f/\\]+$",
}
#: What PostgreSQL can store as a text.
_TEXT_SCHEMA = {"pattern": r"^[^\u0000]*$"}
#: These say to clients what the store checks, which has the better words for what is wrong.
Id = Annotated[str, Field(json_schema_extra=ID_SCHEMA)]
Title = Annotated[str, Field(json_schema_extra={"maxLength": TITLE_MAX_CHARS, **_TEXT_SCHEMA})]
BranchTitle = Annotated[str, Field(json_schema_extra={"maxLength": BRANCH_NAME_MAX_CHARS, **_TEXT_SCHEMA})]
Filename = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": FILENAME_MAX_CHARS, **_TEXT_SCHEMA})]
Text = Annotated[str, Field(json_schema_extra={"maxLength": CONTENT_MAX_CHARS, **_TEXT_SCHEMA})]
WhenBusyName = Literal["enqueue", "reject", "interrupt", "rollback", "merge", "steer"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
#: A moment in a request.
Moment = Annotated[AwareDatetime, BeforeValidator(_require_text), Field(strict=False)]


class RequestShape(BaseModel):
    """The base of the bodies of requests."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewThread(RequestShape):
    """A thread to be made."""

    id: Id | None = Field(None, description="Your own id; one is made without it.", examples=["order-4711"])
    title: Title | None = Field(None, examples=["Where is my parcel?"])
    metadata: Metadata | None = Field(None, examples=[{"plan": "pro"}])
    user: Id | None = Field(None, description="Whose thread it is, by your own id of them.", examples=["ada"])


class ThreadChanges(RequestShape):
    """Changes to be made to a thread."""

    title: Title | None = Field(None, description="null removes it.", examples=["Parcel 4711"])
    metadata: Metadata | None = Field(
        None, description="The keys that change: a value of null removes its key.", examples=[{"plan": "free"}]
    )
    agent: Id | None = Field(
        None,
        description="Hand the thread over: who answers what names no agent. null gives it back to the default one.",
        examples=["billing"],
    )
    when_busy: WhenBusyName | None = Field(
        None, description="The policy of its messages that name none; null takes the agent's.", examples=[None]
    )


class NewFork(RequestShape):
    """A thread to be made that begins as another one."""

    id: Id | None = Field(None, description="The id of the fork; one is made without it.", examples=["order-4711-b"])
    at: int | None = Field(
        None, ge=0, description="The `seq` of the last message that it shares; all without it.", examples=[2]
    )


class TextPart(RequestShape):
    """Some text of a message."""

    type: Literal["text"]
    text: Text = Field(examples=["What is on this picture?"])


class ImageAddress(RequestShape):
    """Where an image is."""

    url: str = Field(examples=["https://example.org/cat.png"])


class ImagePart(RequestShape):
    """An image that the model's provider fetches by itself."""

    type: Literal["image_url"]
    image_url: ImageAddress


class FileName(RequestShape):
    """Which attachment of the message it is."""

    filename: Filename = Field(examples=["report.pdf"])


class FilePart(RequestShape):
    """The place of an attachment among the parts."""

    type: Literal["file"]
    file: FileName


MessagePart = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]


#: Text, or parts in their order: told apart first, so that an error is told of what was meant.
MessageContent = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[MessagePart], Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "text"),
]


class ChosenFile(RequestShape):
    """A file that is stored already: of an upload that is complete, or of the same thread."""

    sha256: Sha256 = Field(examples=[SHA256])
    filename: Filename | None = Field(None, description="Its name in this message.", examples=["report.pdf"])


class NewMessage(RequestShape):
    """A message to be sent, and how it is to be answered."""

    content: MessageContent = Field("", examples=["Where is my parcel?"])
    attachments: list[ChosenFile] = Field([], examples=[[]])
    agent: Id | None = Field(None, description="Who answers; the installation's default without it.", examples=[None])
    metadata: Metadata | None = Field(None, examples=[None])
    user: Id | None = Field(None, description="Who asks; a key or token of one user need not say it.", examples=["ada"])
    priority: int = Field(0, ge=0, le=9, description="Higher is sooner; it orders threads.")
    not_before: Moment | None = Field(None, description="The message waits until then.", examples=[None])
    deadline: Moment | None = Field(None, description="A turn that is not over by then fails.", examples=[None])
    when_busy: WhenBusyName | None = Field(
        None,
        description="What becomes of it while its thread has an unfinished turn; without it, what the thread, else the "
        "agent, else the installation says.",
        examples=[None],
    )
    merge_window: float = Field(
        0, ge=0, le=MERGE_WINDOW_MAX_SECONDS, description="Seconds that a message to be merged waits for more."
    )


class NewAnswer(RequestShape):
    """How a question is to be answered once more."""

    agent: Id | None = Field(None, description="Who answers; the one who answered without it.", examples=[None])
    metadata: Metadata | None = Field(None, examples=[None])
    user: Id | None = Field(None, description="Who asks; a key or token of one user need not say it.", examples=["ada"])
    priority: int = Field(0, ge=0, le=9, description="Higher is sooner; it orders threads.")


class NewBranch(RequestShape):
    """A branch to be made: behind the last message, if it does not say where."""

    name: BranchTitle | None = Field(None, examples=["a shorter one"])
    at: int | None = Field(None, ge=0, description="The `seq` of the last message that it shares.", examples=[0])
    at_message: Id | None = Field(None, description="The id of that message, in place of its `seq`.")


class BranchName(RequestShape):
    """The name of a branch."""

    name: BranchTitle | None = Field(description="null for none.", examples=["the shorter one"])


class NewAttempt(RequestShape):
    """How a turn is to be tried again."""

    agent: Id | None = Field(None, description="Who answers now; the turn's own without it.", examples=["assistant"])


class NewUpload(RequestShape):
    """A file that the client will put into the store by itself."""

    filename: Filename = Field(examples=["report.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(ge=1, description="In bytes.", examples=[48213])
    sha256: Sha256 = Field(description="Of its bytes, in lower-case hex.", examples=[SHA256])


class NewText(RequestShape):
    """A text for every turn of a thread."""

    content: Text = Field(examples=["The user writes from Lisbon."])
