"""The web as an agent uses it: pages to read and files to keep.

What stays true: no URL, however spelled, named or redirected, makes this process talk to an address
that is not public (`address_guard.py`), and no answer is larger or slower than its limits. Importing this
package loads neither the HTTP client nor the reader of pages.
"""

from agent.web.client import WebClient
from agent.web.errors import AnswerRejected, NotReached, TooLarge, TooSlow, UrlRejected, WebError
from agent.web.limits import WebLimits
from agent.web.tools import WEB_TOOLS, web_tools

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # For agents
    "WEB_TOOLS",
    "web_tools",
    # For tools of one's own
    "WebClient",
    "WebLimits",
    # Errors
    "AnswerRejected",
    "NotReached",
    "TooLarge",
    "TooSlow",
    "UrlRejected",
    "WebError",
]
