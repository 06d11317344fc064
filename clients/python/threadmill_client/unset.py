"""The value that stands for one that is not given, where None is one."""

from typing import Any


class Unset:
    """The kind of `UNSET`."""

    def __repr__(self) -> str:
        return "UNSET"


#: What is not to be changed, unlike None.
UNSET = Unset()


def drop_unset(**values: Any) -> dict[str, Any]:
    """The values that are given, None among them."""
    return {name: value for name, value in values.items() if not isinstance(value, Unset)}
