"""Commands of remote control as anybody may publish them: in Celery's form, and in none."""

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

from tasks.control.requests import REPLY_EXCHANGE

#: The list of answers that hostile commands name.
OID = str(uuid4())


def compose(body: Any, /, **parts: Any) -> str:
    """A command as kombu publishes it; `parts` are of the message around its body."""
    message = {
        "body": b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 1, "expires": 0},
        "properties": {
            "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }
    return json.dumps(message | parts)


def ask_for(verb: Any, oid: Any = OID, **fields: Any) -> dict[str, Any]:
    """The body of a command as Celery's clients send it."""
    reply_to = {"exchange": REPLY_EXCHANGE, "routing_key": oid}
    body = {"method": verb, "arguments": {}, "destination": None, "pattern": None, "matcher": None}
    return body | {"ticket": str(uuid4()), "reply_to": reply_to} | fields


#: What ends workers of Celery's, takes their queues, or has them fill the machine.
HOSTILE_COMMANDS: tuple[str, ...] = (
    compose(ask_for("shutdown")),
    compose(ask_for("pool_grow", arguments={"n": 500})),
    compose(ask_for("cancel_consumer", arguments={"queue": "turns"})),
    compose(ask_for("add_consumer", arguments={"queue": "stolen"})),
    compose(ask_for("rate_limit", arguments={"task_name": "turns.run", "rate_limit": "1/h"})),
    compose(ask_for("time_limit", arguments={"task_name": "files.prepare", "hard": 1, "soft": 1})),
    compose(ask_for("revoke", arguments={"task_id": [str(number) for number in range(100_000)], "terminate": True})),
    compose(ask_for("stats"), body=b64encode(b"[" * 100_000).decode()),
    "[" * 100_000,
    "null",
)
