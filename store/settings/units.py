"""The kinds of values that settings have, with their bounds."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

#: A length of time that a server's timers can count, in seconds.
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
#: As `Seconds`, where 0 makes sense too.
SecondsOrZero = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
#: A length of time that a calendar can hold, in days.
Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
#: Text that must say something.
NonEmptyText = Annotated[str, Field(min_length=1)]


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


#: Words in one variable, separated by commas.
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            raise ValueError(f"{network!r} is no network; write one like 10.1.0.0/16") from None
    return networks


#: Networks in one variable, separated by commas.
Networks = Annotated[CommaSeparated, AfterValidator(_check_networks)]
