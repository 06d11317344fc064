"""docker-compose.yml and .env.example fit each other and the code that they start. No engine is asked."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store import settings
from store.walls import roles

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
WORKERS = {name for name in OURS if "worker" in SERVICES[name]["command"]}
ONE_SHOTS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
LONG_RUNNING = SERVICES.keys() - ONE_SHOTS

#: `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`; `$$` is a dollar.
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<rest>[^}]*))?\}")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|_KEY|AUTH|TOKEN")
#: Variables of settings; those that hold a secret.
SETTINGS = {settings.variable(field) for field in settings.Settings.model_fields}
SECRET_SETTINGS = {
    *("THREADMILL_DATABASE_URL", "THREADMILL_BROKER_URL"),
    *("THREADMILL_S3_ACCESS_KEY_ID", "THREADMILL_S3_SECRET_ACCESS_KEY"),
}
#: What gateways alone are told: a page, a secret where tokens are signed with one, and those of a Slack app.
OF_GATEWAYS = {
    *("THREADMILL_GATEWAY_JWT_KEYS", "THREADMILL_GATEWAY_PAGE"),
    *("THREADMILL_SLACK_BOT_TOKENS", "THREADMILL_SLACK_SIGNING_SECRET"),
}

#: What those are told that make webhooks, and those that send to them.
OF_WEBHOOKS = {"THREADMILL_WEBHOOK_ENCRYPTION_KEYS"}


def texts(node: object) -> Iterator[str]:
    """Every string below a node."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def variables(node: object) -> list[re.Match[str]]:
    """The variables that Compose fills in below a node."""
    return [match for text in texts(node) for match in VARIABLE.finditer(text) if match["name"]]


def passed_on(service: dict[str, Any]) -> set[str]:
    """Variables named without a value: Compose takes them as they are in .env."""
    return {name for name, value in service.get("environment", {}).items() if value is None}


def example() -> dict[str, tuple[str, bool]]:
    """.env.example: each name with its value and whether it is in force (not commented out)."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    entries = [re.fullmatch(r"(# )?([A-Z][A-Z0-9_]*)=(.*)", line) for line in lines]
    return {entry[2]: (entry[3], entry[1] is None) for entry in entries if entry}


def filled(text: str, values: dict[str, str]) -> str:
    """A text as Compose fills it in. Raises `KeyError` with the file's own message."""

    def value(match: re.Match[str]) -> str:
        if not match["name"]:
            return "$"
        found, how = values.get(match["name"]), match["how"] or ""
        if found is not None and (found or not how.startswith(":")):
            return found
        if how.endswith("-"):
            return str(match["rest"])
        raise KeyError(match["rest"])

    return VARIABLE.sub(value, text)


def minimal_values() -> dict[str, str]:
    """.env.example copied, with a word in each place that is left empty."""
    return {name: value or f"made-up-{name.lower()}" for name, (value, in_force) in example().items() if in_force}


def environment_of(name: str, values: dict[str, str]) -> dict[str, str]:
    """The variables that a service's process sees."""
    environment = SERVICES[name].get("environment", {})
    given = {key: filled(str(value), values) for key, value in environment.items() if value is not None}
    return given | {key: values[key] for key in passed_on(SERVICES[name]) if key in values}


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, f"{duration}: write it in seconds"
    return int(found[1])


def each(names: set[str]) -> Callable[..., Any]:
    return pytest.mark.parametrize("name", sorted(names))


def test_the_example_names_every_variable_that_is_filled_in_and_none_that_is_not_read() -> None:
    filled_in = {match["name"] for match in variables(COMPOSE)} | {"COMPOSE_PROFILES"}
    read = filled_in | {name for service in SERVICES.values() for name in passed_on(service)}

    assert filled_in <= example().keys() <= read


