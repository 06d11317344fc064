"""Cron expressions: each moment comes once, through every change of clocks; what is no expression is refused."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation.cron import check_cron, check_time_zone
from conversation.errors import InvalidInput

#: With changes of an hour, of half an hour, at midnight, and none.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "UTC")


BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)


def list_local(expression: str, zone: str, start: str, count: int) -> list[str]:
    """The first moments after a local time, as the wall shows them, with their offset."""
    moment = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    cron, moments = check_cron(expression, zone), []
    for _ in range(count):
        following = cron.next_after(moment)
        assert following is not None
        moment = following
        moments.append(moment.astimezone(ZoneInfo(zone)).isoformat())
    return moments


def test_a_time_that_the_clock_leaves_out_comes_as_that_hour_ends() -> None:
    assert list_local("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_that_comes_twice_is_met_once() -> None:
    assert list_local("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_two_times_of_a_left_out_hour_are_one_run_there() -> None:
    moments = list_local("15,45 1-3 * * *", "Europe/Berlin", "2026-03-29T01:30", 4)

    assert [moment[11:16] for moment in moments] == ["01:45", "03:00", "03:15", "03:45"]


@pytest.mark.parametrize("start", ["2026-03-29T00:30", "2026-10-25T00:30"])
def test_what_comes_every_hour_comes_every_hour_of_elapsed_time(start: str) -> None:
    cron = check_cron("0 * * * *", "Europe/Berlin")
    moment = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)

    moments = [moment := cron.next_after(moment) or moment for _ in range(6)]

    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(hours=1)}


def test_the_page_shows_the_two_nights_as_they_are() -> None:
    page = Path("docs/reference/schedules.md").read_text()
    head, *rows = re.findall(r"^\| (.+) \|$", page.partition("up to 4:00:\n\n")[2].partition("\n\n")[0], re.MULTILINE)
    nights = [night.strip() for night in head.split("|")[1:]]

    for row in rows[1:] if rows[0].startswith("-") else rows:
        expression, *shown = [cell.strip() for cell in row.split("|")]
        computed = [list_night(expression.strip("`"), night) for night in nights]
        assert computed == [[time for time in cell.split(", ") if time] for cell in shown], expression
    assert len(rows) >= 4


def list_night(expression: str, night: str) -> list[str]:
    """The moments of a night in Berlin before four."""
    times = list_local(expression, "Europe/Berlin", f"{night}T00:30", 6)
    return [f"{time[11:16]}{time[19:22]}" for time in times if time[:10] == night and time[11:13] < "04"]


def test_the_second_of_two_hours_is_not_gone_through_again() -> None:
    """Also where the look begins in it."""
    in_second_hour = datetime(2026, 10, 25, 1, 20, tzinfo=UTC)

    following = check_cron("45 2 * * *", "Europe/Berlin").next_after(in_second_hour)

    assert following == datetime(2026, 10, 26, 1, 45, tzinfo=UTC)


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    expression=st.sampled_from(
        ["30 2 * * *", "*/20 * * * *", "0 1-3 * * *", "15,45 0,2 * * *", "0 9 * * mon-fri", "0 0 l * *", "*/7 2 * * *"]
    ),
    start=st.integers(0, 4 * 365 * 24 * 60).map(lambda minutes: BEGINNING + timedelta(minutes=minutes)),
    hours=st.integers(1, 24 * 20),
)
def test_moments_rise_and_do_not_depend_on_where_a_look_begins(
    zone: str, expression: str, start: datetime, hours: int
) -> None:
    cron, until = check_cron(expression, zone), start + timedelta(hours=hours)
    moments = []
    while (following := cron.next_after(moments[-1] if moments else start)) is not None and following <= until:
        assert following > (moments[-1] if moments else start)
        moments.append(following)

    for moment in moments[-40:]:
        assert cron.next_after(moment - timedelta(seconds=1)) == moment
        assert cron.newest_until(moments[0], moment + timedelta(microseconds=1)) == moment


def test_the_newest_of_a_year_of_minutes_is_found_at_once() -> None:
    cron, since = check_cron("* * * * *", "Europe/Berlin"), datetime(2020, 1, 1, tzinfo=UTC)

    assert cron.newest_until(since, datetime(2026, 10, 25, 0, 30, 5, tzinfo=UTC)) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "*/0 * * * *",
        "0 0 30 2 *",
        "a b c d e",
        "@reboot",
        "9" * 90,
        None,
        5,
    ],
)
def test_what_is_no_expression_is_refused(expression: object) -> None:
    with pytest.raises(InvalidInput, match=r"^cron: "):
        check_cron(expression, "UTC")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789*/-,#lLwW mMoOnN@?\u0660\u00b2", max_size=30))
def test_an_expression_is_taken_or_refused_and_nothing_else(expression: str) -> None:
    try:
        cron = check_cron(expression, "Europe/Berlin")
    except InvalidInput:
        return
    assert cron.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    "name", ["", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "right/Europe/Berlin", "Mars/Base", None, 5]
)
def test_what_is_no_time_zone_is_refused(name: object) -> None:
    with pytest.raises(InvalidInput, match=r"^time_zone: "):
        check_time_zone(name)


def test_names_stand_for_expressions() -> None:
    assert check_cron(" @Daily ", "UTC").expression == "0 0 * * *"
