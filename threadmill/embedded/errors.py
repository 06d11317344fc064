"""Errors of servers that we start ourselves: always the operator's to mend.

OperatorError
├── ServerFailed      a program did not start, or died
└── DirectoryInUse    another process runs a server in this folder
"""

from conversation.errors import OperatorError


class ServerFailed(OperatorError):
    """A program did not start, or died. The text quotes the end of its log and names the file."""


class DirectoryInUse(OperatorError):
    """Another living process owns this folder; two servers on the same files would destroy them."""
