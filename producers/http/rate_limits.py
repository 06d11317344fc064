"""Rate limits: how many requests a credential, and a tenant, may send in a minute, over all gateways.

What stays true: the count stands in the broker's Valkey; where that is away, requests are let through, and none
waits for it longer than a wake-up would, nor asks it again for some seconds.
"""

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from producers.http.principal import Principal
from producers.http.problems import Problem
from store.settings import Settings

if TYPE_CHECKING:
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

#: Before each key in the broker.
PREFIX = "threadmill:limits"
WINDOW_SECONDS = 60
#: Seconds for which a broker is not asked that did not answer.
AWAY_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class RateLimiter:
    """The rate limits of one gateway."""

    settings: Settings
    _strategy: "SlidingWindowCounterRateLimiter | None" = None
    #: The event loop that the connections of the strategy belong to.
    _loop: asyncio.AbstractEventLoop | None = None
    _away_until: float = field(default=0.0)

    def __post_init__(self) -> None:
        if self._limits_of(Principal(tenant="")):
            # Before requests wait for it.
            import limits.aio.strategies  # noqa: F401

    async def check(self, principal: Principal) -> dict[str, str]:
        """Count a request; the headers of its answer. Raises `Problem` 429 where it is one too many."""
        limits = self._limits_of(principal)
        if not limits or time.monotonic() < self._away_until:
            return {}
        try:
            async with asyncio.timeout(self.settings.notify_timeout_seconds):
                states = await self._count_all(limits)
        except Exception as error:  # noqa: BLE001 - of whatever the broker and its client are capable
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("rate_limits_away", error=type(error).__name__)
            return {}
        return _headers_of(states)

    async def close(self) -> None:
        """Close the connections to the broker."""
        strategy, self._strategy = self._strategy, None
        if strategy is not None and self._loop is asyncio.get_running_loop():
            await strategy.storage.bridge.storage.aclose()  # type: ignore[attr-defined]  # redis-py's client

    def _limits_of(self, principal: Principal) -> "list[_Limit]":
        """The limits that hold: their names, how many requests they allow, and whose they are."""
        limits = (
            ("credential", self.settings.gateway_credential_requests_per_minute, principal.credential),
            ("tenant", self.settings.gateway_tenant_requests_per_minute, ""),
        )
        return [(name, quota, (name, principal.tenant, whose)) for name, quota, whose in limits if quota]

    async def _count_all(self, limits: "list[_Limit]") -> "list[_State]":
        """Count a request for each limit, up to one that refuses it: that takes nothing of the others."""
        states: list[_State] = []
        for limit in limits:
            states.append(await self._count(*limit))
            if not states[-1].is_within:
                break
        return states

    async def _count(self, name: str, quota: int, identifiers: tuple[str, ...]) -> "_State":
        from limits import RateLimitItemPerMinute

        item = RateLimitItemPerMinute(quota, namespace="")
        strategy = self._open()
        is_within = await strategy.hit(item, *identifiers)
        stats = await strategy.get_window_stats(item, *identifiers)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        return _State(name, quota, max(0, stats.remaining) if is_within else 0, seconds, is_within)

    def _open(self) -> "SlidingWindowCounterRateLimiter":
        loop = asyncio.get_running_loop()
        if self._strategy is None or self._loop is not loop:
            from limits.aio.strategies import SlidingWindowCounterRateLimiter
            from limits.storage import storage_from_string

            seconds = self.settings.notify_timeout_seconds
            storage = storage_from_string(
                f"async+{self.settings.broker_url.get_secret_value()}",
                implementation="redispy",
                key_prefix=PREFIX,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
            )
            self._strategy, self._loop = SlidingWindowCounterRateLimiter(storage), loop
        return self._strategy


#: The name of a limit, the requests that it allows, and whose it is.
_Limit = tuple[str, int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _State:
    """One limit, as a request has found it."""

    name: str
    quota: int
    remaining: int
    #: Seconds until there is room for another request.
    seconds: int
    is_within: bool


def _headers_of(states: list[_State]) -> dict[str, str]:
    """The headers of an answer within the limits, as the draft on RateLimit headers has them."""
    headers = {
        "RateLimit-Policy": ", ".join(f'"{state.name}";q={state.quota};w={WINDOW_SECONDS}' for state in states),
        "RateLimit": ", ".join(f'"{state.name}";r={state.remaining};t={state.seconds}' for state in states),
    }
    refusals = [state for state in states if not state.is_within]
    if refusals:
        wait = max(state.seconds for state in refusals)
        names = " and ".join(state.name for state in refusals)
        detail = f"the {names} has sent its requests of this minute; send it again in {wait} s"
        raise Problem(429, "Too Many Requests", detail, headers=headers | {"Retry-After": str(wait)})
    return headers
