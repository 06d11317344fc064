"""The parameter by which a request names a branch of its thread."""

from typing import Annotated

from fastapi import Query

from conversation.branch_address import address_of
from conversation.validation import ID_MAX_CHARS, check_id

BranchOf = Annotated[
    str | None, Query(description="The id of a branch; the chosen one without it.", max_length=ID_MAX_CHARS)
]


def read_address(thread_id: str, branch: str | None) -> str:
    """The address of the branch that a request names. Raises `InvalidInput`."""
    check_id("thread_id", thread_id)
    return address_of(thread_id, None if branch is None else check_id("branch", branch))
