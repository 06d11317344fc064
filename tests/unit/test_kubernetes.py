"""The manifests in deploy/kubernetes are valid, fit each other, and run what docker-compose.yml runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from store import settings
from tests.unit.test_compose import SECRET_SETTINGS, SERVICES

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
PAGE = FOLDER.parents[1] / "docs" / "how-to" / "deploy-to-kubernetes.md"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
#: The oldest Kubernetes that the manifests are tried against, and the newest that is known.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
SECRETS = Path("/run/secrets/threadmill")


def manifests() -> Iterator[dict[str, Any]]:
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


MANIFESTS = list(manifests())
#: The pods by what they do: `worker`, `beat`, …
PODS = {
    manifest["metadata"]["labels"]["app.kubernetes.io/component"]: manifest["spec"]["template"]["spec"]
    for manifest in MANIFESTS
    if manifest["kind"] in ("Deployment", "Job")
}
each_pod = pytest.mark.parametrize("name", sorted(PODS))


def container(name: str) -> dict[str, Any]:
    (only,) = PODS[name]["containers"]
    return dict(only)


def variables(name: str) -> dict[str, str | None]:
    return {variable["name"]: variable.get("value") for variable in container(name)["env"]}


def test_every_file_is_named_in_the_kustomization() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert files == set(KUSTOMIZATION["resources"])


@pytest.mark.soak
@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_what_kubernetes_takes(version: str) -> None:
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_checker_finds_what_is_wrong() -> None:
    wrong = {**MANIFESTS[0], "datas": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_process_of_the_compose_file_runs_here_as_well() -> None:
    assert PODS.keys() == {name for name, service in SERVICES.items() if "build" in service}


@each_pod
def test_a_process_runs_as_compose_runs_it(name: str) -> None:
    own = {"flower": ("--persistent", "--db", "--state_save_interval")}.get(name, ())

    expected = [word for word in SERVICES[name]["command"] if not word.startswith(own)]

    assert container(name)["args"] == expected


@each_pod
def test_a_secret_comes_from_the_file_that_is_mounted_for_it(name: str) -> None:
    (volume,) = [volume["secret"] for volume in PODS[name]["volumes"] if "secret" in volume]
    given = {variable: value for variable, value in variables(name).items() if variable.endswith("_FILE")}

    assert sorted(given.values(), key=str) == sorted(str(SECRETS / item["path"]) for item in volume["items"])
    needed = SERVICES[name]["environment"].keys() & SECRET_SETTINGS
    assert {variable.removesuffix("_FILE") for variable in given} == needed
    assert {mount["mountPath"] for mount in container(name)["volumeMounts"]} == {str(SECRETS), "/tmp"}


def test_no_secret_stands_in_a_manifest_and_the_page_makes_each_that_is_used() -> None:
    assert not [manifest for manifest in MANIFESTS if manifest["kind"] == "Secret"]
    used = {
        item["key"] for pod in PODS.values() for v in pod["volumes"] if "secret" in v for item in v["secret"]["items"]
    }

    made = set(re.findall(r"--from-(?:literal|file)=([a-z0-9-]+)", PAGE.read_text()))

    assert made == used | {"flower-basic-auth"}


def test_the_settings_exist_and_hold_no_secret() -> None:
    (given,) = [manifest["data"] for manifest in MANIFESTS if manifest["kind"] == "ConfigMap"]
    known = {settings.variable(field) for field in settings.Settings.model_fields}

    assert given.keys() <= known - SECRET_SETTINGS


#: The secrets whose keys are variables, and who is given them.
KEYS = {
    "threadmill-model-keys": {"worker", "quarantine", "maintenance"},
    "threadmill-webhook-keys": {"gateway", "maintenance"},
    "threadmill-slack": {"gateway"},
}


@each_pod
def test_only_those_that_need_them_are_given_keys(name: str) -> None:
    sources = [source["secretRef"] for source in container(name)["envFrom"] if "secretRef" in source]

    assert {source["name"] for source in sources} == {secret for secret, pods in KEYS.items() if name in pods}
    assert all(source["optional"] for source in sources)


@each_pod
def test_a_pod_gives_up_the_powers_it_does_not_need(name: str) -> None:
    pod = PODS[name]

    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(name)["resources"]["limits"]["memory"]


@each_pod
def test_no_service_of_the_namespace_becomes_a_variable_of_ours(name: str) -> None:
    """A Service `threadmill-flower` would be `THREADMILL_FLOWER_PORT`, and a few more."""
    assert PODS[name]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", ["worker", "quarantine", "maintenance", "files"])
def test_a_worker_is_killed_well_after_it_was_asked_to_hand_over(name: str) -> None:
    (given,) = [manifest["data"] for manifest in MANIFESTS if manifest["kind"] == "ConfigMap"]

    assert PODS[name]["terminationGracePeriodSeconds"] >= int(given["THREADMILL_SHUTDOWN_GRACE_SECONDS"]) + 15


@pytest.mark.parametrize("name", sorted(PODS.keys() - {"migrate"}))
def test_a_process_is_asked_how_it_is_as_compose_asks_it(name: str) -> None:
    # A gateway whose database is away is not restarted, and not asked for anything.
    probe = container(name)["readinessProbe" if name == "gateway" else "livenessProbe"]

    test = SERVICES[name]["healthcheck"]["test"]

    asked = probe["httpGet"]["path"] if "httpGet" in probe else probe["exec"]["command"][-1]
    assert asked in test[-1].replace("$$", "$")


def test_every_selector_finds_its_pods() -> None:
    for manifest in MANIFESTS:
        if manifest["kind"] == "Deployment":
            labels = manifest["spec"]["template"]["metadata"]["labels"]
            assert manifest["spec"]["selector"]["matchLabels"] == labels == manifest["metadata"]["labels"]
    selected = [m["spec"]["selector"] for m in MANIFESTS if m["kind"] in ("Service", "PodDisruptionBudget")]
    components = [(s.get("matchLabels") or s)["app.kubernetes.io/component"] for s in selected]
    assert set(components) <= PODS.keys()
