"""Settings: where each value comes from, and what is said about a wrong one."""

import logging
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from conversation.errors import InvalidSettings
from store.settings import Settings, export_key_files, load, variable
from store.settings.units import TenantLimit

ROOT = Path(__file__).parents[3]
SECRET = "hunter2"
OLD_NAMES = ("database_url", "db_pool_size", "db_max_overflow", "db_pool_timeout", "db_pool_recycle")
DURATIONS = [name for name in Settings.model_fields if name.endswith(("_seconds", "_timeout", "_days"))]
#: Here zero says something: no grace, or never.
MAY_BE_NONE = {
    *(
        "shutdown_grace_seconds",
        "sweep_grace_seconds",
        "schedule_grace_seconds",
        "retention_idle_days",
        "retention_max_age_days",
    ),
    *("gateway_credential_cache_seconds", "gateway_jwt_leeway_seconds"),
    *("gateway_max_wait_seconds", "gateway_shutdown_grace_seconds"),
    *("blob_grace_days", "turn_retention_days", "turn_retry_max_seconds"),
    *("webhook_retry_max_seconds", "webhook_retention_days"),
}

Environment = pytest.MonkeyPatch


def refusal() -> list[str]:
    """What is said about the environment, line by line."""
    with pytest.raises(InvalidSettings) as refused:
        load()
    return str(refused.value).splitlines()


def test_without_any_variable_every_setting_has_its_default() -> None:
    settings = load()

    assert settings.db_pool_size == 5
    assert settings.model == "offline/recall"
    assert not [name for name, field in Settings.model_fields.items() if field.is_required()]


def test_every_setting_is_read_from_its_variable(monkeypatch: Environment) -> None:
    unread = [field for field in sorted(Settings.model_fields) if not is_read(field, monkeypatch)]

    assert unread == []


def is_read(field: str, monkeypatch: Environment) -> bool:
    """Whether another value than the default, put into a setting's variable, is the setting's."""
    given = {
        "database_url": "sqlite:///x.db",
        "broker_url": "redis://elsewhere/1",
        "gateway_idempotency_seconds": "119",
        "gateway_jwt_algorithms": "ES384",
        "gateway_max_body_bytes": "19000000",
        "gateway_max_form_bytes": "19000000",
        "gateway_request_timeout_seconds": "119",
        "gateway_root_path": "/elsewhere",
        "gateway_trusted_proxies": "10.19.0.0/16",
        "gateway_jwt_jwks_url": "https://elsewhere",
        "gateway_jwt_scopes": "operate",
        "log_format": "json",
        "log_level": "debug",
        "mcp_allow_networks": "10.19.0.0/16",
        "ocr": "tesseract",
        "ocr_languages": "eng+deu",
        "s3_sse": "AES256",
        "s3_storage_class": "ELSEWHERE",
        "s3_part_bytes": "19000000",
        "s3_multipart_bytes": "19000000",
        "slack_api_url": "https://elsewhere/",
        "when_busy": "reject",
        "slack_bot_tokens": "T0ELSEWHERE=xoxb-elsewhere",
        "slack_tenants": "T0=elsewhere",
        "summarize_after_messages": "119",
        "summarize_after_tokens": "19000",
        "summary_max_chars": "19000",
        "summary_check": "True",
        "tenant_max_running_files": "19",
        "tenant_max_running_turns": "19%",
        "webhook_allow_networks": "10.19.0.0/16",
        "webhook_encryption_keys": "a2V5IG9mIDMyIGJ5dGVzIGluIFVSTC1zYWZlIGJhc2U=",
    }
    default = Settings.model_fields[field].default
    number = {
        "notify_timeout_seconds": "1.5",
        "heartbeat_interval_seconds": "3",
        "db_connect_timeout_seconds": "7",
    }.get(field, "19")
    value = given.get(field, number if isinstance(default, int | float) else "elsewhere")
    value = "True" if default is False else value
    with monkeypatch.context() as environment:
        if field == "s3_sse_kms_key_id":
            environment.setenv("THREADMILL_S3_SSE", "aws:kms")
        environment.setenv(variable(field), value)
        found = getattr(load(), field)

    plain = found.get_secret_value() if isinstance(found, SecretStr) else found
    return value in str(plain) and found != default


@pytest.mark.parametrize("field", OLD_NAMES)
def test_the_older_names_are_read_too(field: str, monkeypatch: Environment) -> None:
    value = "sqlite:///old.db" if field == "database_url" else "17"
    monkeypatch.setenv(f"NARRATOR_{field.upper()}", value)

    found = getattr(load(), field)

    assert (found.get_secret_value() if isinstance(found, SecretStr) else str(int(found))) == value


