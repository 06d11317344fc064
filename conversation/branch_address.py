"""Addresses of branches: a thread's id, a slash and the branch's own id.

What stays true: no thread of a caller has a slash in its id, so an address is never a thread's. A thread's id alone
stands for its chosen branch; where rows are named, for its first one.
"""

from conversation import ids
from conversation.validation import check_id

#: The id of the branch that a thread has from its first message on.
MAIN = "main"
#: Characters of a branch's id: 48 random bits in hex.
BRANCH_ID_CHARS = 12
#: Characters of a branch's name, at most.
BRANCH_NAME_MAX_CHARS = 200
_SLASH = "/"


def new_branch_id() -> str:
    """The id of a new branch: random, for it is one of few within its thread."""
    return ids.new_id().replace("-", "")[-BRANCH_ID_CHARS:]


def address_of(thread_id: str, branch: str | None) -> str:
    """The address of a branch; of the chosen one, where none is named, the thread's id."""
    return thread_id if branch is None else f"{thread_id}{_SLASH}{branch}"


def checked_address_of(thread_id: str, branch: str | None) -> str:
    """As `address_of`, of ids that a caller chose. Raises `InvalidInput`."""
    check_id("thread_id", thread_id)
    return address_of(thread_id, None if branch is None else check_id("branch", branch))


def split_address(address: str) -> tuple[str, str | None]:
    """The thread's id and the branch's in an address."""
    thread_id, _, branch = address.partition(_SLASH)
    return thread_id, branch or None


def row_id_of(address: str) -> str:
    """The id of the row that an address names: that of a thread's first branch is the thread's own."""
    thread_id, branch = split_address(address)
    return thread_id if branch == MAIN else address


def check_address(field: str, value: object) -> str:
    """Check the id of a thread, or the address of one of its branches. Raises `InvalidInput`."""
    # What a subclass of `str` says of itself is its own code's; the check of an id refuses such a text.
    if type(value) is str and _SLASH in value:
        thread_id, branch = split_address(value)
        check_id(field, thread_id)
        check_id("branch", branch or "")
        return value
    return check_id(field, value)
