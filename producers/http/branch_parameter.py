"""The parameter by which a request names a branch of its thread."""

from typing import Annotated

from fastapi import Query

from conversation.validation import ID_MAX_CHARS

BranchOf = Annotated[
    str | None, Query(description="The id of a branch; the chosen one without it.", max_length=ID_MAX_CHARS)
]
