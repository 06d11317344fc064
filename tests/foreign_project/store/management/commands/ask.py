"""`manage.py ask CUSTOMER QUESTION`: as a view of the shop would, but for a terminal."""

import time

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from store.assistant import ask, read_answer


class Command(BaseCommand):
    """Ask the assistant, and wait for its answer."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("customer")
        parser.add_argument("question")

    def handle(self, *, customer: str, question: str, **_: object) -> None:
        call_command("migrate", run_syncdb=True, verbosity=0)
        turn_id = ask(customer, question)
        while (answer := read_answer(turn_id))[0] in ("queued", "running"):
            time.sleep(0.1)
        self.stdout.write(" ".join(answer))
