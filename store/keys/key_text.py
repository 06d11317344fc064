"""The text of an API key: `tmk_<id>_<secret><checksum>`.

What stays true: the id finds the row; the secret is 256 random bits and is stored nowhere, only the SHA-256 of the
whole text is; the checksum tells a slip of the pen, and what a scanner for secrets took for a key, without a database.
It keeps nobody out: anyone can compute it.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

from conversation.errors import InvalidInput
from conversation.quotation import quote

#: The beginning of every API key, for people and for scanners of secrets.
PREFIX = "tmk_"
#: Letters and digits: a double click takes the whole key, a URL and a shell take it as it is.
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
#: 62 ** 43 is the first power of 62 above 2 ** 256.
ID_CHARS, SECRET_CHARS, CHECKSUM_CHARS = 16, 43, 6
_KEY = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{ID_CHARS}}})_[0-9A-Za-z]{{{SECRET_CHARS}}}([0-9A-Za-z]{{{CHECKSUM_CHARS}}})"
)
_ID = re.compile(rf"[0-9A-Za-z]{{{ID_CHARS}}}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as its bearer has it. Its text is not in its `repr`."""

    id: str
    text: str = field(repr=False)

    @property
    def sha256(self) -> str:
        """The hash of the secret, which is stored of the key."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def make_key(key_id: str | None = None) -> ApiKey:
    """Make a key with a new secret: a new one, or the next one of a key that has this id."""
    key_id = key_id or "".join(secrets.choice(_DIGITS) for _ in range(ID_CHARS))
    body = f"{PREFIX}{key_id}_{_to_digits(secrets.randbits(256), SECRET_CHARS)}"
    return ApiKey(key_id, body + _checksum_of(body))


def read_key(text: str) -> ApiKey | None:
    """The key that a text is; None where it is none, or one with a slip in it."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum_of(text[:-CHECKSUM_CHARS]) != match[2]:
        return None
    return ApiKey(match[1], text)


def read_id(field_name: str, value: object) -> str:
    """The id that a text is, or that is in the key that it is. Raises `InvalidInput`, which quotes no secret."""
    text = value if isinstance(value, str) else ""
    if key := read_key(text):
        return key.id
    if not _ID.fullmatch(text):
        problem = "is a key with a slip in it" if text.startswith(PREFIX) else f"is {quote(value)}, no key's id"
        raise InvalidInput(field_name, problem, "pass an id as `threadmill keys list` shows it")
    return text


def _checksum_of(body: str) -> str:
    return _to_digits(zlib.crc32(body.encode()), CHECKSUM_CHARS)


def _to_digits(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
