"""Cron expressions in a time zone: when the moments of a schedule are.

What stays true: each moment comes once, also where a clock is put forward or back. An expression that names hours runs
by the wall clock: what falls into the hour that a change of clocks leaves out comes as that hour ends, and of an hour
that comes twice the first one counts. One of every minute or every hour runs by elapsed time, through both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from conversation.errors import InvalidInput
from conversation.quotation import quote
from conversation.validation import check_text

#: Characters of an expression: the longest that makes sense has half as many.
EXPRESSION_MAX_CHARS = 200
#: Characters of a time zone's name.
TIME_ZONE_MAX_CHARS = 64
#: Fields of an expression: minute, hour, day of the month, month, day of the week.
FIELDS = 5
#: Names that cron has for expressions.
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
#: Not of the zone database proper: with leap seconds, or whatever the machine has.
_FOREIGN_ZONES = ("right/", "posix/", "localtime", "posixrules")
_EXAMPLE = "write it as '0 9 * * mon-fri': minute, hour, day of the month, month, day of the week"


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone; `check_cron` makes one."""

    expression: str
    zone: tzinfo

    def next_after(self, moment: datetime) -> datetime | None:
        """The first moment after another one, in UTC; None where none comes in fifty years."""
        return next(self._iterate_after(moment), None)

    def newest_until(self, since: datetime, until: datetime) -> datetime:
        """The last moment that is not after `until`; `since` is one of them that is not either."""
        newest, length = since, timedelta(minutes=1)
        # Far ahead at once: an expression of every minute has half a million moments in a year.
        while until - length > newest:
            candidate = self.next_after(until - length)
            if candidate is not None and candidate <= until:
                newest = candidate
                break
            length *= 2
        for moment in self._iterate_after(newest):
            if moment > until:
                break
            newest = moment
        return newest

    def _iterate_after(self, moment: datetime) -> Iterator[datetime]:
        for local in CronSim(self.expression, moment.astimezone(self.zone)):
            occurrence = local.astimezone(UTC)
            # In an hour that comes twice, the iteration begins with the first one.
            if occurrence > moment:
                yield occurrence


def check_cron(expression: object, time_zone: object) -> Cron:
    """A cron expression of five fields, or a name as `@daily`, in a time zone. Raises `InvalidInput`."""
    zone = check_time_zone(time_zone)
    text = check_text("cron", expression, max_chars=EXPRESSION_MAX_CHARS)
    text = " ".join(_NICKNAMES.get(text.strip().lower(), text).split())
    if len(text.split()) != FIELDS:
        raise InvalidInput("cron", f"is {quote(text)}, which has not five fields", _EXAMPLE)
    try:
        CronSim(text, datetime.now(UTC))
    except CronSimError as error:
        raise InvalidInput("cron", f"is {quote(text)}: {str(error).lower()}", _EXAMPLE) from None
    cron = Cron(text, zone)
    if cron.next_after(datetime.now(UTC)) is None:
        raise InvalidInput("cron", f"is {quote(text)}, which never comes", _EXAMPLE)
    return cron


def check_time_zone(name: object) -> tzinfo:
    """A time zone of the IANA database, as `Europe/Berlin`. Raises `InvalidInput`."""
    text = check_text("time_zone", name, max_chars=TIME_ZONE_MAX_CHARS)
    if text == "UTC":
        return UTC
    fix = "name one of the IANA database, as Europe/Berlin"
    if text.startswith(_FOREIGN_ZONES):
        raise InvalidInput("time_zone", f"is {quote(text)}", fix)
    try:
        return ZoneInfo(text)
    # A folder of zones, or a path, is none.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("time_zone", f"is {quote(text)}, which is unknown", fix) from None
