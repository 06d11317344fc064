"""Access by a JWT of an issuer that the settings name: who its bearer is, by its claims.

What stays true: the algorithm is one of the settings and one of the key's kind; which key it is, the issuer's set says
and never the token, whose `jku`, `x5u` and `jwk` are not read. A token without an end, for another audience, or
without the tenant or user that it has to name is none. Nothing of a token stands in a log.
"""

import math
from collections.abc import Mapping
from typing import Any

import jwt
import structlog

from conversation.errors import InvalidInput, InvalidSettings
from conversation.validation import check_id, check_tenant_of_user
from producers.http.jwt_keys import FixedKeys, IssuerAway, KeySet, RemoteKeys
from producers.http.principal import SCOPES, Principal
from producers.http.problems import Problem
from store.settings import Settings, variable
from store.settings.gateway_access import SECRET_KEY_ALGORITHMS, WHOLE_TENANT

#: Keys that are tried on one token, at most: a token without the name of its key is tried on each.
MAX_TRIED_KEYS = 8
#: The kinds of tokens, in their header: not those that prove something else, as that somebody has logged out.
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_TIMES = ("exp", "nbf", "iat")

log = structlog.get_logger(__name__)


class _Refused(Exception):
    """A token is refused, for the reason that stands in the log."""


def takes_jwts(settings: Settings) -> bool:
    """Whether the settings name an issuer. Raises `InvalidSettings` where they say half of what has to be said."""
    name = variable
    keys = [bool(settings.gateway_jwt_jwks_url), bool(settings.gateway_jwt_keys.get_secret_value())]
    tenants = [bool(settings.gateway_jwt_tenant), bool(settings.gateway_jwt_tenant_claim)]
    if not any((settings.gateway_jwt_issuer, settings.gateway_jwt_audience, *keys, *tenants)):
        return False
    complaints = {
        f"{name('gateway_jwt_issuer')}: is missing; say who signs the tokens": not settings.gateway_jwt_issuer,
        f"{name('gateway_jwt_audience')}: is missing; say for whom they are": not settings.gateway_jwt_audience,
        f"set one of {name('gateway_jwt_jwks_url')} and {name('gateway_jwt_keys')}": keys.count(True) != 1,
        f"set one of {name('gateway_jwt_tenant')} and {name('gateway_jwt_tenant_claim')}": tenants.count(True) != 1,
        f"{name('gateway_jwt_algorithms')}: a secret key has no place at an address; leave HS256 and the like out, or "
        f"set {name('gateway_jwt_keys')}": keys[0]
        and not set(SECRET_KEY_ALGORITHMS).isdisjoint(settings.gateway_jwt_algorithms),
    }
    if wrong := [complaint for complaint, is_true in complaints.items() if is_true]:
        raise InvalidSettings("\n".join(wrong))
    return True


class JwtAccess:
    """The bearers of one issuer's tokens."""

    def __init__(self, settings: Settings) -> None:
        """Raises `InvalidSettings` where the keys in the settings are none."""
        self._settings = settings
        self._keys = _open_keys(settings)

    async def find(self, token: str) -> Principal | None:
        """The bearer of a token; None for one that does not hold.

        Raises `Problem` 503 while the issuer's keys are not known and cannot be read.
        """
        try:
            return self._principal_of(await self._read_claims(token))
        except _Refused as refusal:
            log.info("token_refused", reason=str(refusal))
        except IssuerAway:
            detail = "the keys of the tokens' issuer cannot be read now"
            raise Problem(503, "Service Unavailable", detail, headers={"Retry-After": "5"}, retryable=True) from None
        return None

    async def _read_claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that the issuer signed. Raises `_Refused` and `IssuerAway`."""
        kid, algorithm = self._read_header(token)
        keys = await self._keys.load()
        claims = self._verify(token, keys.choose(kid, algorithm), algorithm)
        if claims is None and not keys.knows(kid):
            new_keys = await self._keys.reload() or KeySet([])
            claims = self._verify(token, new_keys.choose(kid, algorithm), algorithm)
        if claims is None:
            raise _Refused("no key of the issuer signed it")
        return claims

    def _read_header(self, token: str) -> tuple[str | None, str]:
        """The name of the key that a token claims, and its algorithm, which is one of the settings."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise _Refused("it is no signed token") from error
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if algorithm not in self._settings.gateway_jwt_algorithms:
            raise _Refused("its algorithm is none of the settings")
        if kid is not None and not isinstance(kid, str):
            raise _Refused("the name of its key is no text")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise _Refused("it is a token of another kind")
        return kid, str(algorithm)

    def _verify(self, token: str, keys: list[Any], algorithm: str) -> dict[str, Any] | None:
        """The claims of a token that one of the keys signed; None where none did."""
        settings = self._settings
        for key in keys[:MAX_TRIED_KEYS]:
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    audience=settings.gateway_jwt_audience,
                    issuer=settings.gateway_jwt_issuer,
                    leeway=settings.gateway_jwt_leeway_seconds,
                    options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
                )
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
                continue
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
                # Its text may quote a claim.
                raise _Refused(type(error).__name__) from error
        return None

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        if not all(_is_time(claims[name]) for name in _TIMES if name in claims):
            raise _Refused("one of its times is no number")
        settings = self._settings
        tenant = settings.gateway_jwt_tenant or _read_name(claims, settings.gateway_jwt_tenant_claim)
        claim = settings.gateway_jwt_user_claim
        # A token that does not say whose it is would be good for all of the tenant.
        user = None if claim == WHOLE_TENANT else _read_name(claims, claim)
        try:
            check_tenant_of_user(tenant)
            if user is not None:
                check_id("user", user)
        except InvalidInput as error:
            raise _Refused(f"its {error.field} {error.problem}") from error
        return Principal(
            tenant=tenant,
            user=user,
            scopes=frozenset(scope for scope in SCOPES if scope in self._read_scopes(claims)),
            credential=user or "jwt",
        )

    def _read_scopes(self, claims: Mapping[str, Any]) -> set[str]:
        settings = self._settings
        if settings.gateway_jwt_scopes:
            return set(settings.gateway_jwt_scopes)
        value = _read_claim(claims, settings.gateway_jwt_scopes_claim)
        words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        prefix = settings.gateway_jwt_scope_prefix
        return {word.removeprefix(prefix) for word in words if isinstance(word, str) and word.startswith(prefix)}


def _open_keys(settings: Settings) -> FixedKeys | RemoteKeys:
    algorithms = settings.gateway_jwt_algorithms
    if not settings.gateway_jwt_jwks_url:
        return FixedKeys(settings.gateway_jwt_keys.get_secret_value(), algorithms)
    return RemoteKeys(
        settings.gateway_jwt_jwks_url,
        algorithms,
        cache_seconds=settings.gateway_jwt_cache_seconds,
        refetch_seconds=settings.gateway_jwt_refetch_seconds,
    )


def _read_name(claims: Mapping[str, Any], claim: str) -> str:
    """The tenant or user that a claim names, as text or as a number. Raises `_Refused` where it names none."""
    value = _read_claim(claims, claim)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _Refused(f"its claim {claim!r} is missing, or no text")
    return value


def _read_claim(claims: Mapping[str, Any], claim: str) -> Any:
    """The value of a claim: of one with this very name, which may have dots, else of a path; None for none."""
    if claim in claims:
        return claims[claim]
    value: Any = claims
    for name in claim.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_time(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
