"""Flask: `flask --app examples.web.flask_app run`.

Who may use which thread, and see which turn, is for your backend to check before each of these.
`X-User` stands for whom your login found.
"""

from io import BytesIO
from typing import Any

from flask import Flask, Response, jsonify, redirect, request, send_file

import threadmill
from examples.web.problems import MEDIA_TYPE, describe_problem
from examples.web.shapes import read_body, read_number, read_text, read_uploads, show_thread, show_turn, show_turns
from threadmill import Attachment, find_turn, requeue_turn, send_message

app = Flask(__name__)


@app.post("/threads/<thread_id>/messages")
def send(thread_id: str) -> tuple[dict[str, Any], int]:
    content, files = read_message()
    key = request.headers.get("Idempotency-Key")
    user = request.headers.get("X-User")
    turn = send_message(thread_id, content, user=user, attachments=files, idempotency_key=key)
    return {"turn": turn.id}, 202


@app.get("/turns/<turn_id>")
def read(turn_id: str) -> dict[str, Any]:
    turn = find_turn(turn_id, tenant="default")
    record = turn.record
    return show_turn(record, turn.result if record.state.is_final else None)


@app.post("/turns/<turn_id>/cancel")
def cancel(turn_id: str) -> tuple[dict[str, Any], int]:
    state = threadmill.cancel_turn(turn_id, by=request.headers.get("X-User"), tenant="default")
    return {"turn": turn_id, "state": state}, 202


@app.post("/turns/<turn_id>/retry")
def retry(turn_id: str) -> tuple[dict[str, Any], int]:
    return {"turn": requeue_turn(turn_id, tenant="default").id}, 202


@app.get("/threads/<thread_id>")
def read_thread(thread_id: str) -> dict[str, Any]:
    return show_thread(threadmill.read_thread(thread_id, last=read_number("last", request.args.get("last", "50"))))


@app.get("/threads/<thread_id>/turns")
def list_turns(thread_id: str) -> dict[str, Any]:
    limit = read_number("limit", request.args.get("limit", "50"))
    return show_turns(threadmill.list_turns(thread_id, limit=limit, cursor=request.args.get("cursor")))


@app.get("/threads/<thread_id>/files/<sha256>")
def download(thread_id: str, sha256: str) -> Any:
    file = threadmill.find_file(thread_id, sha256)
    url = threadmill.file_url(file)
    if url.startswith("http"):
        return redirect(url, 307)
    content = BytesIO(threadmill.read_file(file))
    return send_file(content, file.media_type, as_attachment=True, download_name=file.download_name)


@app.errorhandler(threadmill.ThreadmillError)
def refuse(error: threadmill.ThreadmillError) -> tuple[Response, int, dict[str, str]]:
    body, status, headers = describe_problem(error)
    return jsonify(body), status, headers | {"Content-Type": MEDIA_TYPE}


def read_message() -> tuple[str, list[Attachment]]:
    """Read a message: JSON, or a form with files."""
    if request.mimetype != "multipart/form-data":
        return read_text(read_body(request.get_data()), "content"), []
    uploads = [(upload.filename, upload.read()) for upload in request.files.getlist("files")]
    return request.form.get("content", ""), read_uploads(uploads)
