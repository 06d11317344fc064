"""Principals: the bearers of credentials, and the protocol of whatever tells who that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from conversation.scopes import SCOPES, Scope

__all__ = ["SCOPES", "Authenticator", "Principal", "Scope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The bearer of a credential that was checked."""

    tenant: str
    #: The only user whose threads it may see; None for all of the tenant.
    user: str | None = None
    scopes: frozenset[Scope] = frozenset()
    #: The only thread whose events it may read; None for all.
    thread_id: str | None = None
    #: Which credential it was, for logs and limits: a key's id or a token's subject, never a secret.
    credential: str = ""


class Authenticator(Protocol):
    """A judge of credentials: it turns those of a request into a principal."""

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal | None:
        """The bearer; None where there are no credentials, or none that hold. Raises `DatabaseUnavailable`."""
        ...
