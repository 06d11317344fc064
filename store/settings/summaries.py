"""The settings of summaries: when one is due, how much stays as it is, and who writes it."""

from typing import Self

from pydantic import BaseModel, Field, model_validator

from store.settings.units import Seconds
from store.settings.variables import variable


class SummarySettings(BaseModel):
    """When a thread is summarized, and how."""

    #: Messages without a summary with which a thread gets one; 0 counts none. An agent may have its own.
    summarize_after_messages: int = Field(200, ge=0)
    #: Tokens without a summary with which a thread gets one; 0 counts none. An agent may have its own.
    summarize_after_tokens: int = Field(50_000, ge=0)
    #: Messages that the newest turns may have together to stay as they are; an agent may have its own.
    summarize_keep_messages: int = Field(50, ge=1)
    #: Tokens that they may have together; 0 counts none. An agent may have its own.
    summarize_keep_tokens: int = Field(12_000, ge=0)
    #: The model that writes summaries; empty takes the agent's.
    summary_model: str = ""
    #: Characters of a summary, at most: a longer one is not stored.
    summary_max_chars: int = Field(24_000, ge=1000, le=200_000)
    #: Whether a model is asked if a summary is true to what it covers, before it is used.
    summary_check: bool = False
    #: Seconds between two scans for threads to summarize.
    summarize_interval_seconds: Seconds = 60

    @model_validator(mode="after")
    def _check_low_marks(self) -> Self:
        for unit in ("messages", "tokens"):
            high, low = f"summarize_after_{unit}", f"summarize_keep_{unit}"
            if 0 < getattr(self, high) <= getattr(self, low):
                raise ValueError(f"{variable(low)}: keep less than {variable(high)}")
        return self
