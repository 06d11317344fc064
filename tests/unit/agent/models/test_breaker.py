"""Circuit breakers over several processes, with a clock that the tests move."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from agent.models import breaker as module
from agent.models.account import account_key
from agent.models.breaker import Breakers
from conversation.errors import ModelError

MODEL, ACCOUNT = "openai/gpt-5", {"api_key": "sk-secret-of-ours", "temperature": 1}
PERIOD = 10.0


@dataclass
class Clock:
    seconds: float = 1000

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Board:
    """The shared state in memory."""

    clock: Clock
    states: dict[str, str] = field(default_factory=dict)
    probes: dict[str, float] = field(default_factory=dict)
    calls: int = 0
    is_away: bool = False

    def _call(self) -> None:
        self.calls += 1
        if self.is_away:
            raise ConnectionError

    def flush(self) -> None:
        self.states.clear()
        self.probes.clear()

    async def read(self, key: str) -> str | None:
        self._call()
        return self.states.get(key)

    async def write(self, key: str, state: str) -> None:
        self._call()
        self.states[key] = state

    async def take_probe(self, key: str, *, seconds: float) -> bool:
        self._call()
        if self.probes.get(key, 0) > self.clock.seconds:
            return False
        self.probes[key] = self.clock.seconds + seconds
        return True

    async def delay_probe(self, key: str, *, seconds: float) -> None:
        self._call()
        self.probes[key] = self.clock.seconds + seconds


@dataclass
class Site:
    clock: Clock
    board: Board
    closed: list[str] = field(default_factory=list)

    def process(self) -> Breakers:
        return Breakers(self.board, failures_to_open=3, probe_seconds=PERIOD, on_close=self.closed.append)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return Site(clock, Board(clock))


def away(kind: str = "unavailable", retry_after_seconds: float | None = None) -> ModelError:
    return ModelError(kind, "away", retryable=True, retry_after_seconds=retry_after_seconds)


async def ask(breakers: Breakers, error: ModelError | None = None) -> str:
    """One attempt: `put off`, or how it was made."""
    try:
        permit = await breakers.admit(MODEL, ACCOUNT)
    except ModelError as refusal:
        return "put off" if refusal.is_put_off and refusal.breaker else "failed"
    await (permit.report_success() if error is None else permit.report_failure(error))
    return "probed" if permit.is_probe else "asked"


async def open_breaker(breakers: Breakers) -> None:
    for _ in range(3):
        assert await ask(breakers, away()) == "asked"


async def test_while_nothing_fails_nobody_is_asked_but_once(site: Site) -> None:
    process = site.process()

    made = {await ask(process) for _ in range(100)}

    assert made == {"asked"}
    assert site.board.calls == 1


async def test_a_thousand_attempts_cost_one_probe_a_period_over_all_processes(site: Site) -> None:
    one, other = site.process(), site.process()
    await open_breaker(one)

    made = []
    for _ in range(5):
        made += [await ask(process, away()) for process in (one, other) for _ in range(100)]
        site.clock.seconds += PERIOD

    # The first period has none: it was opened in it.
    assert made.count("probed") == 4
    assert made.count("asked") == 0


async def test_the_failures_that_open_it_are_in_a_row(site: Site) -> None:
    process = site.process()

    made = [await ask(process, error) for error in [away(), away(), None, away(), away(), None]]

    assert made == ["asked"] * 6


async def test_a_probe_that_succeeds_closes_it_for_all_and_tells_who_waits(site: Site) -> None:
    one, other = site.process(), site.process()
    await open_breaker(one)
    assert await ask(other) == "put off"
    site.clock.seconds += PERIOD

    made = [await ask(one)]
    site.clock.seconds += module.LOOK_AGAIN_SECONDS
    made += [await ask(other), await ask(one), await ask(site.process())]

    assert made == ["probed", "asked", "asked", "asked"]
    assert site.closed == [account_key(MODEL, ACCOUNT)]


async def test_a_call_that_began_before_it_opened_does_not_close_it(site: Site) -> None:
    process = site.process()
    permit = await process.admit(MODEL, ACCOUNT)
    await open_breaker(process)

    await permit.report_success()

    assert await ask(process) == "put off"


async def test_a_call_that_fails_late_does_not_open_again_what_another_closed(site: Site) -> None:
    one, other = site.process(), site.process()
    late = await other.admit(MODEL, ACCOUNT)
    await open_breaker(one)
    site.clock.seconds += module.LOOK_AGAIN_SECONDS
    assert [await ask(other, away()), await ask(other)] == ["asked", "put off"]
    site.clock.seconds += PERIOD
    await ask(one)

    await late.report_failure(away())

    assert [await ask(one), await ask(other)] == ["asked", "asked"]


async def test_a_prober_that_dies_costs_a_period(site: Site) -> None:
    one, other = site.process(), site.process()
    await open_breaker(one)
    site.clock.seconds += PERIOD
    assert (await one.admit(MODEL, ACCOUNT)).is_probe

    made = [await ask(other)]
    site.clock.seconds += PERIOD
    made += [await ask(other)]

    assert made == ["put off", "probed"]


async def test_who_forges_the_shared_state_puts_turns_off_for_a_while_only(site: Site) -> None:
    process = site.process()
    await open_breaker(site.process())
    # Nobody is ever let through.
    site.board.probes = dict.fromkeys(site.board.states, float("inf"))
    made = [await ask(process)]
    site.clock.seconds += module.OTHERS_PROBE_SECONDS
    made += [await ask(process)]
    site.clock.seconds += 1

    made += [await ask(process), await ask(process)]

    assert made == ["put off", "put off", "probed", "asked"]


async def test_shared_state_that_is_forgotten_costs_one_probe(site: Site) -> None:
    one, other = site.process(), site.process()
    await open_breaker(one)
    assert await ask(other) == "put off"
    site.board.flush()
    site.clock.seconds += module.LOOK_AGAIN_SECONDS

    made = [await ask(process, away()) for process in (one, other) for _ in range(50)]

    assert made.count("probed") == 1
    assert made.count("put off") == 99
    # And it is there again, for who comes now.
    assert await ask(site.process()) == "put off"


async def test_without_the_shared_state_each_process_has_its_own(site: Site) -> None:
    site.board.is_away = True
    one, other = site.process(), site.process()
    for process in (one, other):
        await open_breaker(process)

    made = [await ask(one), await ask(other)]
    site.clock.seconds += PERIOD
    made += [await ask(one, away()), await ask(one), await ask(other), await ask(other)]

    assert made == ["put off", "put off", "probed", "put off", "probed", "asked"]


async def test_a_pause_that_the_provider_asks_for_is_kept(site: Site) -> None:
    process = site.process()
    for _ in range(3):
        await ask(process, away("rate_limited", retry_after_seconds=5 * PERIOD))
    site.clock.seconds += 4 * PERIOD

    made = [await ask(process)]
    site.clock.seconds += PERIOD
    made += [await ask(process)]

    assert made == ["put off", "probed"]


@pytest.mark.parametrize(
    ("kind", "then"),
    [
        ("timeout", "put off"),
        ("stream_interrupted", "put off"),
        # It answered, if only to refuse.
        ("unauthorized", "asked"),
        ("context_length", "asked"),
        # Nobody knows whose fault that is: another probe tells.
        ("unexpected", "put off"),
    ],
)
async def test_a_probe_tells_by_its_error_whether_the_model_is_back(site: Site, kind: str, then: str) -> None:
    process = site.process()
    await open_breaker(process)
    site.clock.seconds += PERIOD

    made = [await ask(process, ModelError(kind, "x", retryable=kind == "timeout")), await ask(process)]

    assert made == ["probed", then]


async def test_the_error_of_an_attempt_says_whether_the_breaker_is_open(site: Site) -> None:
    process = site.process()
    errors = [away() for _ in range(3)]
    for error in errors:
        await ask(process, error)

    assert [error.breaker is not None for error in errors] == [False, False, True]
    assert not any(error.is_put_off for error in errors)


async def test_what_is_put_off_says_why(site: Site) -> None:
    process = site.process()
    for _ in range(3):
        await ask(process, away("rate_limited"))

    with pytest.raises(ModelError, match="openai/gpt-5: not asked") as refused:
        await process.admit(MODEL, ACCOUNT)

    assert (refused.value.kind, refused.value.retryable) == ("rate_limited", True)


OTHERS = [
    ("openai/gpt-5-mini", ACCOUNT),
    (MODEL, {"api_key": "sk-of-another"}),
    (MODEL, {**ACCOUNT, "api_base": "https://elsewhere"}),
    (MODEL, {**ACCOUNT, "extra_headers": {"x-project": "b"}}),
]


@pytest.mark.parametrize(("model", "parameters"), OTHERS)
def test_another_model_or_account_has_a_breaker_of_its_own(model: str, parameters: dict[str, object]) -> None:
    assert account_key(model, parameters) != account_key(MODEL, ACCOUNT)


def test_the_name_of_an_account_holds_no_key_and_depends_on_nothing_else() -> None:
    name = account_key(MODEL, ACCOUNT)

    assert name.startswith("openai/gpt-5:")
    assert "secret" not in name
    assert name == account_key(f"litellm/{MODEL}", {"temperature": 0, "api_key": "sk-secret-of-ours", "stop": "x"})
