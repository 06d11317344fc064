"""Prices of tokens, by the list of models that litellm ships.

What stays true: a price is litellm's own for the same counts, which a test compares for each model that is asked
straight; where the list has no price there is none, for an answer is worth more.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.models.model_list import entry_of
from agent.models.spending import count
from conversation.message import Usage

#: Tier of service → the end of the keys of its prices.
_TIERS = {"flex": "_flex", "priority": "_priority", "ultrafast": "_ultrafast", "fast": "_priority"}
_THRESHOLD = re.compile(r"input_cost_per_token_above_(\d+)(k?)_tokens")
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rates:
    """US dollars a token."""

    prompt: float
    completion: float
    cache_read: float
    cache_write: float
    cache_write_hour: float


def find_price(provider: str, model: str, usage: Usage, chunk: Any, *, now: datetime | None = None) -> float | None:
    """The price of so many tokens in US dollars; None where no price is known or nothing was counted."""
    if not usage.total_tokens:
        return None
    counts = getattr(chunk, "usage", None)
    if provider == "openrouter" and isinstance(told_price := getattr(counts, "cost", None), int | float):
        return float(told_price)
    entry = entry_of(provider, model)
    if "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    tier = _TIERS.get(str(getattr(counts, "service_tier", None) or getattr(chunk, "service_tier", None)), "")
    rates = _find_rates(entry, usage.prompt_tokens, tier, now or datetime.now(UTC))
    price = _price_prompt(entry, rates, usage, counts) + _price_completion(entry, rates, usage, counts)
    return price * _find_multiplier(entry, counts)


def _price_prompt(entry: Mapping[str, Any], rates: _Rates, usage: Usage, counts: Any) -> float:
    details = getattr(counts, "prompt_tokens_details", None)
    read = usage.cached_tokens
    written_hour, written = count(details, "cache_creation_hour_tokens"), count(details, "cache_creation_tokens")
    fresh = max(usage.prompt_tokens - read - written, 0)
    audio = min(count(details, "audio_tokens"), fresh)
    audio_rate = entry.get("input_cost_per_audio_token") or rates.prompt
    return (
        (fresh - audio) * rates.prompt
        + audio * audio_rate
        + read * rates.cache_read
        + (written - written_hour) * rates.cache_write
        + written_hour * rates.cache_write_hour
    )


def _price_completion(entry: Mapping[str, Any], rates: _Rates, usage: Usage, counts: Any) -> float:
    details = getattr(counts, "completion_tokens_details", None)
    price, remaining = 0.0, usage.completion_tokens
    for kind in ("audio", "reasoning"):
        tokens = min(count(details, f"{kind}_tokens"), remaining)
        remaining -= tokens
        price += tokens * (entry.get(f"output_cost_per_{kind}_token") or rates.completion)
    return price + remaining * rates.completion


def _find_rates(entry: Mapping[str, Any], prompt_tokens: int, tier: str, now: datetime) -> _Rates:
    """The rates for a prompt of so many tokens, in a tier of service, at a time of the day."""
    end = _find_threshold(entry, prompt_tokens)

    def find(key: str) -> float | None:
        names = (f"{key}{end}{tier}", f"{key}{end}", f"{key}{tier}", key)
        return next((float(entry[name]) for name in names if entry.get(name) is not None), None)

    off_peak = _find_off_peak(entry, now)
    prompt = float(off_peak.get("input_cost_per_token") or find("input_cost_per_token") or 0)
    cache_write = find("cache_creation_input_token_cost")
    cache_read = off_peak.get("cache_read_input_token_cost", find("cache_read_input_token_cost"))
    write = prompt if cache_write is None else cache_write
    hour = find("cache_creation_input_token_cost_above_1hr")
    return _Rates(
        prompt=prompt,
        completion=float(off_peak.get("output_cost_per_token") or find("output_cost_per_token") or 0),
        cache_read=prompt if cache_read is None else float(cache_read),
        cache_write=write,
        cache_write_hour=write if hour is None else hour,
    )


def _find_threshold(entry: Mapping[str, Any], prompt_tokens: int) -> str:
    """The end of the keys for long prompts, where this one is: the highest that it is above."""
    reached = [
        (size, match.group(0).removeprefix("input_cost_per_token"))
        for key in entry
        if (match := _THRESHOLD.fullmatch(key)) and prompt_tokens > (size := int(match[1]) * (1000 if match[2] else 1))
    ]
    return max(reached)[1] if reached else ""


def _find_off_peak(entry: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """The prices that apply at this time of the week alone, if there are any."""
    off_peak = entry.get("off_peak_pricing") or {}
    return off_peak if any(_is_within(window, now) for window in off_peak.get("windows", ())) else {}


def _is_within(window: Mapping[str, Any], now: datetime) -> bool:
    hours: str | Sequence[str] = window["hours_utc"]
    minute = now.hour * 60 + now.minute
    spans = [hours] if isinstance(hours, str) else hours
    if now.isoweekday() not in window.get("weekdays", range(1, 8)):
        return False
    for span in spans:
        start, end = (int(part[:2]) * 60 + int(part[3:]) for part in span.split("-"))
        if start <= minute < (end or _MINUTES_A_DAY):
            return True
    return False


def _find_multiplier(entry: Mapping[str, Any], counts: Any) -> float:
    """The factor of Anthropic's prices for where, or how fast, an answer was made."""
    multipliers = entry.get("provider_specific_entry") or {}
    multiplier = float(multipliers.get("fast", 1)) if getattr(counts, "speed", None) == "fast" else 1.0
    return multiplier * float(multipliers.get(str(getattr(counts, "inference_geo", None)).lower(), 1))
