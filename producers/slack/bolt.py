"""An agent in an app of Slack's own framework, Bolt, which verifies signatures, or listens by Socket Mode.

What stays true: Bolt is told that an event was taken only when its message is stored; the rest of the app's listeners
hears all that is not the agent's. Bolt is no dependency: it is the caller's.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from producers.slack.app import SlackApp

T = TypeVar("T")
#: The beginning of the actions of our buttons.
ACTION_PREFIX = "threadmill_"
#: Seconds that a sync app waits for the loop on which answers are written.
HANDLE_SECONDS = 3.0


def attach_to_bolt(bolt_app: Any, slack: SlackApp) -> None:
    """Have an app of Bolt's hear what is the agent's: messages, mentions, and presses of its buttons.

    `bolt_app` is an `App` or an `AsyncApp`, before its listeners are added. With an `App`, answers are written on an
    event loop in a thread of its own, for which `slack` needs a producer of its own.
    """
    if inspect.iscoroutinefunction(getattr(bolt_app, "async_dispatch", None)):
        bolt_app.use(_make_async_middleware(slack))
    else:
        bolt_app.use(_make_middleware(slack, _LoopThread()))


def _make_async_middleware(slack: SlackApp) -> Callable[..., Any]:
    async def hear_threadmill(body: Mapping[str, Any], ack: Any, next: Any) -> Any:  # noqa: A002 - Bolt's name
        handling = _handle(slack, body)
        if handling is None:
            return await next()
        await handling
        return await ack()

    return hear_threadmill


def _make_middleware(slack: SlackApp, loop: "_LoopThread") -> Callable[..., Any]:
    def hear_threadmill(body: Mapping[str, Any], ack: Any, next: Any) -> Any:  # noqa: A002 - Bolt's name
        handling = _handle(slack, body)
        if handling is None:
            return next()
        loop.run(handling)
        return ack()

    return hear_threadmill


def _handle(slack: SlackApp, body: Mapping[str, Any]) -> Coroutine[Any, Any, object] | None:
    """The work at a payload that is the agent's; None for another one."""
    event = body.get("event")
    if isinstance(event, dict) and event.get("type") in ("message", "app_mention"):
        return slack.handle_event(body)
    if body.get("type") == "block_actions" and _is_of_agent(body):
        return slack.handle_interaction(body)
    return None


def _is_of_agent(body: Mapping[str, Any]) -> bool:
    actions = body.get("actions")
    ids = [each.get("action_id") for each in actions if isinstance(each, dict)] if isinstance(actions, list) else []
    return any(isinstance(each, str) and each.startswith(ACTION_PREFIX) for each in ids)


class _LoopThread:
    """An event loop in a thread of its own, begun with its first work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and wait for it. Raises as it does, and `TimeoutError`."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="threadmill-slack", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(HANDLE_SECONDS)
