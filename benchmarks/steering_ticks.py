"""A minute of beat's ticks: what it costs more while ten thousand turns wait for a person.

The ticks are the sweep, the look for webhooks and the look for schedules. Two databases of one server are copies of
each other: in one the turns wait, in the other they have ended, and they change places after each half of a round.
Each tick runs in both, one right after the other, so that whatever else the machine does meets both; what counts is
the median of the differences. It is the processor time of this process, and of the connection's at PostgreSQL. How
finely it is measured is told by the same between two in which all have ended.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean, median

import psycopg
from pydantic import SecretStr
from sqlalchemy import make_url

from benchmarks.figures import Figure, Measures, at_most
from benchmarks.processor_clock import ProcessorClock
from benchmarks.stage import rounds_within, settings_of
from conversation.task_contract import WakeUp
from store.database.engine import Database
from store.migrations import upgrade
from store.settings import Settings
from store.turns import sweep, unserved, workers
from tasks.jobs.schedules import run_schedules
from tasks.jobs.send_webhooks import send_webhooks
from threadmill.embedded.stack import Stack

TURNS = 10_000
#: Minutes that are played before the databases change places.
MINUTES = 2
#: Rounds, and seconds after which none begins: while turns wait, and while none does.
WAITING_ROUNDS, WAITING_SECONDS = 20, 28
ENDED_ROUNDS, ENDED_SECONDS = 10, 10
NAMES = ("ticks_a", "ticks_b")
STOCK = """
insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
select 'default', 'waiting-' || n, '{{}}', now(), now(), 1 from generate_series(1, {turns}) as n;

insert into turns (id, thread_key, tenant, created_at, agent, metadata, state, attempt, window_to_seq, finished_at)
select gen_random_uuid(), key, 'default', now(), 'asking', '{{}}', 'completed', 1, 1, now()
from threads where starts_with(id, 'waiting-')
"""
TO_WAIT = """
update turns set state = 'waiting', finished_at = null, wait_expires_at = now() + interval '7 days';

insert into pending_calls (
    turn_id, call_id, tenant, step_index, kind, name, arguments, arguments_digest, requested_at, expires_at
)
select id, 'call-1', tenant, 1, 'approval', 'act', '{}', '', now(), wait_expires_at from turns;

vacuum analyze turns, pending_calls
"""
TO_END = """
update turns set state = 'completed', finished_at = now(), wait_expires_at = null;

delete from pending_calls;

vacuum analyze turns, pending_calls
"""


@dataclass(frozen=True)
class Tick:
    """One of beat's."""

    seconds: float
    run: Callable[[Database, Settings], object]

    @property
    def times_a_minute(self) -> int:
        return round(60 / self.seconds)


class Side:
    """One of the two databases."""

    def __init__(self, servers: Stack, name: str) -> None:
        self._url = address(servers, name)
        settings = settings_of(servers, db_pool_size=1)
        self.database = Database(settings.model_copy(update={"database_url": SecretStr(self._url)}))
        self._clock = ProcessorClock(self.database)

    def run_script(self, script: str) -> None:
        run_script(self._url, script)

    def measure_ms(self, tick: Tick) -> float:
        """The milliseconds of the processor's time that a tick takes."""
        before = self._clock.read_ms()
        tick.run(self.database, self.database.settings)
        return self._clock.read_ms() - before


def measure(servers: Stack, *, quick: bool) -> Measures:
    """Measure what a minute costs, and what it costs more while turns wait."""
    create_copies(servers, 100 if quick else TURNS)
    with ExitStack() as open_databases:
        sides = [Side(servers, name) for name in NAMES]
        for side in sides:
            open_databases.callback(side.database.close)
        measures = [
            [play_round(sides, script) for _ in rounds_within(seconds, 1 if quick else rounds)]
            for script, rounds, seconds in (
                (TO_WAIT, WAITING_ROUNDS, WAITING_SECONDS),
                (TO_END, ENDED_ROUNDS, ENDED_SECONDS),
            )
        ]
    (waiting, _), (ended, whole) = (zip(*each, strict=True) for each in measures)
    label = "processor time of a minute's ticks"
    return [
        Figure(key="minute_idle", label=f"{label}, nothing waits", rounds=whole, unit="ms"),
        Figure(
            key="minute_waiting",
            label=f"{label}, more while {TURNS:,} turns wait",
            rounds=waiting,
            unit="ms",
            demand=at_most(1),
        ),
        Figure(key="minute_noise", label=f"{label}, more where none does", rounds=ended, unit="ms"),
    ]


def play_round(sides: Sequence[Side], script: str) -> tuple[float, float]:
    """Play minutes while the turns of one have had `script` run, and then the other's; the milliseconds of one minute.

    Returns what it costs more with the script, and what it costs without.
    """
    halves = [play_half(one, other, script) for one, other in (sides, sides[::-1])]
    more, whole = zip(*halves, strict=True)
    return fmean(more), fmean(whole)


def play_half(changed: Side, ended: Side, script: str) -> tuple[float, float]:
    """As `play_round`, with one of them changed."""
    ended.run_script(TO_END)
    changed.run_script(script)
    more = whole = 0.0
    for tick in list_ticks(ended.database.settings):
        costs = [measure_both(changed, ended, tick, number) for number in range(MINUTES * tick.times_a_minute)]
        more += tick.times_a_minute * median(one - other for one, other in costs)
        whole += tick.times_a_minute * median(other for _, other in costs)
    return more, whole


def measure_both(changed: Side, ended: Side, tick: Tick, number: int) -> tuple[float, float]:
    """The milliseconds of a tick in each: every other time the other one is first."""
    if number % 2:
        return changed.measure_ms(tick), ended.measure_ms(tick)
    of_ended = ended.measure_ms(tick)
    return changed.measure_ms(tick), of_ended


def list_ticks(settings: Settings) -> list[Tick]:
    """What beat has done for turns that wait, or might have to."""
    return [
        Tick(settings.sweep_interval_seconds, _sweep),
        Tick(settings.webhook_interval_seconds, send_webhooks),
        Tick(settings.schedule_interval_seconds, lambda database, own: run_schedules(database, own, _publish_none)),
    ]


def _sweep(database: Database, settings: Settings) -> None:
    assert not database.run(unserved.list_overdue, limit=settings.sweep_batch)
    wake_ups = sweep.pick_wake_ups_alone(
        database, grace_seconds=settings.sweep_grace_seconds, limit=settings.sweep_batch
    )
    assert wake_ups == [], "a turn that waits was woken up"
    database.run(workers.forget_dead)


def _publish_none(wake_up: WakeUp) -> None:
    raise AssertionError(wake_up)


def create_copies(servers: Stack, turns: int) -> None:
    """Two databases with as many turns that have ended: the second is made of the first one's files."""
    own = servers.addresses().database_url
    first, second = NAMES
    run_script(own, f"create database {first}")
    upgrade(address(servers, first))
    run_script(address(servers, first), STOCK.format(turns=turns))
    run_script(own, f"create database {second} template {first}")


def address(servers: Stack, name: str) -> str:
    """The address of another database of these servers."""
    url = make_url(servers.addresses().database_url).set(database=name)
    return url.render_as_string(hide_password=False)


def run_script(url: str, script: str) -> None:
    """Run statements, each alone."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in script.split(";"):
            connection.execute(statement)
