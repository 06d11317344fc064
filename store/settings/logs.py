"""The settings of logs: their form, and how much stands in them."""

from typing import Literal

from pydantic import BaseModel, field_validator

LogLevel = Literal["debug", "info", "warning", "error"]


class LogSettings(BaseModel):
    """The form and the level of what the processes of Threadmill write on standard error."""

    #: `console` for people, or `json`, one object a line, for programs. `threadmill up` writes `json` to its files.
    log_format: Literal["console", "json"] = "console"
    #: The least level that is written: `debug`, `info`, `warning` or `error`.
    log_level: LogLevel = "info"
    #: Write into the log what code of agents prints, what libraries log, and the texts of warnings. They may quote
    #: what users wrote: for development. `threadmill dev` sets it, and shows what is printed.
    show_output: bool = False

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value
