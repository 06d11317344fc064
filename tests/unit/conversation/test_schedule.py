"""Which runs of a schedule are due, by its catch-up policy; and the threads that a rule makes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from conversation.cron import check_cron
from conversation.errors import InvalidInput
from conversation.schedule import RUNS_MAX, CatchUp, plan_runs
from conversation.thread_rule import apply_thread_rule, check_thread_rule

GRACE = timedelta(minutes=5)
HOURLY = check_cron("0 * * * *", "UTC")
NINE = datetime(2030, 1, 31, 9, tzinfo=UTC)


def hours(*numbers: int) -> tuple[datetime, ...]:
    return tuple(NINE.replace(hour=number) for number in numbers)


@pytest.mark.parametrize(
    ("catch_up", "late", "due"),
    [
        (CatchUp.SKIP, timedelta(minutes=1), (9,)),
        (CatchUp.SKIP, timedelta(minutes=30), ()),
        (CatchUp.SKIP, timedelta(hours=3, minutes=1), (12,)),
        (CatchUp.SKIP, timedelta(hours=3, minutes=30), ()),
        (CatchUp.ONE, timedelta(minutes=30), (9,)),
        (CatchUp.ONE, timedelta(hours=3, minutes=30), (12,)),
        (CatchUp.ALL, timedelta(hours=3, minutes=30), (9, 10, 11, 12)),
    ],
)
def test_what_is_sent_after_an_outage(catch_up: CatchUp, late: timedelta, due: tuple[int, ...]) -> None:
    now = NINE + late

    plan = plan_runs(HOURLY, catch_up, NINE, now, grace=GRACE)

    assert tuple(plan.due) == hours(*due)
    assert plan.next_at == HOURLY.next_after(now)


@pytest.mark.parametrize(("catch_up", "is_sent"), [(CatchUp.SKIP, False), (CatchUp.ONE, True), (CatchUp.ALL, True)])
def test_the_one_run_of_an_outage(catch_up: CatchUp, is_sent: bool) -> None:
    plan = plan_runs(None, catch_up, NINE, NINE + timedelta(hours=1), grace=GRACE)

    assert (list(plan.due), plan.next_at) == ([NINE] if is_sent else [], None)


def test_a_long_outage_is_made_up_for_in_parts() -> None:
    minutely = check_cron("* * * * *", "UTC")

    plan = plan_runs(minutely, CatchUp.ALL, NINE, NINE + timedelta(days=7), grace=GRACE)

    assert len(plan.due) == RUNS_MAX
    assert plan.next_at == NINE + timedelta(minutes=RUNS_MAX)


def test_a_rule_has_the_date_of_the_schedules_zone() -> None:
    midnight = datetime(2030, 1, 31, 23, 30, tzinfo=UTC)

    assert (
        apply_thread_rule("report-{date}-{time}", midnight, ZoneInfo("Europe/Berlin"), "7") == "report-2030-02-01-0030"
    )
    assert apply_thread_rule("{schedule}.{week}", midnight, UTC, "7") == "7.2030-W05"


@pytest.mark.parametrize(
    "rule", ["", "plain", "{day}", "{date!r}", "{date.__class__}", "a b {date}", "a/{date}", "{date}" * 40, "{}", None]
)
def test_what_makes_no_thread_id_is_no_rule(rule: object) -> None:
    with pytest.raises(InvalidInput, match=r"^thread_rule: "):
        check_thread_rule(rule)