@each(OURS)
def test_every_setting_reaches_every_process_and_a_secret_those_that_need_it(name: str) -> None:
    needed = SETTINGS - SECRET_SETTINGS - OF_GATEWAYS - OF_WEBHOOKS | {
        "migrate": {"THREADMILL_DATABASE_URL"},
        "gateway": SECRET_SETTINGS | OF_GATEWAYS | OF_WEBHOOKS,
        "maintenance": SECRET_SETTINGS | OF_WEBHOOKS,
        "beat": {"THREADMILL_BROKER_URL"},
        "flower": {"THREADMILL_BROKER_URL"},
    }.get(name, SECRET_SETTINGS)
    if name not in WORKERS:
        needed -= {"THREADMILL_SHUTDOWN_GRACE_SECONDS"}

    assert SERVICES[name]["environment"].keys() & SETTINGS == needed


def test_a_setting_of_env_is_in_force_in_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = minimal_values() | {"THREADMILL_TURN_RETENTION_DAYS": "7", "THREADMILL_MODEL": "openai/gpt-5"}
    for key, value in environment_of("maintenance", values).items():
        monkeypatch.setenv(key, value)

    loaded = settings.load()

    assert (loaded.turn_retention_days, loaded.model) == (7, "openai/gpt-5")


def test_what_the_example_leaves_empty_is_what_compose_insists_on() -> None:
    insisted = {match["name"] for match in variables(COMPOSE) if match["how"] == ":?"}

    empty = {name for name, (value, in_force) in example().items() if in_force and not value}

    assert empty == insisted


def test_a_missing_variable_is_named_in_the_message() -> None:
    messages = [(match["name"], match["rest"]) for match in variables(COMPOSE) if match["how"] == ":?"]

    assert messages
    assert all(message.startswith(f"set {name} in .env") for name, message in messages)


def test_the_example_chooses_a_profile_that_exists() -> None:
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}

    assert profiles == {"minio", "versitygw"}
    assert example()["COMPOSE_PROFILES"][0] in profiles


@each(OURS)
def test_every_setting_that_a_process_is_given_exists(name: str) -> None:
    given = {key for key in SERVICES[name]["environment"] if key.startswith("THREADMILL_")}

    assert given
    assert given <= SETTINGS


@each(OURS)
def test_the_example_filled_in_is_a_configuration_that_loads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment_of(name, minimal_values()).items():
        monkeypatch.setenv(key, value)

    loaded = settings.load()

    assert name == "migrate" or loaded.broker_url.get_secret_value().endswith("@valkey:6379/0")


