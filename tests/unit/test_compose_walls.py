"""What holds off a container of docker-compose.yml: no password in sight, no route that it does not need, limits."""

import re

import yaml

from store.walls.roles import ROLES
from tests.unit.test_compose import COMPOSE, OURS, ROOT, SECRET_NAME, SERVICES, VARIABLE, each, texts

NETWORKS = COMPOSE["networks"]
#: Who has a route out of the stack: what asks a model, or runs a tool.
OUTSIDE = {"worker", "quarantine", "maintenance"}
#: The networks of each service of ours.
NEEDED = {
    **{name: {"database", "broker", "files", "outside"} for name in OUTSIDE},
    "files": {"database", "broker", "files"},
    "gateway": {"database", "broker", "files", "front"},
    "migrate": {"database"},
    "beat": {"broker"},
    "flower": {"broker", "published"},
}
MANIFESTS = [
    document
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def arguments_of(service: dict[str, object]) -> list[str]:
    """Every word that becomes an argument of a process."""
    check = service.get("healthcheck", {})
    return list(texts([service.get("command"), service.get("entrypoint"), check]))


@each(set(SERVICES))
def test_no_password_is_an_argument_of_a_process(name: str) -> None:
    """The shell's own `export` starts no process; whatever else names a secret would."""
    words = [word for text in arguments_of(SERVICES[name]) for word in re.sub(r"(?m)^export .*$", "", text).split()]

    filled_in = [match["name"] or "" for word in words for match in VARIABLE.finditer(word)]
    of_shell = [match[1] for word in words for match in re.finditer(r"\$\$\{?(\w+)", word)]

    assert not [variable for variable in filled_in + of_shell if SECRET_NAME.search(variable)]
    assert not [word for word in words if re.match(r"\w+://[^/]*@", word)]


def test_no_password_is_an_argument_of_a_pod() -> None:
    commands = [
        list(
            texts(
                [container.get(key) for key in ("command", "args", "livenessProbe", "startupProbe", "readinessProbe")]
            )
        )
        for manifest in MANIFESTS
        if manifest["kind"] in ("Deployment", "Job")
        for container in manifest["spec"]["template"]["spec"]["containers"]
    ]

    assert len(commands) == len(OURS)
    assert not [word for words in commands for word in words if "$(" in word.replace("$(find", "") or "://" in word]


@each(set(SERVICES))
def test_a_service_has_a_limit_of_memory_and_of_processes(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    assert 0 < SERVICES[name]["pids_limit"] <= 512


def test_the_limits_are_those_that_the_page_explains() -> None:
    page = (ROOT / "docs" / "how-to" / "size-a-deployment.md").read_text()

    for name, service in SERVICES.items():
        assert re.search(rf"\| [^|]*`{name}`[^|]* \| {service['mem_limit']} \| {service['pids_limit']} \|", page), name


@each(set(SERVICES))
def test_a_service_reaches_what_it_needs(name: str) -> None:
    assert set(SERVICES[name]["networks"]) == NEEDED.get(name, set(SERVICES[name]["networks"]))
    assert set(SERVICES[name]["networks"]) <= NETWORKS.keys()
    if name not in OUTSIDE:
        # One that publishes ports without masquerade gets no answer from outside.
        inside = {each for each, options in NETWORKS.items() if (options or {}).get("internal")} | {"published"}
        assert set(SERVICES[name]["networks"]) <= inside
    assert ("published" in SERVICES[name]["networks"]) == ("ports" in SERVICES[name])


def test_a_network_that_publishes_ports_gives_no_way_out() -> None:
    assert NETWORKS["published"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert [name for name, options in NETWORKS.items() if not options] == ["outside"]


@each(OURS)
def test_no_process_of_ours_logs_in_as_the_superuser(name: str) -> None:
    superuser = SERVICES["postgres"]["environment"]["POSTGRES_USER"]

    assert f"//{superuser}:" not in SERVICES[name]["environment"].get("THREADMILL_DATABASE_URL", "")
    assert "POSTGRES_PASSWORD" not in " ".join(texts(SERVICES[name]))


def test_the_roles_are_made_before_the_first_migration() -> None:
    sql = (ROOT / "deploy" / "postgres" / "owner.sql").read_text()

    assert set(re.findall(r"\('(threadmill_\w+)'\)", sql)) == set(ROLES)
    assert not re.search(r"(?<!NO)SUPERUSER", re.sub(r"--.*", "", sql))


def test_in_kubernetes_what_asks_no_model_has_no_route_outside() -> None:
    (policy,) = [m for m in MANIFESTS if m["kind"] == "NetworkPolicy" and "Egress" in m["spec"]["policyTypes"]]
    (components,) = policy["spec"]["podSelector"]["matchExpressions"]
    blocks = [to["ipBlock"]["cidr"] for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]

    assert components == {
        "key": "app.kubernetes.io/component",
        "operator": "In",
        "values": ["beat", "files", "flower", "migrate"],
    }
    assert blocks == ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]
