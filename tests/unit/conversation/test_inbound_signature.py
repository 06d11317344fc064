"""Signatures of inbound webhooks, against foreign signers; what is forged, replayed or odd is refused."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from conversation.errors import InvalidInput
from conversation.inbound_signature import FIXED_HEADERS, Scheme, verify
from conversation.inbound_source import check_header, check_secret

BODY = '{"a": "ü"}'.encode()
NOW = 1_900_000_000.0
SECRET = "a secret of 24 characters"
WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


def hmac_of(message: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def sign(scheme: Scheme, body: bytes = BODY, at: float = NOW) -> dict[str, str]:
    """The headers that a sender of this scheme makes."""
    match scheme:
        case Scheme.STANDARD_WEBHOOKS:
            moment = datetime.fromtimestamp(at, UTC)
            signature = standardwebhooks.Webhook(WHSEC).sign("msg_1", moment, body.decode())
            return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at)), "webhook-signature": signature}
        case Scheme.GITHUB:
            return {"x-hub-signature-256": f"sha256={hmac_of(body).hex()}"}
        case Scheme.STRIPE:
            signed = f"{int(at)}.".encode() + body
            return {"stripe-signature": f"t={int(at)},v0=00,v1={hmac_of(signed).hex()}"}
        case Scheme.HMAC_SHA256:
            return {"x-signature": base64.b64encode(hmac_of(body)).decode()}
        case Scheme.TOKEN:
            return {"x-signature": SECRET}


def is_taken(scheme: Scheme, headers: dict[str, str], body: bytes = BODY, *, now: float = NOW, **other: str) -> bool:
    secret = other.get("secret", WHSEC if scheme is Scheme.STANDARD_WEBHOOKS else SECRET)
    header = FIXED_HEADERS.get(scheme, "x-signature")
    return verify(scheme, ["another secret, which is older", secret], header, headers, body, now=now)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_what_its_sender_signed_is_taken_and_nothing_else(scheme: Scheme) -> None:
    headers = sign(scheme)

    assert is_taken(scheme, headers)
    assert not is_taken(scheme, {})
    assert not is_taken(scheme, headers, secret="a secret of somebody else's")
    assert not is_taken(scheme, dict.fromkeys(headers, ""))
    if scheme is not Scheme.TOKEN:
        assert not is_taken(scheme, headers, BODY + b" ")


@pytest.mark.parametrize("scheme", [Scheme.STANDARD_WEBHOOKS, Scheme.STRIPE])
@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_signature_of_another_time_is_a_replay(scheme: Scheme, seconds: int) -> None:
    assert not is_taken(scheme, sign(scheme, at=NOW + seconds))
    assert is_taken(scheme, sign(scheme, at=NOW + seconds * 0.9))


def test_one_of_several_signatures_is_enough() -> None:
    headers = sign(Scheme.STANDARD_WEBHOOKS)
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"

    assert is_taken(Scheme.STANDARD_WEBHOOKS, headers)


def test_a_plain_hmac_is_taken_in_hex_as_well() -> None:
    assert is_taken(Scheme.HMAC_SHA256, {"x-signature": hmac_of(BODY).hex()})
    assert is_taken(Scheme.HMAC_SHA256, {"x-signature": f"sha256={hmac_of(BODY).hex()}"})


@given(
    scheme=st.sampled_from(list(Scheme)),
    name=st.sampled_from(
        ["webhook-id", "webhook-timestamp", "webhook-signature", *FIXED_HEADERS.values(), "x-signature"]
    ),
    value=st.text(max_size=80) | st.sampled_from(["t=1,v1=", "v1,", "²", "t=" + "9" * 400, "sha256=", "Bearer "]),
)
def test_an_odd_header_is_refused_and_breaks_nothing(scheme: Scheme, name: str, value: str) -> None:
    if sign(scheme).get(name) != value:
        assert not is_taken(scheme, {**sign(scheme), name: value}) or name not in sign(scheme)


@pytest.mark.parametrize(
    "secret", ["", "tiny", "x" * 513, " a secret with spaces around it ", "whsec_!!!!!!!!!!!!!!!!", None]
)
def test_a_secret_that_could_be_found_is_refused_and_not_quoted(secret: object) -> None:
    with pytest.raises(InvalidInput, match=r"^secret: ") as refused:
        check_secret(Scheme.STANDARD_WEBHOOKS, secret)
    assert not secret or str(secret) not in str(refused.value)


def test_a_header_goes_with_the_schemes_that_have_none_of_their_own() -> None:
    assert check_header(Scheme.TOKEN, "X-Gitlab-Token") == "x-gitlab-token"
    assert check_header(Scheme.GITHUB, None) == "x-hub-signature-256"
    for scheme, header in ((Scheme.TOKEN, None), (Scheme.HMAC_SHA256, "a b"), (Scheme.STRIPE, "x-other")):
        with pytest.raises(InvalidInput, match=r"^header: "):
            check_header(scheme, header)
