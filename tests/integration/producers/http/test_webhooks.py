"""Webhooks over HTTP: the life of one, whom they are not shown to, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from conversation.ids import new_id
from producers.http.principal import SCOPES
from store import tables
from tests.integration.producers.http.site import Site

URL = "https://example.org/hooks/of-a-secret-path"


@pytest.fixture
def webhook(site: Site) -> Iterator[dict[str, Any]]:
    answer = site.ask("acme", "POST", "/webhooks", json={"url": URL, "kinds": ["turn.completed"], "name": "billing"})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/webhooks/{made['webhook']['id']}"
    yield made
    site.ask("acme", "DELETE", f"/webhooks/{made['webhook']['id']}")


def paths_of(webhook_id: str, delivery_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    path = f"/webhooks/{webhook_id}"
    return [
        ("GET", path, {}),
        ("PATCH", path, {"json": {"name": "taken"}}),
        ("POST", f"{path}/rotate-secret", {"json": {}}),
        ("GET", f"{path}/deliveries", {}),
        ("POST", f"{path}/deliveries/{delivery_id}/replay", {}),
        ("POST", f"{path}/replay-dead", {"json": {}}),
        ("DELETE", path, {}),
    ]


def run_turn(site: Site) -> str:
    thread = f"thread-{new_id()}"
    site.make_thread("ada", thread)
    turn: str = site.send("ada", thread)["id"]
    site.answer(thread)
    return turn


def test_a_webhook_is_made_listed_changed_and_shows_what_it_was_told(site: Site, webhook: dict[str, Any]) -> None:
    path = f"/webhooks/{webhook['webhook']['id']}"
    assert webhook["secret"].startswith("whsec_")
    assert site.ask("acme", "GET", path).json() == webhook["webhook"]
    assert webhook["webhook"] in site.ask("acme", "GET", "/webhooks").json()["webhooks"]

    first, second = run_turn(site), run_turn(site)
    page = site.ask("acme", "GET", f"{path}/deliveries", params={"limit": 1, "state": "pending"}).json()
    assert [one["turn_id"] for one in page["deliveries"]] == [second]
    rest = site.ask("acme", "GET", f"{path}/deliveries", params={"cursor": page["next_cursor"]}).json()
    assert [one["turn_id"] for one in rest["deliveries"]] == [first]
    assert rest["next_cursor"] is None

    delivery = rest["deliveries"][0]
    again = site.ask("acme", "POST", f"{path}/deliveries/{delivery['id']}/replay")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    assert site.ask("acme", "POST", f"{path}/replay-dead", json={}).json() == {"replayed": 0}

    changed = site.ask("acme", "PATCH", path, json={"enabled": False, "kinds": None}).json()
    assert (changed["state"], changed["disabled_reason"], changed["kinds"]) == ("disabled", "asked", None)
    rotated = site.ask("acme", "POST", f"{path}/rotate-secret", json={"grace_seconds": 60}).json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["webhook"]["signing_keys"] == 2

    assert site.ask("acme", "DELETE", path).status_code == 204
    assert site.ask("acme", "GET", path).status_code == 404


def test_a_webhook_is_of_its_tenant_and_of_no_user(site: Site, webhook: dict[str, Any]) -> None:
    run_turn(site)
    path = f"/webhooks/{webhook['webhook']['id']}"
    (delivery,) = site.ask("acme", "GET", f"{path}/deliveries").json()["deliveries"]

    for method, each, options in paths_of(webhook["webhook"]["id"], delivery["id"]):
        assert site.ask("rival", method, each, **options).status_code == 404, each
        assert site.ask("ada", method, each, **options).status_code == 403, each
        for scope in {*SCOPES} - {"operate"}:
            assert site.ask(f"only-{scope}", method, each, **options).status_code == 403, each
    for method, options in (("GET", {}), ("POST", {"json": {"url": URL}})):
        assert site.ask("ada", method, "/webhooks", **options).status_code == 403
    assert site.ask("rival", "GET", "/webhooks").json() == {"webhooks": []}
    assert site.ask("acme", "GET", path).json() == webhook["webhook"]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("url", {"url": "ftp://example.org"}),
        ("url", {"url": "https://user:password@example.org"}),
        ("url", {"url": "https://example.org/{turn_id}"}),
        ("kinds.0", {"url": URL, "kinds": ["turn.begun"]}),
        ("kinds", {"url": URL, "kinds": []}),
        ("agents", {"url": URL, "agents": ["a b"]}),
        ("link_template", {"url": URL, "link_template": "https://example.org/{answer}"}),
        ("link_template", {"url": URL, "link_template": "https://example.org/{"}),
        ("name", {"url": URL, "name": "x" * 101}),
        ("secret", {"url": URL, "secret": "whsec_"}),
    ],
)
def test_what_no_webhook_can_have_is_refused_by_its_field(site: Site, field: str, body: dict[str, Any]) -> None:
    answer = site.ask("acme", "POST", "/webhooks", json=body)

    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_no_answer_with_a_key_is_stored(site: Site) -> None:
    key = {"Idempotency-Key": new_id()}
    made = [site.ask("acme", "POST", "/webhooks", json={"url": URL}, headers=key).json() for _ in range(2)]

    assert made[0]["secret"] != made[1]["secret"]
    for each in made:
        site.ask("acme", "DELETE", f"/webhooks/{each['webhook']['id']}")
    stored = select(func.count()).select_from(tables.idempotent_answers)
    with_key = stored.where(tables.idempotent_answers.c.body.contains("whsec_"))
    assert site.database.run(lambda connection: connection.execute(with_key).scalar_one()) == 0
