"""The key of the chat page of a stack: made at its first start, the same one at each that follows.

What stays true: its text stands in a file of the stack's folder, which its user alone can read, and nowhere else; one
that was revoked stays revoked, and another one is made.
"""

from typing import TYPE_CHECKING

from threadmill.embedded.home import Home

if TYPE_CHECKING:
    from store.database.engine import Database
    from store.keys.key_rows import KeyRecord
    from store.keys.key_text import ApiKey

FILE = "key"
#: What `threadmill keys list` says of it.
NAME = "chat page of threadmill up"
TENANT = "default"


def load_gateway_key(home: Home) -> str:
    """The text of the key that was made last; "" before."""
    return (home.read_private(FILE) or "").strip()


def ensure_gateway_key(home: Home, database_url: str) -> None:
    """Have a key that may do everything in the default tenant, in this database."""
    from store.database.engine import Database
    from store.keys.key_text import make_key, read_key
    from store.settings import load

    database = Database(load(database_url=database_url))
    try:
        key = read_key(load_gateway_key(home)) or make_key()
        if _store(database, key).state != "active":
            key = make_key()
            _store(database, key)
    finally:
        database.close()
    home.write_private(FILE, f"{key.text}\n")


def _store(database: "Database", key: "ApiKey") -> "KeyRecord":
    from store.keys.key_rows import KeyRequest, create_key

    request = KeyRequest(tenant=TENANT, name=NAME, scopes=("read", "write", "operate"))
    return database.run(create_key, request, key)
