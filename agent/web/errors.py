"""Why something could not be had from the web, in words for the model that asked for it.

WebError
├── UrlRefused        (the URL, or where it leads, is none that may be fetched)
├── NotReached        (nobody answered, or the connection broke)
├── TooSlow
├── TooLarge
└── AnswerRefused     (there is an answer, but none that can be used)

A text names its URL as `shown` does, so without the query: that is where secrets stand.
"""

from conversation.errors import ThreadmillError


class WebError(ThreadmillError):
    """Root of the tree."""


class UrlRefused(WebError):
    """The same URL will be refused again: it is no public web address."""


class NotReached(WebError):
    """The name is unknown, the server is away, its certificate is wrong, or it hung up."""


class TooSlow(WebError):
    """The server did not connect, go on or finish in time."""


class TooLarge(WebError):
    """The answer has more bytes than are read."""


class AnswerRefused(WebError):
    """An error status, a type that is not wanted, an unknown encoding, or too many redirects."""
