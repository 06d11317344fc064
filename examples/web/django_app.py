"""Django, views only: put `examples.web.django_app` into your ROOT_URLCONF or include it.

The order and the message about it are in one transaction: both are there, or neither is. Who may use which thread, and
see which turn, is for your backend to check before each of these.
`X-User` stands for whom your login found.
"""

from collections.abc import Callable
from functools import wraps
from io import BytesIO
from typing import Any

from django.db import OperationalError, connection, transaction
from django.http import FileResponse, HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

import threadmill
from examples.web.problems import MEDIA_TYPE, describe_problem
from examples.web.shapes import read_body, read_number, read_text, read_uploads, show_thread, show_turn, show_turns
from threadmill import Attachment, find_turn, requeue_turn, send_message_in_atomic

View = Callable[..., HttpResponseBase]


def refuse_problems(view: View) -> View:
    """Answer with the problem where a view raises one."""

    @wraps(view)
    def answer(request: HttpRequest, **names: str) -> HttpResponseBase:
        try:
            return view(request, **names)
        except threadmill.ThreadmillError as error:
            problem = error
        except OperationalError as error:
            problem = threadmill.DatabaseUnavailable(f"Django's own connection: {error}")
        body, status, headers = describe_problem(problem)
        return JsonResponse(body, status=status, headers=headers, content_type=MEDIA_TYPE)

    return answer


@csrf_exempt
@require_POST
@refuse_problems
def send(request: HttpRequest, thread_id: str) -> JsonResponse:
    body, files = read_message(request)
    order, content = read_text(body, "order"), read_text(body, "content")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (note) VALUES (%s)", [order])
        key, user = request.headers.get("Idempotency-Key"), request.headers.get("X-User")
        turn = send_message_in_atomic(thread_id, content, user=user, attachments=files, idempotency_key=key)
    return JsonResponse({"turn": turn.id}, status=202)


@require_GET
@refuse_problems
def read(_: HttpRequest, turn_id: str) -> JsonResponse:
    turn = find_turn(turn_id, tenant="default")
    record = turn.record
    return JsonResponse(show_turn(record, turn.result if record.state.is_final else None))


@csrf_exempt
@require_POST
@refuse_problems
def cancel(request: HttpRequest, turn_id: str) -> JsonResponse:
    state = threadmill.cancel_turn(turn_id, by=request.headers.get("X-User"), tenant="default")
    return JsonResponse({"turn": turn_id, "state": state}, status=202)


@csrf_exempt
@require_POST
@refuse_problems
def retry(_: HttpRequest, turn_id: str) -> JsonResponse:
    return JsonResponse({"turn": requeue_turn(turn_id, tenant="default").id}, status=202)


@require_GET
@refuse_problems
def read_thread(request: HttpRequest, thread_id: str) -> JsonResponse:
    last = read_number("last", request.GET.get("last", "50"))
    return JsonResponse(show_thread(threadmill.read_thread(thread_id, last=last)))


@require_GET
@refuse_problems
def list_turns(request: HttpRequest, thread_id: str) -> JsonResponse:
    limit = read_number("limit", request.GET.get("limit", "50"))
    return JsonResponse(show_turns(threadmill.list_turns(thread_id, limit=limit, cursor=request.GET.get("cursor"))))


@require_GET
@refuse_problems
def download(_: HttpRequest, thread_id: str, sha256: str) -> HttpResponseBase:
    file = threadmill.find_file(thread_id, sha256)
    url = threadmill.file_url(file)
    if url.startswith("http"):
        return HttpResponseRedirect(url)
    content = BytesIO(threadmill.read_file(file))
    return FileResponse(content, as_attachment=True, filename=file.download_name, content_type=file.media_type)


def read_message(request: HttpRequest) -> tuple[dict[str, Any], list[Attachment]]:
    """Read a message: JSON, or a form with files."""
    if request.content_type != "multipart/form-data":
        return read_body(request.body), []
    uploads = [(upload.name, upload.read()) for upload in request.FILES.getlist("files")]
    return {"content": ""} | request.POST.dict(), read_uploads(uploads)


urlpatterns = [
    path("threads/<str:thread_id>/messages", send),
    path("threads/<str:thread_id>/turns", list_turns),
    path("threads/<str:thread_id>/files/<str:sha256>", download),
    path("threads/<str:thread_id>", read_thread),
    path("turns/<str:turn_id>", read),
    path("turns/<str:turn_id>/cancel", cancel),
    path("turns/<str:turn_id>/retry", retry),
]
