"""The hands of people who act while a run goes on: some things at once, each until it is known what became of it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conversation.errors import OperatorError
from tests.chaos.gateway_client import GatewayAway

#: Seconds between two attempts at one thing.
AGAIN_SECONDS = 0.3


class Hands:
    """So many threads."""

    def __init__(self, count: int) -> None:
        self._broken: list[BaseException] = []
        self._under_way = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(count)

    @property
    def are_idle(self) -> bool:
        """Whether nothing is under way, and nothing waits for a hand."""
        with self._lock:
            return self._under_way == 0

    def begin(self, act: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Have one do something as soon as it can."""
        self._note_under_way(1)
        self._threads.submit(self._do, act, *arguments, **named)

    def close(self, *, leave_rest: bool = False) -> None:
        """Wait for what is under way, and perhaps leave what none has begun with; raises what broke one of them."""
        self._threads.shutdown(wait=True, cancel_futures=leave_rest)
        if self._broken:
            raise self._broken[0]

    def _do(self, act: Callable[..., object], *arguments: Any, **named: Any) -> None:
        try:
            act(*arguments, **named)
        except BaseException as error:  # noqa: BLE001 - `close` raises it
            self._broken.append(error)
        finally:
            self._note_under_way(-1)

    def _note_under_way(self, more: int) -> None:
        with self._lock:
            self._under_way += more


def try_until_known(call: Callable[[], Any]) -> Any:
    """Try until an answer comes, be it an error of the caller's."""
    while True:
        try:
            return call()
        except (OperatorError, GatewayAway):
            time.sleep(AGAIN_SECONDS)
