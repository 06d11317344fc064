"""The examples in the description are requests that work, and answers have the shapes that it says."""

import base64
import hashlib
from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator
from pydantic import SecretStr

from producers.http.app import create_gateway
from producers.http.openapi import list_operations
from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.backend import register_agent
from tests.unit.http.gateways import NameAuthenticator, client_of

FILE = b"The parcel left Lisbon on Monday.\n"
#: The status of each operation, in an order in which they can be called.
STEPS = {
    "check_live": 200,
    "check_ready": 200,
    "create_thread": 201,
    "list_threads": 200,
    "change_thread": 200,
    "read_thread": 200,
    "create_file": 201,
    # The tests' files are in a folder.
    "create_upload": 409,
    "complete_upload": 404,
    "send_message": 202,
    "list_messages": 200,
    "list_turns": 200,
    "read_turn": 200,
    "follow_turn": 200,
    "follow_thread": 200,
    "follow_user": 200,
    "write_context": 200,
    "list_context": 200,
    "delete_context": 204,
    "list_summaries": 200,
    "read_file": 200,
    # No worker has prepared it.
    "read_thumbnail": 404,
    "create_stream_token": 201,
    "list_pending": 200,
    "read_pending": 200,
    # It waits for nothing.
    "decide_call": 404,
    "cancel_turn": 202,
    "requeue_turn": 202,
    "fork_thread": 201,
    # Its turn is not over.
    "regenerate": 409,
    "edit_message": 409,
    "make_branch": 201,
    "list_branches": 200,
    "rename_branch": 200,
    "compare_branches": 200,
    "choose_branch": 200,
    # It is chosen.
    "delete_branch": 409,
    "create_inbound_source": 201,
    "list_inbound_sources": 200,
    "read_inbound_source": 200,
    "change_inbound_source": 200,
    "rotate_inbound_source_secret": 200,
    # It is not signed.
    "receive_event": 401,
    "delete_inbound_source": 204,
    "create_schedule": 201,
    "list_schedules": 200,
    "read_schedule": 200,
    "update_schedule": 200,
    "pause_schedule": 200,
    "resume_schedule": 200,
    "run_schedule": 202,
    "list_schedule_turns": 200,
    "delete_schedule": 204,
    "read_usage": 200,
    "create_webhook": 201,
    "list_webhooks": 200,
    "read_webhook": 200,
    "change_webhook": 200,
    "rotate_webhook_secret": 200,
    "list_webhook_deliveries": 200,
    # No turn has ended.
    "replay_webhook_delivery": 404,
    "replay_dead_webhook_deliveries": 202,
    "delete_webhook": 204,
    "delete_thread": 204,
}
#: What the examples say that only this installation can know.
OWN = {"at": 0, "agent": None, "attachments": [{"sha256": hashlib.sha256(FILE).hexdigest()}]}
#: Parameters that a request needs beside those of its path.
PARAMETERS = {name: {"wait": 0} for name in ("follow_turn", "follow_thread")} | {
    "follow_user": {"wait": 0, "user": "ada"},
    "compare_branches": {"with": "main"},
}


async def test_each_operation_does_what_its_example_says(settings: Settings, database: Database) -> None:
    register_agent(database, "assistant")
    key = SecretStr(base64.urlsafe_b64encode(b"k" * 32).decode())
    settings = settings.model_copy(update={"webhook_encryption_keys": key})
    app = create_gateway(settings, authenticator=NameAuthenticator())
    document = app.openapi()
    operations = {
        operation["operationId"]: (path, method, operation) for path, method, operation in list_operations(document)
    }
    assert operations.keys() == STEPS.keys()
    values = {
        "thread_id": "order-4711",
        "key": "language",
        "upload_id": "none",
        "turn_id": "",
        "delivery_id": "none",
        "message_id": "none",
        "branch_id": "",
        "call_id": "call_1",
    }
    values["sha256"] = hashlib.sha256(FILE).hexdigest()

    async with app.router.lifespan_context(app), client_of(app) as client:
        for name, status in STEPS.items():
            path, method, operation = operations[name]
            request = client.build_request(
                method, path.format(**values), params=PARAMETERS.get(name), **body_of(document, operation)
            )
            answer = await client.send(request)
            assert answer.status_code == status, f"{name}: {answer.text}"
            check_shape(document, operation, answer)
            if name == "make_branch":
                values["branch_id"] = answer.json()["id"]
            if name == "create_webhook":
                values["webhook_id"] = answer.json()["webhook"]["id"]
            if name == "create_inbound_source":
                values["source_id"] = answer.json()["source"]["id"]
            if name == "create_schedule":
                values["schedule_id"] = answer.json()["id"]
            if name == "send_message":
                values["turn_id"] = answer.json()["turn"]["id"]
                assert answer.headers["Location"] == f"/v1/turns/{values['turn_id']}"


def body_of(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """The body of a request, out of the examples of its fields."""
    contents = operation.get("requestBody", {}).get("content", {})
    if "application/json" in contents:
        return {"json": example_of(document, contents["application/json"]["schema"])}
    return {"files": {"file": ("note.txt", FILE, "text/plain")}} if contents else {}


def example_of(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """The example of an object: what its fields give as theirs, each of which is of its own schema."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    body = {}
    for name, field in schema["properties"].items():
        if "examples" in field or name in schema.get("required", ()):
            example = field["examples"][0]
            OAS31Validator(field | {"components": document["components"]}).validate(example)
            body[name] = None if example is None else OWN.get(name, example)
    return body


def check_shape(document: dict[str, Any], operation: dict[str, Any], answer: httpx.Response) -> None:
    """Check an answer against what the operation says of its status."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    response = operation["responses"][str(answer.status_code)]
    schema = response.get("content", {}).get(kind, {}).get("schema")
    if schema is not None:
        OAS31Validator(schema | {"components": document["components"]}).validate(answer.json())
    else:
        assert kind != "application/json", f"{operation['operationId']} says nothing of its {kind}"