def test_what_the_example_shows_commented_out_is_what_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommenting a line changes nothing yet; only the lines that name another place do."""
    places = {"THREADMILL_S3_ENDPOINT_URL", "THREADMILL_GATEWAY_PAGE", "MINIO_IMAGE", "MINIO_CLIENT_IMAGE"}
    shown = {k: v for k, (v, in_force) in example().items() if v and not in_force and k not in places}
    defaults = {match["name"]: match["rest"] for match in variables(COMPOSE) if match["how"] == ":-"}
    default_settings = settings.load()

    for name in shown.keys() & SETTINGS - defaults.keys():
        monkeypatch.setenv(name, shown[name])

    assert settings.load() == default_settings
    assert {k: v for k, v in shown.items() if k not in SETTINGS or k in defaults}.items() <= defaults.items()


def test_another_s3_is_one_line_away() -> None:
    another = minimal_values() | {"THREADMILL_S3_ENDPOINT_URL": "https://s3.example.com"}
    aws = minimal_values() | {"THREADMILL_S3_ENDPOINT_URL": ""}

    endpoints = [
        environment_of("worker", values)["THREADMILL_S3_ENDPOINT_URL"] for values in (minimal_values(), another, aws)
    ]

    assert endpoints == ["http://s3:9000", "https://s3.example.com", ""]


@pytest.mark.parametrize("name", ["minio", "versitygw"])
def test_either_s3_server_answers_under_the_same_name_and_port(name: str) -> None:
    assert SERVICES[name]["networks"]["files"]["aliases"] == ["s3"]
    assert ":9000" in SERVICES[name]["command"]


@each(set(SERVICES))
def test_a_dependency_is_of_the_kind_that_its_condition_waits_for(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOTS else "service_healthy"
        assert how["condition"] == expected, needed
        is_always_there = set(SERVICES[needed].get("profiles", ())) <= set(SERVICES[name].get("profiles", ()))
        assert how.get("required", True) == is_always_there, needed


@each(set(LONG_RUNNING))
def test_what_runs_on_is_restarted_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries", "start_period"} == service["healthcheck"].keys()
    assert seconds(service["stop_grace_period"]) >= 15


@each(WORKERS)
def test_a_worker_waits_for_the_schema_the_broker_and_the_bucket(name: str) -> None:
    assert {"migrate", "valkey", "bucket", "versitygw"} == SERVICES[name]["depends_on"].keys()
    assert "logins" in SERVICES["migrate"]["depends_on"]
    assert "postgres" in SERVICES["logins"]["depends_on"]


@each(OURS - {"beat", "flower"})
def test_a_process_logs_in_as_a_member_of_its_role_and_the_owner_migrates_alone(name: str) -> None:
    role = {"migrate": "threadmill", "gateway": roles.GATEWAY, "maintenance": roles.MAINTENANCE}.get(name, roles.WORKER)
    login = role if name == "migrate" else f"{role}_login"

    assert f"//{login}:" in SERVICES[name]["environment"]["THREADMILL_DATABASE_URL"]
    files = [ROOT / "deploy" / "postgres" / file for file in ("owner.sql", "logins.sql")]
    made = "".join(file.read_text(encoding="utf-8") for file in files)
    assert f"CREATE ROLE {role} LOGIN" in made if name == "migrate" else f"('{login}', '{role}')" in made
    assert set(re.findall(r"getenv \w+ (\w+)", made)) < SERVICES["logins"]["environment"].keys()


@each(WORKERS)
def test_a_worker_is_killed_well_after_it_was_asked_to_hand_over(name: str) -> None:
    grace = int(SERVICES[name]["environment"]["THREADMILL_SHUTDOWN_GRACE_SECONDS"])

    assert seconds(SERVICES[name]["stop_grace_period"]) >= grace + 15


def test_workers_listen_to_every_queue_and_each_to_its_own() -> None:
    listened = {name: SERVICES[name]["command"][SERVICES[name]["command"].index("-Q") + 1] for name in WORKERS}

    assert listened == {
        "worker": TURNS_QUEUE,
        "quarantine": QUARANTINE_QUEUE,
        "maintenance": MAINTENANCE_QUEUE,
        "files": FILES_QUEUE,
    }


def test_quarantine_runs_one_turn_at_a_time() -> None:
    command = SERVICES["quarantine"]["command"]

    assert command[command.index("-c") + 1] == "1"


@each(WORKERS)
def test_turns_wait_on_a_loop_and_files_are_read_in_processes(name: str) -> None:
    command = SERVICES[name]["command"]

    assert command[command.index("-P") + 1] == {"files": "prefork", "maintenance": "threads"}.get(name, "custom")


def test_processes_that_read_files_are_replaced_before_they_grow() -> None:
    command = SERVICES["files"]["command"]

    assert command[command.index("--max-tasks-per-child") + 1] == "200"
    assert command[command.index("--max-memory-per-child") + 1] == "600000"


@pytest.mark.parametrize("name", ["worker", "gateway"])
def test_it_can_be_scaled(name: str) -> None:
    assert not {"container_name", "ports", "hostname", "deploy"} & SERVICES[name].keys()
    assert not {"-n", "--hostname"} & set(SERVICES[name]["command"])


def test_the_proxy_finds_each_gateway_and_lets_events_pass_at_once() -> None:
    config = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    port = SERVICES["gateway"]["command"][-1]
    inner_port = SERVICES["proxy"]["ports"][0].rpartition(":")[2]

    # By a variable: else its addresses are those of nginx's start.
    assert f"set $gateway gateway:{port};" in config
    assert "proxy_pass http://$gateway;" in config
    assert "proxy_buffering off;" in config
    assert f"listen {inner_port};" in config
    # A token of a stream follows the `?`.
    assert not re.search(r"\$(request_uri|request|args|query_string)\b", config)
    body_bytes = int(re.search(r"client_max_body_size (\d+)m;", config)[1]) * 2**20  # type: ignore[index]
    assert body_bytes > settings.load().gateway_max_form_bytes
    read_seconds = int(re.search(r"proxy_read_timeout (\d+)s;", config)[1])  # type: ignore[index]
    assert read_seconds > settings.load().gateway_max_wait_seconds


def test_a_gateway_is_killed_well_after_it_was_asked_to_end() -> None:
    assert seconds(SERVICES["gateway"]["stop_grace_period"]) >= settings.load().gateway_shutdown_grace_seconds + 15


def test_every_named_volume_is_declared_and_used() -> None:
    mounted = [volume.split(":") for service in SERVICES.values() for volume in service.get("volumes", ())]

    assert sorted(place for place, *_ in mounted if place[0] != ".") == sorted(COMPOSE["volumes"])
    assert all((ROOT / place).exists() and how == ["ro"] for place, _, *how in mounted if place[0] == ".")


@each(set(SERVICES))
def test_a_published_port_is_bound_to_loopback(name: str) -> None:
    values = minimal_values()

    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", filled(port, values)), port


@each(set(SERVICES))
def test_a_secret_has_no_value_in_the_file(name: str) -> None:
    secrets = [v for k, v in SERVICES[name].get("environment", {}).items() if SECRET_NAME.search(k) and v is not None]
    # What a shell of the container puts together is in its own variables.
    urls = [text for text in texts(SERVICES[name]) if re.search(r"://(?!\$\$)[^/]*@", text)]
    secrets += [re.sub(r".*://[^:]*:(.*)@.*", r"\1", url) for url in urls]
    command = SERVICES[name].get("command", [])
    secrets += [command[place + 1] for place, word in enumerate(command) if word == "--requirepass"]

    for secret in secrets:
        assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", secret), secret


def test_only_those_that_talk_to_models_are_given_their_keys() -> None:
    keys = {name: passed_on(SERVICES[name]) - SETTINGS for name in SERVICES}

    given = {name for name in SERVICES if keys[name]}

    assert given == {"worker", "quarantine", "maintenance"}
    assert all(key.endswith("_API_KEY") for name in given for key in keys[name])


@pytest.mark.parametrize("name", ["beat", "flower"])
def test_a_process_that_needs_no_database_is_not_told_of_it(name: str) -> None:
    assert "POSTGRES_PASSWORD" not in {match["name"] for match in variables(SERVICES[name])}


@each(set(SERVICES))
def test_a_service_gives_up_the_powers_it_does_not_need(name: str) -> None:
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


@each({*OURS, "postgres", "valkey", "proxy"})
def test_a_service_runs_on_a_read_only_disk(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert name == "valkey" or any(place.startswith("/tmp") for place in SERVICES[name]["tmpfs"])


@each(set(SERVICES))
def test_an_image_is_pinned(name: str) -> None:
    tag = filled(SERVICES[name]["image"], {}).rpartition(":")[2]

    assert re.search(r"\d|^local$", tag)


def test_postgres_keeps_its_data_where_version_18_puts_it() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"][0] == "postgres:/var/lib/postgresql"


def test_the_broker_loses_nothing_on_its_own() -> None:
    configuration = (ROOT / "deploy/valkey/valkey.conf").read_text().splitlines()

    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(configuration)
