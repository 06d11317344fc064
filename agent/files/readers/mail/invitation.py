"""Invitations of calendars and cards of addresses, as lines that a person can read.

What stays true: the fields that people fill in are shown with their values; those of machines are counted.
"""

import quopri
import re
from collections.abc import Iterator

from agent.files.readers.decode import decode
from agent.files.readers.sections import TextSections

_LINES_MAX = 2000
#: What the fields of calendars are called here; "" for those that say nothing to people.
_CALENDAR = {
    "SUMMARY": "Summary", "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "DURATION": "Duration",
    "LOCATION": "Place", "ORGANIZER": "Organizer", "ATTENDEE": "Attendee", "DESCRIPTION": "Description",
    "RRULE": "Repeats", "RDATE": "Repeats on", "EXDATE": "Not on", "STATUS": "Status", "COMMENT": "Comment",
    "CATEGORIES": "Categories", "CONTACT": "Contact", "RESOURCES": "Resources", "URL": "Address", "ATTACH": "File",
    "METHOD": "Method", "X-WR-CALNAME": "Calendar", "X-WR-CALDESC": "Calendar", "TRIGGER": "Reminder",
    "PERCENT-COMPLETE": "Percent complete", "PRIORITY": "Priority", "RECURRENCE-ID": "Instead of",
    "BEGIN": "", "END": "", "VERSION": "", "CALSCALE": "",
}  # fmt: skip
_KINDS = {
    "VEVENT": "Event",
    "VTODO": "Task",
    "VJOURNAL": "Journal entry",
    "VFREEBUSY": "Free and busy",
    "VCARD": "Card",
}
_CARD_SILENT = {"BEGIN", "END", "VERSION", "PRODID", "REV", "UID"}
_FIELD = re.compile(r"(?:[\w-]+\.)?([\w-]+)((?:;(?:[^:;\"]|\"[^\"]*\")*)*):(.*)", re.DOTALL)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z)?)?")


def render_calendar(text: str, sections: TextSections) -> str:
    """Render a calendar file: each event with its fields."""
    lines, skips = list[str](), 0
    for name, parameters, value in _fields(text):
        if name == "BEGIN" and value.upper() in ("VTIMEZONE", "STANDARD", "DAYLIGHT"):
            skips += 1
        elif name == "END" and value.upper() in ("VTIMEZONE", "STANDARD", "DAYLIGHT"):
            skips -= 1
        elif not skips:
            lines.append(_calendar_line(name, parameters, value, sections))
    return "\n".join(filter(None, lines[:_LINES_MAX]))


def render_card(text: str, sections: TextSections) -> str:
    """Render a file of vCards: each with its fields, its pictures counted."""
    lines = list[str]()
    for name, parameters, value in _fields(text):
        if name in ("PHOTO", "LOGO", "SOUND", "KEY"):
            sections.leave_out({"SOUND": "sound", "KEY": "key"}.get(name, "picture"))
        elif name == "BEGIN":
            lines.append(f"{_KINDS.get(value.upper(), value)}:")
        elif name not in _CARD_SILENT and value.strip(" ;,"):
            kinds = ", ".join(re.findall(r"TYPE=\"?([^;\":]+)", parameters, re.IGNORECASE))
            words = ", ".join(part for part in re.split(r"(?<!\\);", value) if part)
            lines.append(f"{name.capitalize()}{f' ({kinds.lower()})' if kinds else ''}: {_unescape(words)}")
    return "\n".join(lines[:_LINES_MAX])


def _calendar_line(name: str, parameters: str, value: str, sections: TextSections) -> str:
    if name == "BEGIN" and value.upper() in _KINDS:
        return f"{_KINDS[value.upper()]}:"
    label = _CALENDAR.get(name)
    if label is None:
        sections.leave_out("calendar field", bool(value.strip()))
    if not label or not value.strip():
        return ""
    if name == "ATTACH" and "BINARY" in parameters.upper():
        sections.leave_out("attachment")
        return ""
    common_name = re.search(r"CN=(\"[^\"]*\"|[^;:]*)", parameters, re.IGNORECASE)
    zone = re.search(r"TZID=\"?([^;\":]*)", parameters, re.IGNORECASE)
    notes = [common_name[1].strip('"')] if common_name else []
    value = re.sub("^mailto:", "", _unescape(value), flags=re.IGNORECASE)
    if name in ("DTSTART", "DTEND", "DUE", "RDATE", "EXDATE", "RECURRENCE-ID"):
        value = _TIME.sub(_format_time, value)
        notes = [zone[1]] if zone else []
    return f"{label}: {value}{f' ({notes[0]})' if notes and notes[0] != value else ''}"


def _format_time(match: re.Match[str]) -> str:
    year, month, day, hour, minute, _, is_utc = match.groups()
    return f"{year}-{month}-{day}" + (f" {hour}:{minute}" if hour else "") + (" UTC" if is_utc else "")


def _fields(text: str) -> Iterator[tuple[str, str, str]]:
    """The fields of a file: their name, parameters and value, with their folded lines joined."""
    unfolded = re.sub(r"\r?\n[ \t]", "", text)
    # Cards of the second version fold as quoted-printable does.
    unfolded = re.sub(r"=\r?\n", "", unfolded) if "QUOTED-PRINTABLE" in unfolded else unfolded
    for line in unfolded.splitlines():
        match = _FIELD.match(line)
        if match:
            name, parameters, value = match[1].upper(), match[2], match[3]
            if "QUOTED-PRINTABLE" in parameters.upper():
                value = decode(quopri.decodestring(value.encode("utf-8", "replace")))
            yield name, parameters, value.strip()


def _unescape(value: str) -> str:
    return re.sub(r"\\([\\;,nN])", lambda match: "\n" if match[1] in "nN" else match[1], value)
