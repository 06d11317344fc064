"""Every error that Threadmill raises on purpose, split by whose fault it is.

ThreadmillError
├── UserError                 the caller can mend the call
│   ├── InvalidInput          (names the field, the problem and the fix)
│   ├── IdempotencyConflict
│   ├── UnknownAgent
│   ├── ThreadNotFound
│   ├── BranchNotFound
│   ├── BranchInUse
│   ├── MessageNotFound
│   ├── TurnNotFound
│   ├── TurnNotRequeueable
│   ├── PendingCallNotFound
│   ├── AlreadyDecided
│   ├── DigestMismatch
│   ├── ThreadBusy            (names the turn that comes first)
│   ├── ScheduleNotFound
│   ├── InboundSourceNotFound
│   ├── LimitReached
│   ├── UploadNotFound
│   ├── WebhookNotFound
│   ├── UploadIncomplete
│   ├── FileNotReady
│   ├── ThreadUnderLegalHold
│   ├── TitleConflict
│   ├── MessagesNotLoaded
│   └── FileRejected
├── OperatorError             the operator can mend the installation
│   ├── InvalidSettings
│   ├── DatabaseUnavailable
│   ├── DatabaseRefused
│   ├── FileStoreUnavailable
│   │   └── ScannerUnavailable
│   ├── FileNotStored
│   ├── ToolServerUnavailable
│   └── UploadsNotSupported
├── ModelError                the provider failed; `retryable` says what to do next
├── TurnFailed                a library call's turn ended without an answer
└── LeaseLost                 another worker holds the thread: commit nothing
"""

from collections.abc import Sequence
from enum import StrEnum


class Fault(StrEnum):
    """The party whose fault an error is, and that can therefore mend it."""

    #: The sender of the message, or the caller that ran the turn in its own process.
    CALLER = "caller"
    #: The operator of the installation: keys, addresses, workers, storage.
    OPERATOR = "operator"
    #: The model's output cannot be used, or never came to an end.
    MODEL = "model"
    #: The model's provider was away, slow or too busy.
    PROVIDER = "provider"
    #: A tool did not come back, or took the process along.
    TOOL = "tool"
    #: The agent's own code, or ours.
    INTERNAL = "internal"


class ThreadmillError(Exception):
    """Root of the tree: catch it to catch everything that is ours."""

    #: Whether the very same call may succeed later, with nothing changed by its caller.
    retryable: bool = False


class UserError(ThreadmillError):
    """The call is wrong; the same call will fail again."""


class InvalidInput(UserError, ValueError):
    """One argument is refused. The text names the field, what is wrong and how to mend it."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix


class IdempotencyConflict(UserError):
    """The idempotency key was used before, with another request."""


class UnknownAgent(UserError):
    """No worker has registered an agent of this name yet."""

    retryable = True


class ThreadNotFound(UserError, LookupError):
    """No thread with this id is stored for this tenant."""


class BranchNotFound(UserError, LookupError):
    """The thread has no branch with this id."""


class BranchInUse(UserError):
    """The branch answers a message right now, or the thread's id stands for it; the same call may succeed later."""

    retryable = True


class MessageNotFound(UserError, LookupError):
    """The branch has no message with this id."""


class TurnNotFound(UserError, LookupError):
    """No turn with this id is stored."""


class TurnNotRequeueable(UserError):
    """Only a turn that failed or was cancelled can be requeued."""


class PendingCallNotFound(UserError, LookupError):
    """No pending call with this id is stored for this turn."""


class AlreadyDecided(UserError):
    """The pending call was decided otherwise, or its turn waits no longer; nothing was changed."""


class DigestMismatch(UserError):
    """The digest is not that of the call's stored arguments: the caller looked at something else."""


class ThreadBusy(UserError):
    """The message was sent to be refused while its thread has an unfinished turn, and it has."""

    retryable = True

    def __init__(self, thread_id: str, turn_id: str) -> None:
        super().__init__(
            f"thread {thread_id!r} is busy with turn {turn_id}; send the message again when that has ended, "
            "or with another when_busy"
        )
        #: The turn that comes first in the thread.
        self.turn_id = turn_id


class ScheduleNotFound(UserError, LookupError):
    """No schedule with this id is stored for this tenant."""


class InboundSourceNotFound(UserError, LookupError):
    """No source of inbound webhooks with this id is stored for this tenant."""


class LimitReached(UserError):
    """The tenant is at its limit of turns or its quota of files; later the same call may succeed."""

    retryable = True


class UploadNotFound(UserError, LookupError):
    """No upload with this id is open for this tenant: it was never asked for, or has expired."""


