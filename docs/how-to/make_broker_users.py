"""The users of the broker, written for a server: as Compose's file, or as commands for a server of yours.

    python docs/how-to/make_broker_users.py --write       deploy/valkey/users.acl anew
    python docs/how-to/make_broker_users.py --commands    ACL SETUSER for each, with the passwords of the environment

What stays true: who may do what is said in `store.live.broker_users`. Neither has a password in it: the file has the
names of variables, which `start.sh` fills in, and the commands have SHA-256 of what they hold.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from store.live.broker_users import HEALTH, OPERATOR, BrokerUser, write_users

FILE = Path(__file__).parents[2] / "deploy" / "valkey" / "users.acl"


def name_variable(user: BrokerUser) -> str:
    """The variable that holds a user's password."""
    return "VALKEY_PASSWORD" if user.name == OPERATOR else f"{user.name.upper()}_BROKER_PASSWORD"


def refer_to_variable(user: BrokerUser) -> str:
    """The rule of a user's password, as `start.sh` takes it."""
    return "nopass" if user.name == HEALTH else f">${{{name_variable(user)}}}"


def hash_variable(user: BrokerUser) -> str:
    """The rule of a user's password, with the hash of what its variable holds."""
    if user.name == HEALTH:
        return "nopass"
    password = os.environ.get(name_variable(user)) or sys.exit(f"set {name_variable(user)}")
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


def make_users() -> str:
    """The text of the file."""
    return "".join(f"{line}\n" for line in write_users(refer_to_variable))


def make_commands() -> Iterator[str]:
    """The commands; that which turns off who sends them is the last one."""
    default, *lines = write_users(hash_variable)
    for line in [*lines, default]:
        _, name, rules = line.split(" ", 2)
        yield f"ACL SETUSER {name} reset {rules}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        FILE.write_text(make_users())
    elif "--commands" in sys.argv:
        print("\n".join(make_commands()))
    else:
        sys.exit(__doc__)
