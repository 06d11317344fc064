"""Slack's signature: the example of its documentation, and what is none."""

import pytest

from producers.slack.signature import is_signed, sign

SECRET, AT = "8f742231b10e8888abcd99yyyzzz85a5", 1531420618
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
HEADERS = {"x-slack-request-timestamp": str(AT), "x-slack-signature": SIGNATURE}


def test_the_example_of_slacks_documentation_is_signed() -> None:
    assert sign(SECRET, str(AT), BODY) == SIGNATURE
    assert is_signed(SECRET, HEADERS, BODY, now=AT + 299)


@pytest.mark.parametrize("now", [AT + 301, AT - 301])
def test_a_request_outside_the_replay_window_is_not(now: int) -> None:
    assert not is_signed(SECRET, HEADERS, BODY, now=now)


@pytest.mark.parametrize(
    "changed",
    [
        {"x-slack-signature": SIGNATURE.replace("a2", "a3")},
        {"x-slack-signature": SIGNATURE.removeprefix("v0=")},
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0=é"},
        {"x-slack-request-timestamp": str(AT + 1)},
        {"x-slack-request-timestamp": "٣"},
        {"x-slack-request-timestamp": "-1531420618"},
        {"x-slack-request-timestamp": "9" * 400},
        {"x-slack-request-timestamp": ""},
    ],
)
def test_what_differs_in_anything_is_not(changed: dict[str, str]) -> None:
    assert not is_signed(SECRET, {**HEADERS, **changed}, BODY, now=AT)


def test_another_body_another_secret_and_no_secret_are_not() -> None:
    assert not is_signed(SECRET, HEADERS, BODY + b" ", now=AT)
    assert not is_signed("another", HEADERS, BODY, now=AT)
    assert not is_signed("", {**HEADERS, "x-slack-signature": sign("", str(AT), BODY)}, BODY, now=AT)
