"""The settings of who may ask the gateway: API keys, JWTs of an issuer, and tokens for one stream."""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

from conversation.scopes import SCOPES
from conversation.validation import check_tenant_of_user
from store.settings.units import CommaSeparated, NonEmptyText, Seconds, SecondsOrZero

#: Algorithms of signatures whose key is public.
PUBLIC_KEY_ALGORITHMS = (*("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), *("ES256", "ES384", "ES512", "EdDSA"))
#: Algorithms whose key is a secret that both sides have.
SECRET_KEY_ALGORITHMS = ("HS256", "HS384", "HS512")
#: What `gateway_jwt_user_claim` says where a token is good for all of its tenant.
WHOLE_TENANT = "none"


class GatewayKeySettings(BaseModel):
    """How long a gateway goes by what it read of a key, and how long a token for a stream is good."""

    #: Seconds for which a gateway goes by what it read of a key: within them, one that is revoked stops.
    gateway_credential_cache_seconds: Annotated[SecondsOrZero, Field(le=300)] = 5
    #: Seconds for which a token for one thread's stream is good. A stream that is open by then goes on.
    gateway_stream_token_seconds: Annotated[Seconds, Field(le=3600)] = 300


class GatewayTokenSettings(BaseModel):
    """Which JWTs a gateway takes, and what it reads in them. Without an issuer: none."""

    #: Who signs the tokens: exactly what stands in their `iss`. Empty: no JWT is taken.
    gateway_jwt_issuer: str = ""
    #: For whom the tokens are: one of these, comma-separated, must be in their `aud`.
    gateway_jwt_audience: CommaSeparated = ()
    #: The issuer's public keys (JWKS): `https://…`, or `http://` of this machine.
    gateway_jwt_jwks_url: str = ""
    #: The issuer's keys instead of their address: a public key as PEM, or a JWKS. `…_KEYS_FILE` names a file.
    gateway_jwt_keys: SecretStr = SecretStr("")
    #: Algorithms of signatures that are taken, comma-separated. `HS256` and the like only with secret keys of a
    #: JWKS in `gateway_jwt_keys`.
    gateway_jwt_algorithms: CommaSeparated = ("RS256", "ES256", "EdDSA")
    #: Seconds by which the issuer's clock may differ.
    gateway_jwt_leeway_seconds: Annotated[SecondsOrZero, Field(le=300)] = 30
    #: Seconds after which the issuer's keys are read again. While they cannot be, those that were read go on.
    gateway_jwt_cache_seconds: Seconds = 300
    #: Seconds between two readings because of a key that is not known yet, at least.
    gateway_jwt_refetch_seconds: Seconds = 10
    #: The tenant of all tokens; empty: each names its own.
    gateway_jwt_tenant: str = ""
    #: The claim with the tenant, a path with dots where it is within another: `org_id`, `app_metadata.tenant`.
    gateway_jwt_tenant_claim: str = ""
    #: The claim with the user, whose threads alone are seen; `none`: each token is good for all of its tenant.
    gateway_jwt_user_claim: NonEmptyText = "sub"
    #: The scopes of all tokens, comma-separated; empty: each names its own.
    gateway_jwt_scopes: CommaSeparated = ()
    #: The claim with the scopes, as a list or with spaces between them. Words that are no scope are passed over.
    gateway_jwt_scopes_claim: NonEmptyText = "scope"
    #: What stands before a scope in that claim: `threadmill:` for `threadmill:read`.
    gateway_jwt_scope_prefix: str = ""

    @field_validator("gateway_jwt_jwks_url")
    @classmethod
    def _check_jwks_url(cls, value: str) -> str:
        if value and not _is_https_or_local(value):
            raise ValueError("is no https:// address; http:// is taken of this machine alone")
        return value

    @field_validator("gateway_jwt_algorithms")
    @classmethod
    def _check_jwt_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _check_words(value, (*PUBLIC_KEY_ALGORITHMS, *SECRET_KEY_ALGORITHMS))

    @field_validator("gateway_jwt_scopes")
    @classmethod
    def _check_jwt_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _check_words(value, SCOPES)

    @field_validator("gateway_jwt_tenant")
    @classmethod
    def _check_jwt_tenant(cls, value: str) -> str:
        return check_tenant_of_user(value) if value else value


def _check_words(value: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [word for word in value if word not in words]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(words)}")
    return value


def _is_https_or_local(url: str) -> bool:
    try:
        address = urlsplit(url)
        host = address.hostname or ""
    except ValueError:
        return False
    return bool(host) and (address.scheme == "https" or (address.scheme == "http" and _is_local(host)))


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