def test_the_newer_name_goes_before_the_older_and_an_argument_before_both(monkeypatch: Environment) -> None:
    monkeypatch.setenv("NARRATOR_DB_POOL_SIZE", "7")
    monkeypatch.setenv("THREADMILL_DB_POOL_SIZE", "8")

    assert load().db_pool_size == 8
    assert load(db_pool_size=9).db_pool_size == 9


def test_a_name_without_our_prefix_is_somebody_elses(monkeypatch: Environment) -> None:
    """A web backend has a DATABASE_URL of its own: conversations must not land there."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://django@elsewhere/shop")
    monkeypatch.setenv("THREADMILL_DATABASE_URL", "postgresql://threadmill@here/threadmill")

    assert "here" in load().database_url.get_secret_value()
    monkeypatch.delenv("THREADMILL_DATABASE_URL")
    assert "elsewhere" not in load().database_url.get_secret_value()


def test_an_empty_variable_counts_as_not_set(monkeypatch: Environment) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(variable(field), "")

    assert load() == Settings()


def test_an_empty_variable_leaves_room_for_the_older_name(monkeypatch: Environment) -> None:
    monkeypatch.setenv("THREADMILL_DB_POOL_SIZE", "")
    monkeypatch.setenv("NARRATOR_DB_POOL_SIZE", "7")

    assert load().db_pool_size == 7


def test_white_space_around_a_value_is_not_part_of_it(monkeypatch: Environment) -> None:
    monkeypatch.setenv("THREADMILL_DATABASE_URL", " sqlite:///x.db\n")
    monkeypatch.setenv("THREADMILL_DB_POOL_SIZE", " 8 ")
    monkeypatch.setenv("THREADMILL_MODEL", "\topenai/gpt-5 ")
    monkeypatch.setenv("THREADMILL_AGENT_MODULES", " shop.agents , , shop.more ")

    settings = load()

    assert settings.database_url.get_secret_value() == "sqlite:///x.db"
    assert (settings.db_pool_size, settings.model) == (8, "openai/gpt-5")
    assert settings.agent_modules == ("shop.agents", "shop.more")


@pytest.mark.parametrize("value", ["   ", "many", "0", "-3", "2.5", "1e3", "100000"])
def test_a_wrong_number_is_one_line_that_names_the_variable(value: str, monkeypatch: Environment) -> None:
    monkeypatch.setenv("THREADMILL_DB_POOL_SIZE", value)

    (line,) = refusal()

    assert line.startswith(f"THREADMILL_DB_POOL_SIZE={value.strip()!r}: ")


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e300", "soon"])
def test_a_duration_is_a_number_that_a_timer_can_count(value: str, monkeypatch: Environment) -> None:
    for field in DURATIONS:
        monkeypatch.setenv(variable(field), value)

    refused = {line.partition(": ")[0] for line in refusal()}

    assert {f"{variable(field)}={value!r}" for field in DURATIONS} - refused == set()


def test_a_duration_that_something_waits_for_is_above_zero(monkeypatch: Environment) -> None:
    for field in DURATIONS:
        monkeypatch.setenv(variable(field), "0")

    refused = {line.partition(": ")[0] for line in refusal()}

    assert refused == {f"{variable(field)}='0'" for field in set(DURATIONS) - MAY_BE_NONE}


def test_several_wrong_values_are_several_lines(monkeypatch: Environment) -> None:
    monkeypatch.setenv("THREADMILL_DB_POOL_SIZE", "many")
    monkeypatch.setenv("THREADMILL_SWEEP_BATCH", "0")
    monkeypatch.setenv("THREADMILL_FILE_STORE_URL", "  ")
    monkeypatch.setenv("THREADMILL_LEASE_DURATION_SECOND", "30")

    assert [re.split("[=:]", line)[0] for line in refusal()] == [
        "THREADMILL_LEASE_DURATION_SECOND",
        "THREADMILL_DB_POOL_SIZE",
        "THREADMILL_FILE_STORE_URL",
        "THREADMILL_SWEEP_BATCH",
    ]


def test_a_wrong_value_under_the_older_name_is_told_under_that_name(monkeypatch: Environment) -> None:
    monkeypatch.setenv("NARRATOR_DB_POOL_SIZE", "many")

    assert refusal()[0].startswith("NARRATOR_DB_POOL_SIZE='many': ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("THREADMILL_DATABSE_URL", "THREADMILL_DATABASE_URL"),
        ("THREADMILL_DATABASEURL", "THREADMILL_DATABASE_URL"),
        ("THREADMILL_POOL_SIZE", "THREADMILL_DB_POOL_SIZE"),
        ("THREADMILL_LEASE_DURATION_SECS", "THREADMILL_LEASE_DURATION_SECONDS"),
        ("threadmill_s3_secret_acess_key", "THREADMILL_S3_SECRET_ACCESS_KEY"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_name_that_was_meant(
    name: str, meant: str, monkeypatch: Environment
) -> None:
    monkeypatch.setenv(name, SECRET)

    assert refusal() == [f"{name}: no setting has this name; {meant} has"]


@pytest.mark.parametrize("name", ["THREADMILL_EXAMPLE_LEDGER", "THREADMILL_IMAGE", "DB_POOL_SIZE", "PATH2"])
def test_a_variable_that_is_no_slip_is_left_alone(name: str, monkeypatch: Environment) -> None:
    """A release that is rolled back must start with a variable that only the newer one knows."""
    monkeypatch.setenv(name, "x")

    assert load() == Settings()


@pytest.mark.parametrize("name", ["THREADMILL_DATABASE_URL", "NARRATOR_DATABASE_URL", "THREADMILL_BROKER_URL"])
@pytest.mark.parametrize("value", [f"{SECRET}", f"user:{SECRET}@host/db", f"://user:{SECRET}@host"])
def test_what_is_wrong_with_a_url_is_told_without_it(
    name: str, value: str, monkeypatch: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSettings) as refused:
        load()
    logging.getLogger("test").error("no settings", exc_info=refused.value)

    assert str(refused.value).startswith(f"{name}=***: ")
    assert SECRET not in caplog.text


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = load(
        database_url=f"postgresql://u:{SECRET}@host/db",
        broker_url=f"redis://:{SECRET}@host/0",
        s3_access_key_id=SECRET,
        s3_secret_access_key=SECRET,
    )

    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in f"{settings.database_url} {settings.broker_url}"
    assert SECRET not in settings.model_dump_json(exclude={"s3_access_key_id"})


def test_a_broker_that_is_no_redis_is_refused() -> None:
    with pytest.raises(InvalidSettings, match=r"^THREADMILL_BROKER_URL=\*\*\*: .*redis://"):
        load(broker_url="amqp://guest@localhost//")


def test_a_lease_is_longer_than_three_heartbeats() -> None:
    with pytest.raises(
        InvalidSettings, match=r"^THREADMILL_HEARTBEAT_INTERVAL_SECONDS: .*THREADMILL_LEASE_DURATION_SECONDS"
    ):
        load(heartbeat_interval_seconds=6, lease_duration_seconds=15)


def test_settings_cannot_be_changed() -> None:
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.model = "other"  # type: ignore[misc]


def test_a_command_says_what_is_wrong_in_its_last_line_and_shows_no_secret() -> None:
    """The whole traceback of a process that dies of its settings, as a log collector would keep it."""
    environment = os.environ | {"THREADMILL_DATABASE_URL": SECRET, "PYTHONPATH": str(ROOT)}

    ended = subprocess.run(
        [sys.executable, "-c", "from store.settings import current; current()"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "THREADMILL_DATABASE_URL=***: is no URL" in ended.stderr.splitlines()[-1]
    assert SECRET not in ended.stderr


@pytest.fixture(scope="module")
def settings_page() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "reference" / "make_settings.py"))


def test_the_page_of_settings_is_up_to_date(settings_page: dict[str, Any]) -> None:
    written = (ROOT / "docs" / "reference" / "settings.md").read_text()

    assert written == settings_page["page"](), "run: python docs/reference/make_settings.py --write"


def test_the_page_explains_every_setting(settings_page: dict[str, Any]) -> None:
    page = settings_page["page"]()

    assert sorted(settings_page["meanings"]()) == sorted(Settings.model_fields)
    assert all(f"| `{variable(field)}`" in page for field in Settings.model_fields)
    assert "| `THREADMILL_LEASE_DURATION_SECONDS` | `15` | seconds | Seconds after its last heartbeat" in page


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("S3_SSE", "aes256", "THREADMILL_S3_SSE='aes256': Input should be '', 'AES256' or 'aws:kms'"),
        ("S3_SSE_KMS_KEY_ID", "alias/files", "THREADMILL_S3_SSE_KMS_KEY_ID: needs THREADMILL_S3_SSE=aws:kms"),
        ("S3_STORAGE_CLASS", "Standard\r\nx: y", "THREADMILL_S3_STORAGE_CLASS="),
        ("S3_PART_BYTES", "1000", "THREADMILL_S3_PART_BYTES='1000': "),
        ("S3_MAX_ATTEMPTS", "0", "THREADMILL_S3_MAX_ATTEMPTS='0': "),
        ("S3_READ_TIMEOUT_SECONDS", "0", "THREADMILL_S3_READ_TIMEOUT_SECONDS='0': "),
    ],
)
def test_how_s3_keeps_objects_is_checked_at_the_start(
    name: str, value: str, told: str, monkeypatch: Environment
) -> None:
    monkeypatch.setenv(f"THREADMILL_{name}", value)

    (line,) = refusal()

    assert line.startswith(told)


# Out of files


def test_a_value_is_read_out_of_the_file_that_its_variable_names(monkeypatch: Environment, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"postgresql://u:{SECRET}@host/db\n")
    (tmp_path / "size").write_text("19")
    monkeypatch.setenv("THREADMILL_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("THREADMILL_DATABASE_URL", "")
    monkeypatch.setenv("threadmill_db_pool_size_file", str(tmp_path / "size"))

    settings = load()

    assert settings.database_url.get_secret_value() == f"postgresql://u:{SECRET}@host/db"
    assert settings.db_pool_size == 19
    assert load(db_pool_size=9).db_pool_size == 9


def test_every_setting_can_be_given_by_a_file(monkeypatch: Environment, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(f"{variable(field)}_FILE", str(tmp_path / "missing"))

    assert [line.partition("=")[0] for line in refusal()] == [
        f"{variable(field)}_FILE" for field in Settings.model_fields
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "holds no value"),
        (b" \n", "holds no value"),
        (b"a\0b", "holds no value"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"x" * 70_000, "is longer than 65536 bytes"),
    ],
)
def test_a_file_without_a_value_is_one_line_that_names_the_variable(
    content: bytes | None, problem: str, monkeypatch: Environment, tmp_path: Path
) -> None:
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("THREADMILL_DATABASE_URL_FILE", str(path))

    (line,) = refusal()

    assert line.startswith(f"THREADMILL_DATABASE_URL_FILE={str(path)!r}: {problem}")


@pytest.mark.parametrize("path", ["/", "/dev/null\0", "~", "  "])
def test_what_is_no_file_is_told(path: str, monkeypatch: Environment) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", {"THREADMILL_BROKER_URL_FILE": path})

        assert refusal()[0].startswith("THREADMILL_BROKER_URL_FILE=")


def test_a_wrong_value_out_of_a_file_is_not_shown(monkeypatch: Environment, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"http://:{SECRET}@host")
    monkeypatch.setenv("THREADMILL_BROKER_URL_FILE", str(tmp_path / "url"))

    assert refusal()[0].startswith("THREADMILL_BROKER_URL=***: ")


def test_a_variable_and_its_file_at_once_are_refused(monkeypatch: Environment, tmp_path: Path) -> None:
    monkeypatch.setenv("THREADMILL_BROKER_URL", "redis://here/0")
    monkeypatch.setenv("THREADMILL_BROKER_URL_FILE", str(tmp_path))

    assert refusal() == ["THREADMILL_BROKER_URL_FILE: THREADMILL_BROKER_URL is set as well; keep one of the two"]


def test_the_keys_of_model_providers_are_read_out_of_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    names = ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY")
    environment = {f"{name}_FILE": str(tmp_path / "key") for name in names} | {"OTHER_FILE": "x", "NO_API_KEY_FILE": ""}

    export_key_files(environment)

    assert {name: environment[name] for name in names} == dict.fromkeys(names, SECRET)
    assert "NO_API_KEY" not in environment
    with pytest.raises(InvalidSettings, match="COHERE_API_KEY_FILE='/nowhere': cannot be read"):
        export_key_files({"COHERE_API_KEY_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("value", "limit", "places"),
    [
        ("90%", TenantLimit(percent=90), {1: 1, 2: 1, 4: 3, 10: 9, 100: 90}),
        (" 50 %", TenantLimit(percent=50), {1: 1, 3: 1}),
        ("100%", TenantLimit(percent=100), {2: 2}),
        ("7", TenantLimit(count=7), {100: 100}),
        (7, TenantLimit(count=7), {}),
        ("0", TenantLimit(), {2: 2}),
    ],
)
def test_the_limit_of_a_tenant_is_a_number_or_a_part_of_the_places(
    value: object, limit: TenantLimit, places: dict[int, int]
) -> None:
    assert load(tenant_max_running_turns=value).tenant_max_running_turns == limit
    assert {of: limit.places_of(of) for of in places} == places


@pytest.mark.parametrize("value", ["0%", "101%", "-1", "1.5", "%", "ten", "9999999999", "٣", True, None, [1]])
def test_what_is_no_limit_of_a_tenant_is_refused(value: object) -> None:
    with pytest.raises(InvalidSettings, match="like 90%"):
        load(tenant_max_running_files=value)
