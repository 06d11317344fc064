"""Threadmill's errors and their HTTP statuses: the one place that says which status each of them has.

What stays true: it imports no web framework, so that a backend of any can answer by the same table.
`docs/reference/errors.md` and `examples/web/problems.py`, which backends copy, have the same; a test compares them.
"""

from conversation import errors
from conversation.errors import ThreadmillError

STATUSES: dict[type[ThreadmillError], int] = {
    errors.UserError: 400,
    errors.ThreadNotFound: 404,
    errors.BranchNotFound: 404,
    errors.MessageNotFound: 404,
    errors.TurnNotFound: 404,
    errors.PendingCallNotFound: 404,
    errors.ScheduleNotFound: 404,
    errors.InboundSourceNotFound: 404,
    errors.UploadNotFound: 404,
    errors.WebhookNotFound: 404,
    errors.FileNotStored: 404,
    errors.IdempotencyConflict: 409,
    errors.BranchInUse: 409,
    errors.TurnNotRequeueable: 409,
    errors.ThreadBusy: 409,
    errors.AlreadyDecided: 409,
    errors.DigestMismatch: 409,
    errors.UploadIncomplete: 409,
    errors.FileNotReady: 409,
    errors.ThreadUnderLegalHold: 409,
    errors.TitleConflict: 409,
    errors.FileRejected: 422,
    errors.LimitReached: 429,
    errors.MessagesNotLoaded: 500,
    ThreadmillError: 500,
    errors.UploadsNotSupported: 501,
    errors.ModelError: 502,
    errors.TurnFailed: 502,
    # A backend that names the agent by a setting: the operator's fault. Where a request names it, 400 is better.
    errors.UnknownAgent: 503,
    errors.DatabaseUnavailable: 503,
    errors.FileStoreUnavailable: 503,
    errors.ToolServerUnavailable: 503,
}


def status_of(error: ThreadmillError) -> int:
    """The status of an error: that of its own class, else of the nearest one above it."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
