"""What a provider's error becomes: a stable kind, a pause, a text of ours, and the provider's own without keys."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agent.models.provider_errors import MESSAGE_MAX_CHARS, model_error
from conversation.errors import ModelError

KEY = "plainkey-without-a-known-shape"


class ProviderError(Exception):
    """As litellm raises them: a status, perhaps a body, headers beside it."""

    def __init__(
        self, text: str = "no", *, status: int | None = None, body: object = None, headers: object = None
    ) -> None:
        super().__init__(text)
        self.status_code = status
        self.body = body
        self.litellm_response_headers = headers


def translated(error: Exception, *, started: bool = False, **parameters: object) -> ModelError:
    return model_error(error, model="openai/stub", parameters=parameters, started=started)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "refused", False),
        (401, "unauthorized", False),
        (402, "insufficient_quota", False),
        (403, "unauthorized", False),
        (404, "not_found", False),
        (408, "timeout", True),
        (409, "unavailable", True),
        (413, "refused", False),
        (422, "refused", False),
        (429, "rate_limited", True),
        (500, "unavailable", True),
        (503, "unavailable", True),
        (529, "unavailable", True),
        (None, "unexpected", False),
    ],
)
def test_each_status_has_its_kind(status, kind, retryable):
    error = translated(ProviderError(status=status))

    assert (error.kind, error.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("code", "kind"), [("context_length_exceeded", "context_length"), ("content_filter", "content_filtered")]
)
def test_the_provider_s_own_code_says_more_than_a_400(code, kind):
    assert translated(ProviderError(status=400, body={"code": code})).kind == kind


def test_an_account_without_credit_is_not_asked_again():
    error = translated(ProviderError(status=429, body={"code": "insufficient_quota"}))

    assert (error.kind, error.retryable) == ("insufficient_quota", False)


def test_a_connection_that_breaks_after_the_first_chunk_cut_the_answer_off():
    assert translated(ConnectionResetError("reset")).kind == "unavailable"
    assert translated(ConnectionResetError("reset"), started=True).kind == "stream_interrupted"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}, 0),
        ({}, None),
    ],
)
def test_a_pause_is_read_in_every_form_it_may_have(headers, seconds):
    error = translated(ProviderError(status=429, headers=headers))

    assert error.retry_after_seconds == seconds


def test_a_pause_may_be_a_date():
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)

    error = translated(ProviderError(status=503, headers={"Retry-After": moment}))

    assert error.retry_after_seconds == pytest.approx(29, abs=2)


@pytest.mark.parametrize(
    "parameters",
    [
        {"api_key": KEY},
        {"extra_headers": {"Authorization": f"Bearer {KEY}"}},
        {"extra_headers": {"Cookie": KEY}},
        {"extra_body": {"nested": {"access_token": KEY}}},
    ],
)
def test_a_key_of_the_request_is_taken_out_of_the_text(parameters):
    error = translated(ProviderError(f"wrong key {KEY} for you", status=401), **parameters)

    assert error.provider_text == "wrong key *** for you"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ProviderError("'my diary' is odd", status=400), "the provider refused the request (HTTP status 400)"),
        (ProviderError("'my diary' is odd"), "the library that asks the provider broke (ProviderError)"),
        (ConnectionResetError("my diary"), "the provider cannot be reached, or is down (ConnectionResetError)"),
    ],
)
def test_the_text_is_ours_and_what_the_provider_said_stands_beside_it(error, text):
    shown = translated(error)

    assert (str(shown), shown.is_ours) == (f"openai/stub: {text}", True)
    assert "my diary" in shown.provider_text


def test_a_key_of_the_environment_is_taken_out_of_the_text(monkeypatch):
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", KEY)

    assert KEY not in translated(ProviderError(f"wrong key {KEY}", status=401)).provider_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key: sk-proj-abcdefghijklmnop.", "Incorrect API key: ***"),
        ("Incorrect API key: sk-proj-****************mnop", "Incorrect API key: ***"),
        ("sent Bearer abcdefghijklmnop to it", "sent Bearer *** to it"),
        ("GET https://h/v1?key=abcdefghijklmnop&x=1", "GET https://h/v1?key=***&x=1"),
        ("no route to http://user:pass@proxy:3128", "no route to http://***@proxy:3128"),
        ("the task-oriented key to success", "the task-oriented key to success"),
    ],
)
def test_what_looks_like_a_key_is_taken_out_of_the_text(text, shown):
    assert translated(ProviderError(text, status=401)).provider_text == shown


def test_a_key_at_the_place_where_the_text_is_cut_leaves_no_half_behind():
    text = "x" * (MESSAGE_MAX_CHARS - 5) + KEY

    error = translated(ProviderError(text, status=400), api_key=KEY)

    assert KEY[:4] not in error.provider_text
    assert len(error.provider_text) <= MESSAGE_MAX_CHARS


def test_the_library_s_own_prefixes_are_dropped():
    text = "litellm.RateLimitError: RateLimitError: OpenAIException - slow down, TypeError: ahead"

    assert translated(ProviderError(text, status=429)).provider_text == "slow down, TypeError: ahead"


def test_a_key_that_is_missing_is_not_waited_for():
    text = "Missing credentials. Please pass an `api_key`, or set the `OPENAI_API_KEY` environment variable."

    assert translated(ProviderError(text, status=500)).kind == "unauthorized"


@pytest.mark.parametrize(
    ("body", "kind"),
    [({"code": 429, "message": "slow"}, "rate_limited"), ({"code": "odd"}, "stream_interrupted"), ({}, "unexpected")],
)
def test_an_error_that_comes_in_mid_stream_has_the_kind_of_its_code(body, kind):
    class APIError(ProviderError):
        pass

    error = APIError("x", body=body) if body else ProviderError("x")

    assert translated(error, started=True).kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "Content Exists Risk",
        "Your request was rejected as a result of our safety system.",
    ],
)
def test_a_filter_is_told_by_the_provider_s_words(text):
    assert translated(ProviderError(text, status=400)).kind == "content_filtered"
