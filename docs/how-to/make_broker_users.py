"""The generator of `users.acl`, the users of Compose's Valkey: `python docs/how-to/make_broker_users.py --write`.

What stays true: the file holds no password, only the names of the variables that do; who may do what is said in
`store.live.broker_users`.
"""

import sys
from pathlib import Path

from store.live.broker_users import HEALTH, OPERATOR, BrokerUser, write_users

FILE = Path(__file__).parents[2] / "deploy" / "valkey" / "users.acl"


def make_password(user: BrokerUser) -> str:
    """The rule of a user's password: a variable that `start.sh` fills in."""
    if user.name == HEALTH:
        return "nopass"
    variable = "VALKEY_PASSWORD" if user.name == OPERATOR else f"{user.name.upper()}_BROKER_PASSWORD"
    return f">${{{variable}}}"


def make_users() -> str:
    """The text of the file."""
    return "".join(f"{line}\n" for line in write_users(make_password))


if __name__ == "__main__":
    if "--write" in sys.argv:
        FILE.write_text(make_users())
    elif FILE.read_text() != make_users():
        sys.exit(f"{FILE.name} is not what the code says: python docs/how-to/make_broker_users.py --write")
