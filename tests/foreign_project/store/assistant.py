"""Asking the assistant, by SQL alone: nothing of Threadmill is imported here."""

from django.db import connection, transaction

from store.models import Order


def ask(customer: str, question: str) -> str:
    """Store an order and a question about it in one transaction; returns the id of the turn that answers."""
    with transaction.atomic():
        order = Order.objects.create(note=question)
        with connection.cursor() as cursor:
            cursor.execute(
                'SELECT threadmill.send_message(%s, %s, "user" => %s, idempotency_key => %s)',
                [f"customer-{customer}", question, customer, f"order-{order.pk}"],
            )
            (turn_id,) = cursor.fetchone()
    return str(turn_id)


def read_answer(turn_id: str) -> tuple[str, str]:
    """The state of a turn, and the answer's text once it has completed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT turns.state, coalesce(answer.content, '')
            FROM turns
            LEFT JOIN LATERAL (
                SELECT content FROM messages
                WHERE messages.turn_id = turns.id AND role = 'assistant'
                ORDER BY seq DESC LIMIT 1
            ) answer ON turns.state = 'completed'
            WHERE turns.id = %s
            """,
            [turn_id],
        )
        return cursor.fetchone()
