"""The border of the gateway's errors: nothing that breaks in it reaches the server that runs it.

What stays true: an unexpected error is logged by its type and its places, and answered without a word of it. Its
text may be a user's, so that the server's own log, which prints whole tracebacks, never gets it.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.http.problems import ProblemResponse, problem_of
from producers.http.request_record import record_of


class ErrorBorder:
    """Answers with a problem whatever is raised in it; an answer that has begun breaks off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def note_begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_begin)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is
            problem = problem_of(error)
            if not has_begun:
                await ProblemResponse(problem, record_of(scope).id)(scope, receive, send)
