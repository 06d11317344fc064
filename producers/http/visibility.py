"""What a principal may see: one place decides for threads and turns, and so for all that belongs to them."""

from typing import Any

from producers.http.dependencies import Gateway
from producers.http.principal import Principal


async def visible_thread(gateway: Gateway, principal: Principal, thread_id: str) -> Any:
    """A thread. Raises `ThreadNotFound`, and `InvalidInput` for what is no id."""
    raise NotImplementedError
