"""Django, views only: put `examples.web.django_app` into your ROOT_URLCONF or include it.

The order and the message about it are in one transaction: both are there, or neither is.
"""

import json

from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from conversation.errors import TurnNotFound, UserError
from producers import find_turn
from producers.django import send_message_in_atomic


@csrf_exempt
def send(request: HttpRequest, thread_id: str) -> JsonResponse:
    body = json.loads(request.body)
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders (note) VALUES (%s)", [body["order"]])
            turn = send_message_in_atomic(
                thread_id, body["content"], idempotency_key=request.headers.get("Idempotency-Key")
            )
    except UserError as error:
        return JsonResponse({"error": str(error)}, status=400)
    return JsonResponse({"turn": turn.id}, status=202)


def read(_: HttpRequest, turn_id: str) -> JsonResponse:
    try:
        turn = find_turn(turn_id)
    except TurnNotFound as error:
        return JsonResponse({"error": str(error)}, status=404)
    result = turn.result
    return JsonResponse({"state": turn.state, "content": result.content if result else None})


urlpatterns = [path("threads/<str:thread_id>/messages", send), path("turns/<str:turn_id>", read)]
