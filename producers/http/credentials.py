"""The credentials of a request: where they may stand, and that there is one.

What stays true: a header that comes twice, or a second place, is a second credential; where there are several, none
counts, so that no proxy and no gateway takes another one than the other does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Bytes of a credential, at most: tokens of large organisations list all groups of a user.
CREDENTIAL_MAX_CHARS = 16_384
#: What RFC 6750 lets a bearer token be made of.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential, and where it stood. Its text is not in its `repr`."""

    place: Literal["authorization", "x-api-key", "query"]
    text: str = field(repr=False)


def read_credential(headers: Mapping[str, str], query: Mapping[str, str]) -> Credential | None:
    """The credential of a request; None where there is none, several, or one of a form that none has."""
    credentials = [
        *(Credential("authorization", value) for value in values_of(headers, "authorization")),
        *(Credential("x-api-key", value) for value in values_of(headers, "x-api-key")),
        *(Credential("query", value) for value in values_of(query, "token")),
    ]
    if len(credentials) != 1 or len(credentials[0].text) > CREDENTIAL_MAX_CHARS:
        return None
    credential = credentials[0]
    if credential.place != "authorization":
        return credential
    match = _BEARER.fullmatch(credential.text)
    return None if match is None else Credential("authorization", match[1])


def values_of(values: Mapping[str, str], name: str) -> list[str]:
    """All values of a name: headers and queries of Starlette hold one several times."""
    list_values = getattr(values, "getlist", None)
    if list_values is not None:
        return list(list_values(name))
    return [value for key, value in values.items() if key.lower() == name]
