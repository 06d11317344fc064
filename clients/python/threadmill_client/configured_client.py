"""Options of the two clients."""

from typing import Any, ClassVar, Generic, TypeVar

import httpx

from threadmill_client.gateway import Gateway, Key, check_base_url, check_key, name_client
from threadmill_client.retries import Retries

#: Each stream holds a connection: how many there are is the caller's to say.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)

H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class ConfiguredClient(Generic[H]):
    """The part of a client that does no I/O."""

    _http_class: ClassVar[type[Any]]

    def __init__(
        self,
        base_url: str,
        key: Key,
        *,
        timeout_seconds: float = 30,
        retries: int = 5,
        silence_seconds: float = 30,
        patience_seconds: float = 300,
        user_agent: str | None = None,
        http_client: H | None = None,
    ) -> None:
        """Open a client of one gateway.

        `key` is an API key or a JWT, or a function that gives the one to use now. A request has `timeout_seconds` for
        each wait, and is sent again up to `retries` times. A stream that is silent for `silence_seconds` is asked for
        anew; it gives up when it heard nothing for `patience_seconds`. `user_agent` is your program's name, for the
        gateway's log. `http_client` is one of httpx's with proxies or certificates of your own; it stays open.
        """
        self._gateway = Gateway(
            base_url=check_base_url(base_url),
            key=key if callable(key) else check_key(key),
            timeout_seconds=timeout_seconds,
            silence_seconds=silence_seconds,
            patience_seconds=patience_seconds,
            retries=Retries(limit=retries),
            user_agent=name_client(user_agent),
        )
        self._owns_http = http_client is None
        self._http: H = self._http_class(limits=_LIMITS) if http_client is None else http_client

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._gateway.base_url!r})"
