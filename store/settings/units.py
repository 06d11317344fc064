"""The kinds of values that settings have, with their bounds."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Self

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

PER_CENT = 100
#: What the database counts in holds any number of so many digits.
TENANT_LIMIT_DIGITS = 9


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


@dataclass(frozen=True, slots=True)
class TenantLimit:
    """How many of the installation's places one tenant may take: a number, or a part of them beside other tenants."""

    #: At once, over all workers; 0 means any number.
    count: int = 0
    #: Per cent of the places, while other tenants are there; 0 where `count` says all.
    percent: int = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `90%`, or a number."""
        if isinstance(value, cls):
            return value
        digits = str(value)
        number = digits.removesuffix("%").strip()
        is_part = digits.endswith("%")
        is_number = number.isascii() and number.isdigit() and len(number) <= TENANT_LIMIT_DIGITS
        if not is_number or (is_part and not 1 <= int(number) <= PER_CENT):
            raise ValueError("write a number, 0 for any number, or a part of the workers' places, like 90%")
        return cls(percent=int(number)) if is_part else cls(count=int(number))

    def places_of(self, places: int) -> int:
        """The places, of so many, that one tenant may take beside others: one at least."""
        return max(1, places * self.percent // PER_CENT) if self.percent else places

    def __str__(self) -> str:
        return f"{self.percent}%" if self.percent else str(self.count)


#: A limit of one tenant, as `TenantLimit.parse` reads it.
LimitOfTenant = Annotated[TenantLimit, NoDecode, BeforeValidator(TenantLimit.parse)]
