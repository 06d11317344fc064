"""The errors of a fetch from the web, in words for the model that asked for it.

WebError
├── UrlRejected       (the URL, or where it leads, is none that may be fetched)
├── NotReached        (no server answered, or the connection broke)
├── TooSlow
├── TooLarge
└── AnswerRejected    (there is an answer, but none that can be used)

A text names its URL as `redact` does, so without the query: that is where secrets stand.
"""

from conversation.errors import ThreadmillError


class WebError(ThreadmillError):
    """Root of the tree."""


class UrlRejected(WebError):
    """The URL is no public web address, and will be rejected again."""


class NotReached(WebError):
    """The name is unknown, the server is away, its certificate is wrong, or it hung up."""


class TooSlow(WebError):
    """The server did not connect, go on or finish in time."""


class TooLarge(WebError):
    """The answer has more bytes than are read."""


class AnswerRejected(WebError):
    """An error status, a type that is not wanted, an unknown encoding, or too many redirects."""
