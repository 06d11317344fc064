"""The context of one tool call: made for that call, passed to its function, and stored nowhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from agent.tools.questions import CallQuestions
from conversation.attachment import Attachment
from conversation.errors import InvalidInput


class OpensFiles(Protocol):
    """The files of a thread: see `ThreadFiles`."""

    async def all(self) -> Sequence[Attachment]: ...

    async def open(self, name: str) -> bytes: ...

    def wait_for(self, work: Any, seconds: float | None) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The context of a call: a function takes it in a parameter annotated `RunContext`, unknown to models."""

    tenant: str
    thread_id: str
    turn_id: str
    #: The model's id of this call. Some models number their calls anew in each reply.
    call_id: str
    #: One call, one key, however often it is tried: hand it to the service that the tool calls.
    idempotency_key: str = ""
    #: The user who asks in this turn: whom its sender named, or else the thread's owner. None where nobody was named.
    user: str | None = None
    #: The user whose thread it is. Another one may ask in it: give away what is the owner's to `user` alone.
    thread_owner: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: From 1; more than that means an earlier attempt at the turn broke off.
    attempt: int = 1
    #: Aware: the turn's end, past which no tool is waited for.
    deadline: datetime | None = None
    #: Behind `files` and `open_file`; None where a tool is called without a turn.
    thread_files: OpensFiles | None = field(default=None, repr=False, compare=False)
    #: Behind `ask`; None where a tool is called without a turn.
    questions: CallQuestions | None = field(default=None, repr=False, compare=False)

    def ask(self, question: str, *, type: Any = str, choices: Sequence[Any] | None = None) -> Any:  # noqa: A002
        """The user's answer, of this type, and one of the choices where there are any.

        Until it is there, the call stops here, the turn waits and holds nothing; then the tool begins anew, with the
        answers to what it asked before. So ask first, and act then. Raises `QuestionDeclined`, which a tool may
        let pass, and `InvalidInput` where the call belongs to no turn, or for choices of another type.
        """
        if self.questions is None:
            raise InvalidInput("question", "cannot be asked: this call belongs to no turn", "run it in a turn")
        return self.questions.ask(question, type=type, choices=choices)

    async def files(self) -> Sequence[Attachment]:
        """The files of this conversation, the newest first, without their bytes."""
        return () if self.thread_files is None else await self.thread_files.all()

    async def open_file(self, name: str) -> bytes:
        """The bytes of the newest file of this conversation with this name, or with this SHA-256.

        Raises `InvalidInput` where there is none, `FileRejected` where it is blocked, and
        `FileNotStored` and `FileStoreUnavailable`; an error that a tool lets pass is reported to the model.
        """
        return await self._require_thread_files().open(name)

    def files_sync(self) -> Sequence[Attachment]:
        """The same as `files`, for a tool that is a plain function: it runs in a thread."""
        if self.thread_files is None:
            return ()
        attachments: Sequence[Attachment] = self.thread_files.wait_for(
            self.thread_files.all(), self._remaining_seconds()
        )
        return attachments

    def open_file_sync(self, name: str) -> bytes:
        """The same as `open_file`, for a plain function. Raises `TimeoutError` at the turn's end."""
        files = self._require_thread_files()
        content: bytes = files.wait_for(files.open(name), self._remaining_seconds())
        return content

    def _require_thread_files(self) -> OpensFiles:
        if self.thread_files is None:
            raise InvalidInput("file", "cannot be opened: this call belongs to no turn", "run it in a turn")
        return self.thread_files

    def _remaining_seconds(self) -> float | None:
        return None if self.deadline is None else (self.deadline - datetime.now(UTC)).total_seconds()
