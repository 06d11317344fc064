"""Rules for thread ids: a text with the local date and time of a run in it, so that each day, say, has a thread.

What stays true: a rule that was checked makes a valid id at every moment; the same moment makes the same id.
"""

import re
from datetime import UTC, datetime, tzinfo

from conversation.errors import InvalidInput
from conversation.quotation import quote
from conversation.validation import check_id, check_text

#: What stands for what, as `strftime` writes it. All of it is within what an id may hold.
_FIELDS = {"date": "%Y-%m-%d", "time": "%H%M", "year": "%Y", "month": "%Y-%m", "week": "%G-W%V", "hour": "%Y-%m-%dT%H"}
#: The fields of a rule, as they are written in it.
RULE_FIELDS = tuple(f"{{{name}}}" for name in (*_FIELDS, "schedule"))
_FIELD = re.compile(r"\{([^{}]*)\}")
_RULE_MAX_CHARS = 255
_SAMPLE_ID = "0" * 36


def check_thread_rule(rule: object) -> str:
    """A text that makes a thread id of each moment. Raises `InvalidInput`."""
    text = check_text("thread_rule", rule, max_chars=_RULE_MAX_CHARS)
    for name in _FIELD.findall(text):
        if name not in _FIELDS and name != "schedule":
            raise InvalidInput("thread_rule", f"names {quote(name)}", f"use some of {', '.join(RULE_FIELDS)}")
    if not _FIELD.search(text):
        raise InvalidInput("thread_rule", "has no field", f"use some of {', '.join(RULE_FIELDS)}, or pass thread_id")
    check_id("thread_rule", apply_thread_rule(text, datetime(2030, 12, 31, 23, 59, tzinfo=UTC), UTC, _SAMPLE_ID))
    return text


def apply_thread_rule(rule: str, moment: datetime, zone: tzinfo, schedule_id: str) -> str:
    """The thread id that a rule makes of a moment."""
    local = moment.astimezone(zone)

    def write(match: re.Match[str]) -> str:
        return schedule_id if match[1] == "schedule" else local.strftime(_FIELDS[match[1]])

    return _FIELD.sub(write, rule)
