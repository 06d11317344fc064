"""The user that a caller names: who asks in a turn, and whose the thread is, if it was nobody's.

What stays true: metadata is read for a user here and nowhere else in Python, and
`store/functions/named_user_v1.sql` reads it alike. Whoever asks later whose a thread is asks its `owner`.
"""

from collections.abc import Mapping
from typing import Any

from conversation.canonical_json import canonical_json
from conversation.validation import check_id

#: The key of metadata that names the user where a caller passes no `user`.
METADATA_KEY = "user"


def named_user(user: object, metadata: Mapping[str, Any] | None) -> str | None:
    """The user of a call: `user`, else what its metadata has under `user`; None where neither names one.

    In metadata, 42 is "42" and true is "true"; an object, a list and "" name nobody. Raises `InvalidInput` for
    what is no id, since nobody could erase by it.
    """
    if user is not None:
        return check_id("user", user)
    value = metadata.get(METADATA_KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(value, str | int | float) or value == "":
        return None
    return check_id("metadata.user", value if isinstance(value, str) else canonical_json(value))
