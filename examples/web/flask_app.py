"""Flask: `flask --app examples.web.flask_app run`."""

from typing import Any

from flask import Flask, request

from conversation.errors import TurnNotFound, UserError
from producers import find_turn, send_message

app = Flask(__name__)


@app.post("/threads/<thread_id>/messages")
def send(thread_id: str) -> tuple[dict[str, Any], int]:
    key = request.headers.get("Idempotency-Key")
    turn = send_message(thread_id, request.get_json()["content"], idempotency_key=key)
    return {"turn": turn.id}, 202


@app.get("/turns/<turn_id>")
def read(turn_id: str) -> dict[str, Any]:
    turn = find_turn(turn_id)
    result = turn.result
    return {"state": turn.state, "content": result.content if result else None}


@app.errorhandler(UserError)
def refuse(error: UserError) -> tuple[dict[str, Any], int]:
    return {"error": str(error)}, 404 if isinstance(error, TurnNotFound) else 400
