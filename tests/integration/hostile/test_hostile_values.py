"""No error of a driver leaves the store: public verbs answer hostile values in our own words, the same everywhere."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from conversation.validation import MOMENT_MAX, MOMENT_MIN
from producers.send_options import SendOptions
from producers.send_request import build_request
from store.database.engine import Database
from store.doctor import Examination
from store.settings import load
from store.tables import turns
from store.turns import inbox
from tests.conftest import LendDatabase
from tests.integration.hostile.coverage import list_missing
from tests.integration.hostile.run import Case, Outcome, list_cases, run, run_valid
from tests.integration.hostile.stage import Stage, open_stage
from tests.integration.hostile.values import VALUES
from tests.integration.hostile.verbs import VERBS
from tests.tries import check_tries

PAGE = Path("docs/reference/databases.md")
#: One case of so many is tried: primes, so that each parameter gets other values than the one before it.
SOAK_SHARE = 127
SHARES = [
    pytest.param(307, id="some"),
    pytest.param(SOAK_SHARE, id="more", marks=pytest.mark.soak),
    pytest.param(1, id="all", marks=[pytest.mark.endurance, pytest.mark.timeout(3600)]),
]

Stages = dict[str, Callable[[], AbstractContextManager[Stage]]]


@pytest.fixture
def stages(
    database_url: str, lend_database: LendDatabase, migrated_template: str, sqlite_url: str, valkey_url: str
) -> Iterator[Stages]:
    """PostgreSQL by the store's functions, PostgreSQL by plain statements, and SQLite."""
    with lend_database(migrated_template) as other_url:
        yield {
            "functions": partial(open_stage, database_url, valkey_url, use_functions=True),
            "statements": partial(open_stage, other_url, valkey_url, use_functions=False),
            "sqlite": partial(open_stage, sqlite_url, valkey_url, use_functions=False),
        }


@pytest.mark.parametrize("share", SHARES)
def test_hostile_values_get_our_own_errors_the_same_ones_on_every_database(share: int, stages: Stages) -> None:
    cases = list(islice(list_cases(), 0, None, share))
    outcomes: dict[str, dict[Case, Outcome]] = {}

    for name, open_one in stages.items():
        with open_one() as stage:
            assert [wrong for verb in VERBS if (wrong := run_valid(stage, verb))] == []
            outcomes[name] = {case: run(stage, case) for case in cases}
            # The store still answers, whatever became of its thread, and nothing in it contradicts itself.
            stage.say_hello()
            assert stage.load().messages
            assert _find_contradictions(stage) == []

    tried = [(name, case, outcomes[name][case]) for name in stages for case in cases]
    problems = [f"{name}: {case}: {outcome.problem}" for name, case, outcome in tried if outcome.problem]
    assert problems == []
    answers = {case: {outcomes[name][case].answer for name in stages} for case in cases}
    assert {str(case): differing for case, differing in answers.items() if len(differing) > 1} == {}
    if share == SOAK_SHARE:
        check_tries(
            "hostile values in the parameters of each verb, on three databases",
            tries=len(tried),
            successes=len(problems),
        )


def test_no_public_verb_and_no_parameter_is_left_out() -> None:
    assert list_missing() == []


def test_the_page_says_how_much_is_tried() -> None:
    parameters = sum(len(verb.arguments) for verb in VERBS.values())
    calls = 3 * sum(1 for _ in list_cases())
    share = 3 * sum(1 for _ in islice(list_cases(), 0, None, SOAK_SHARE))
    row = f"| {len(VERBS)} | {parameters} | {len(VALUES)} | 3 | {calls:,} | {share:,} | 0 |"

    assert row in PAGE.read_text(), row


def _find_contradictions(stage: Stage) -> list[str]:
    # Files that `FileStore` keeps are in no message until somebody sends them.
    only_stored = ("object-without-blob",)
    results = Examination(database=stage.producer.database, files=stage.blobs, skip=only_stored).run()
    return [f"{result.check.name}: {note.finding}" for result in results for note in result.notes]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_first_and_the_last_moment_are_read_back_in_the_time_zone_of_any_session(
    database_url: str, zone: str
) -> None:
    with_zone = make_url(database_url).update_query_dict({"options": f"-ctimezone={zone}"})
    database = Database(load(database_url=with_zone.render_as_string(hide_password=False)))
    options = SendOptions(not_before=MOMENT_MIN, deadline=MOMENT_MAX, allow_unknown_agent=True)
    turn = inbox.accept_alone(database, build_request("t", "hello", options, database.settings))

    with database.engine.begin() as connection:
        row = connection.execute(select(turns.c.not_before, turns.c.deadline).where(turns.c.id == turn.turn_id)).one()

    assert tuple(row) == (MOMENT_MIN, MOMENT_MAX)
    database.close()
