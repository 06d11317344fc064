"""Text that a database can hold, made of any text.

What stays true: what comes out has no NUL and no lone surrogate, which neither PostgreSQL nor UTF-8
takes; text that has none comes out unchanged. `agent/files/readers` imports this module in its
child process, so it imports nothing.
"""


def make_storable(text: str, *, nul: str = "") -> str:
    """Make a text storable: `nul` takes the place of each NUL, and `?` that of each lone surrogate."""
    return text.replace("\x00", nul).encode("utf-8", "replace").decode()
