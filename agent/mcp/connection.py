"""The connection to one MCP server: a session that is opened when it is needed, and again after it broke.

What stays true: all of it happens on the loop of `loop_thread.py`; a session is entered and left by one task, as its
library demands; a call is sent again only where the server has not begun it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from agent.mcp.server import McpServer
from agent.mcp.transport import load, open_client
from agent.web.errors import NotReached, UrlRejected, WebError
from conversation.errors import ToolServerUnavailable
from conversation.exhaustion import Exhausted, missing_resource, resource_of

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import Tool

Result = TypeVar("Result")

#: Seconds without a call after which a session is closed, and a server that was started is stopped.
IDLE_SECONDS = 300.0
#: Seconds between two looks whether a session is idle.
LOOK_SECONDS = 5.0
#: Seconds after which tools are listed again though the server told of no change: some never do.
LIST_MAX_AGE_SECONDS = 300.0
#: Seconds after a failure in which a server is not tried again, so that not each turn waits for it.
RETRY_SECONDS = 15.0
#: A server that lists more has lost count.
LISTED_TOOLS_MAX = 1_000
PAGES_MAX = 100

_log = structlog.get_logger(__name__)


class McpConnectionLost(Exception):
    """The connection broke while a call was under way. For the model."""

    def __init__(self, server_name: str) -> None:
        super().__init__(
            f"the connection to {server_name} broke: the call may or may not have taken effect. "
            "Find out before you make it again."
        )


@dataclass(slots=True)
class Connection:
    """The connection to one server, for every turn of the process."""

    server: McpServer
    #: Networks that the operator allows beside public addresses.
    allow_networks: tuple[str, ...] = ()
    _session: asyncio.Task[None] | None = None
    #: Its client, once the session is open; of a broken one the error.
    _client: "asyncio.Future[Client] | None" = None
    _tools: "Sequence[Tool] | None" = None
    _listed_at: float = 0.0
    _is_changed: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _failure: ToolServerUnavailable | None = None
    _failed_at: float = 0.0
    _used_at: float = 0.0
    _calls: int = 0
    _status: int | None = None

    async def list_tools(self) -> "Sequence[Tool]":
        """The server's tools, as they are now. Raises `ToolServerUnavailable`."""
        async with self._lock:
            if self._tools is None or self._must_list():
                self._tools, self._is_changed = await self._load_tools(), False
                self._listed_at = _now()
            return self._tools

    @property
    def last_known_tools(self) -> "Sequence[Tool] | None":
        """The tools that were listed last, however long ago."""
        return self._tools

    def _must_list(self) -> bool:
        is_closed = self._session is None or self._session.done()
        return is_closed or self._is_changed or _now() - self._listed_at > LIST_MAX_AGE_SECONDS

    async def _load_tools(self) -> "Sequence[Tool]":
        await self._import_package()  # before the time counts: it takes seconds
        try:
            async with asyncio.timeout(self.server.connect_timeout_seconds):
                return await self._use(self._list_pages)
        except (ToolServerUnavailable, Exhausted):
            raise
        except Exception as error:  # noqa: BLE001 - the package lets through whatever its parts raise
            code = getattr(error, "code", None)
            what = type(error).__name__ if code is None else f"error {code}"
            raise self._note_failure(f"did not list its tools ({what})") from None

    async def _list_pages(self, client: "Client") -> "Sequence[Tool]":
        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await client.list_tools(cursor=cursor)
            tools.extend(page.tools)
            cursor = page.next_cursor
            if cursor is None or len(tools) >= LISTED_TOOLS_MAX:
                break
        return tools[:LISTED_TOOLS_MAX]

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool by the server's own name. Raises `ToolServerUnavailable` and the package's errors."""
        return await self._use(lambda client: client.call_tool(name, arguments))

    async def _use(self, work: "Callable[[Client], Awaitable[Result]]") -> Result:
        """Do something with an open session; in a new one where the server has forgotten the first."""
        mcp = await self._import_package()
        client = await self._open()
        try:
            with self._count_call():
                return await work(client)
        except mcp.MCPError as error:
            if _is_connection_lost(error):
                raise McpConnectionLost(self.server.name) from None
            if not _is_session_forgotten(error):
                raise
        await self.close()
        client = await self._open()
        with self._count_call():
            return await work(client)

    async def _import_package(self) -> Any:
        try:
            return await asyncio.to_thread(load)
        except ImportError:
            raise self._note_failure("needs the package mcp: install threadmill[mcp]") from None

    @contextlib.contextmanager
    def _count_call(self) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._used_at = _now()

    async def _open(self) -> "Client":
        if self._session is None or self._session.done() or self._client is None:
            if self._failure is not None and _now() - self._failed_at < RETRY_SECONDS:
                raise self._failure
            self._failure = None
            self._client = asyncio.get_running_loop().create_future()
            self._session = asyncio.create_task(self._keep_open(self._client))
        # Of several that wait for one session, each may be cancelled by itself.
        return await asyncio.shield(self._client)

    async def _keep_open(self, opened: "asyncio.Future[Client]") -> None:
        """Keep a session open until nobody has used it for a while, or it breaks."""
        self._status = None
        limit = asyncio.timeout(self.server.connect_timeout_seconds)
        try:
            async with limit, self._enter_client() as client:
                limit.reschedule(None)
                self._used_at = _now()
                opened.set_result(client)
                # It is the session of many turns from now on.
                structlog.contextvars.clear_contextvars()
                await self._wait_until_idle(client)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the package lets through whatever its parts raise
            if not opened.done():
                opened.set_exception(self._explain(error, is_late=limit.expired()))
                opened.exception()  # seen, also where nobody waits any more
            elif not isinstance(error, asyncio.CancelledError):
                _log.warning("mcp_session_broke", server=self.server.name, error=type(_leaf(error)).__name__)

    def _enter_client(self) -> "contextlib.AbstractAsyncContextManager[Client]":
        return open_client(
            self.server, allow_networks=self.allow_networks, listener=self._hear, note_status=self._note_status
        )

    async def _wait_until_idle(self, client: "Client") -> None:
        watch = asyncio.create_task(self._watch_changes(client))
        try:
            while self._calls or _now() - self._used_at < IDLE_SECONDS:  # noqa: ASYNC110 - time is waited for
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def _watch_changes(self, client: "Client") -> None:
        """Listen for changes of the list where that has to be asked for: in newer versions of the protocol."""
        from mcp.client.subscriptions import ListenNotSupportedError

        with contextlib.suppress(ListenNotSupportedError, Exception):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._is_changed = True

    async def _hear(self, message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._is_changed = True

    def _note_status(self, status: int) -> None:
        self._status = status

    async def close(self) -> None:
        """End the session, if there is one. The next use opens another."""
        session, self._session = self._session, None
        if session is not None and not session.done():
            session.cancel()
            await asyncio.wait([session])

    def _note_failure(self, problem: str) -> ToolServerUnavailable:
        self._failure = ToolServerUnavailable(f"the MCP server {self.server.name} {problem}")
        self._failed_at = _now()
        _log.warning("mcp_server_away", server=self.server.name, problem=problem)
        return self._failure

    def _explain(self, error: BaseException, *, is_late: bool) -> Exception:
        """Our error for one while a session was opened: the server is away, or this process lacks something."""
        resource = resource_of(error) or missing_resource()
        return self._note_failure(self._describe(error, is_late=is_late)) if resource is None else Exhausted(resource)

    def _describe(self, error: BaseException, *, is_late: bool) -> str:
        """Describe what went wrong, in words that hold no address, no header and nothing that the server said."""
        leaf = _leaf(error)
        if isinstance(leaf, UrlRejected):
            kind = str(leaf).partition(" leads to ")[2].partition(";")[0]
            return f"leads to {kind or 'no web address'}; THREADMILL_MCP_ALLOW_NETWORKS allows others"
        if isinstance(leaf, NotReached):
            return "could not be reached: no such host is known"
        if isinstance(leaf, WebError):
            return f"cannot be used: {leaf}"
        if is_late:
            return f"did not answer within {self.server.connect_timeout_seconds:g} s"
        if isinstance(leaf, OSError) and self.server.url is None:
            return f"could not be started ({type(leaf).__name__})"
        status = f"answered with HTTP status {self._status}" if self._status is not None else ""
        return status or f"could not be reached ({type(leaf).__name__})"


def _leaf(error: BaseException) -> BaseException:
    """The error inside of groups that says most: not a cancellation that came of another."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(each) for each in error.exceptions]
    return next((leaf for leaf in leaves if not isinstance(leaf, asyncio.CancelledError)), leaves[0])


def _is_session_forgotten(error: Any) -> bool:
    """Whether the server does not know the session, so that it has not begun what was asked."""
    from mcp_types import INVALID_REQUEST

    # The package's words for a 404 to a request that named its session.
    return bool(error.code == INVALID_REQUEST and error.message == "Session terminated")


def _is_connection_lost(error: Any) -> bool:
    from mcp_types import CONNECTION_CLOSED

    return bool(error.code == CONNECTION_CLOSED)


def _now() -> float:
    return asyncio.get_running_loop().time()
