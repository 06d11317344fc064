"""Scopes: what a credential lets its bearer do.

`read` looks, `write` sends and changes, `operate` deletes and asks again.
"""

from typing import Literal

Scope = Literal["read", "write", "operate"]
SCOPES: tuple[Scope, ...] = ("read", "write", "operate")