class WebhookNotFound(UserError, LookupError):
    """No webhook, or no delivery, with this id is stored for this tenant."""


class UploadIncomplete(UserError):
    """The client has not put the file yet, or another one than it said."""


class FileNotReady(UserError):
    """A scanner has not passed the file yet; the same call may succeed later."""

    retryable = True


class ThreadUnderLegalHold(UserError):
    """Nothing is deleted of a thread under legal hold; the refused call deleted nothing."""

    def __init__(self, thread_ids: Sequence[str]) -> None:
        quoted_ids = ", ".join(repr(thread_id) for thread_id in thread_ids)
        super().__init__(f"thread_id: {quoted_ids} under legal hold; release the hold first")
        self.thread_ids = tuple(thread_ids)


class TitleConflict(UserError):
    """Another writer changed the title since this thread was loaded."""


class MessagesNotLoaded(UserError):
    """A thread out of a listing was asked for messages, which were not loaded."""


class FileRejected(UserError):
    """A file breaks a limit: its size, its type, or what its bytes really are."""


class OperatorError(ThreadmillError):
    """Nothing is wrong with the call; the installation cannot serve it now."""


class InvalidSettings(OperatorError):
    """A setting in the environment has a wrong value. One line a setting, secrets masked."""


class DatabaseUnavailable(OperatorError):
    """The database did not answer in time. Nothing was accepted."""

    retryable = True


class DatabaseRefused(OperatorError):
    """The database answered, and refused a value or a statement; nothing was stored. The same call will fail again."""


class FileStoreUnavailable(OperatorError):
    """The file store did not answer, refused the request, or is full."""

    retryable = True


class FileNotStored(OperatorError, LookupError):
    """No blob is stored under this tenant and hash."""


class ScannerUnavailable(FileStoreUnavailable):
    """The virus scanner gave no verdict: the file waits for one."""


class ToolServerUnavailable(OperatorError):
    """A server whose tools an agent needs cannot be reached or started, or does not list them."""

    retryable = True


class UploadsNotSupported(OperatorError):
    """The file store is one that no browser can reach."""


#: The fault of each kind of a model's error; any other kind is our own fault.
_FAULT_OF_KIND = {
    "rate_limited": Fault.PROVIDER,
    "unavailable": Fault.PROVIDER,
    "timeout": Fault.PROVIDER,
    "stream_interrupted": Fault.PROVIDER,
    "insufficient_quota": Fault.OPERATOR,
    "unauthorized": Fault.OPERATOR,
    "not_found": Fault.OPERATOR,
    "refused": Fault.OPERATOR,
    "context_length": Fault.MODEL,
    "content_filtered": Fault.MODEL,
    "content_refused": Fault.MODEL,
    "empty_reply": Fault.MODEL,
    "truncated": Fault.MODEL,
    "reply_too_large": Fault.MODEL,
    "summary_unusable": Fault.MODEL,
    "summary_untrue": Fault.MODEL,
}


class ModelError(ThreadmillError):
    """The model could not be asked, or its answer could not be used."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        retry_after_seconds: float | None = None,
        max_tokens: int | None = None,
        breaker: str | None = None,
        is_put_off: bool = False,
        is_ours: bool = False,
        provider_text: str = "",
    ) -> None:
        super().__init__(message)
        #: A stable word for dashboards: `rate_limited`, `unavailable`, `timeout`, `refused`, …
        self.kind = kind
        self.retryable = retryable
        #: The wait that the provider asked for, in seconds; None where it asked for none.
        self.retry_after_seconds = retry_after_seconds
        #: Of a conversation that is too long: the tokens that its model takes, where the provider says so.
        self.max_tokens = max_tokens
        #: The breaker of its model and account, where that is open now: others find the model away as well.
        self.breaker = breaker
        #: The model was not asked, since that breaker was open.
        self.is_put_off = is_put_off
        #: The message is Threadmill's own and quotes nobody: a turn keeps it. Of others a turn keeps the kind.
        self.is_ours = is_ours
        #: The words of the provider or of the model, short and without keys: they may quote what users wrote.
        self.provider_text = provider_text

    @property
    def fault(self) -> Fault:
        return _FAULT_OF_KIND.get(self.kind, Fault.INTERNAL)


class TurnFailed(ThreadmillError):
    """A turn that ran in this process ended without an answer; what was said is kept."""

    def __init__(self, kind: str, message: str, *, turn_id: str) -> None:
        super().__init__(f"{kind}: {message}")
        #: The turn's error kind: `model_error`, `step_limit`, `time_limit`, …
        self.kind = kind
        self.turn_id = turn_id


class LeaseLost(ThreadmillError):
    """The fencing token is stale: another worker holds the thread, so this one writes nothing."""
