"""Errors of a call.

    ThreadmillError
    ├── ConnectionLost        no answer came: the network, or the gateway is away
    ├── UnexpectedAnswer      an answer that no gateway gives: perhaps of a proxy, or of something else at this address
    ├── TurnNotOver           the time for waiting ran out; the turn goes on (a TimeoutError, too)
    └── Problem               the gateway refused, and says why (RFC 9457)
        ├── InvalidRequest        400, 422: `field`, `problem` and `fix` say what to change
        ├── Unauthorized          401: no key, or none that holds
        ├── Forbidden             403: the key lacks a scope
        ├── NotFound              404: not there, or not to be seen with this key
        ├── Conflict              409: it exists already, or its state does not allow it
        ├── PreconditionFailed    412: somebody changed it since its ETag was read
        ├── TooLarge              413
        ├── RateLimited           429: `retry_after_seconds` says when
        └── GatewayFailed         5xx

What stays true: none of them holds a key or a presigned address. What may succeed when it is tried again was tried
again already, as often as the client was allowed to.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadmill_client.models import Turn


class ThreadmillError(Exception):
    """Every error of this client."""


class ConnectionLost(ThreadmillError):
    """No answer came. Whether the request arrived is not known."""


class UnexpectedAnswer(ThreadmillError):
    """An answer that cannot be read: is there a gateway at this address?"""


class TurnNotOver(ThreadmillError, TimeoutError):
    """The time for waiting ran out. The turn goes on, and can be waited for again."""

    def __init__(self, turn: "Turn") -> None:
        super().__init__(f"turn {turn.id} is {turn.state} still")
        #: The turn as it was last seen.
        self.turn = turn

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.turn,)


class Problem(ThreadmillError):
    """The gateway refused a request."""

    def __init__(
        self, status: int, fields: dict[str, Any], *, attempts: int = 1, retry_after_seconds: float | None = None
    ) -> None:
        #: Of HTTP.
        self.status = status
        self.title = str(fields.get("title") or f"HTTP {status}")
        self.detail = str(fields.get("detail") or "")
        #: What was wrong: the field or parameter, what about it, how to mend it; None where no field was.
        self.field: str | None = fields.get("field")
        self.problem: str | None = fields.get("problem")
        self.fix: str | None = fields.get("fix")
        #: Whether the gateway says that the same request may succeed later; None where it does not say.
        self.retryable: bool | None = fields.get("retryable")
        #: What an operator finds in the gateway's log.
        self.request_id: str | None = fields.get("request_id")
        self.retry_after_seconds = retry_after_seconds
        #: How often the request was sent.
        self.attempts = attempts
        #: The whole problem, as it came.
        self.fields = fields
        super().__init__(self._describe())

    def __reduce__(self) -> tuple[Any, ...]:
        # Task queues carry errors from one process to another.
        return type(self), (self.status, self.fields), self.__dict__

    def _describe(self) -> str:
        text = f"{self.status} {self.title}"
        if self.detail:
            text += f": {self.detail}"
        if self.fix and self.fix not in self.detail:
            text += f" ({self.fix})"
        return f"{text} [request {self.request_id}]" if self.request_id else text


class InvalidRequest(Problem):
    """The request cannot be carried out as it is: `field`, `problem` and `fix` say what to change."""


class Unauthorized(Problem):
    """No key came along, or none that holds."""


class Forbidden(Problem):
    """The key lacks a scope."""


class NotFound(Problem):
    """Nothing is there, or nothing that this key may see."""


class Conflict(Problem):
    """The thing to be made exists, or the state of one does not allow it."""


class PreconditionFailed(Problem):
    """The thread was changed since its ETag was read: read it again."""


class TooLarge(Problem):
    """More than the gateway takes."""


class RateLimited(Problem):
    """Too many requests: `retry_after_seconds` says when to go on."""


class GatewayFailed(Problem):
    """The gateway, or a proxy before it, could not do it."""


_BY_STATUS: dict[int, type[Problem]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    422: InvalidRequest,
    429: RateLimited,
}


def problem_class(status: int) -> type[Problem]:
    """The class of the problems that come with a status."""
    return GatewayFailed if status >= 500 else _BY_STATUS.get(status, Problem)
