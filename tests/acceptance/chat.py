"""The chat page in a real browser, as its user sees it, and a network that cuts."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser, BrowserContext, Page, expect

CHROMIUM = "/usr/bin/chromium"
#: Milliseconds that a machine which has other things to do may take.
PATIENCE = 30_000


class CuttingProxy:
    """Stands between a browser and the gateway, and cuts every connection when it is told to."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()
            self._server.close()

    def cut(self) -> None:
        """End all connections at once."""
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in self._writers])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await self._connect(reader, writer)
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, upstream_writer}
        await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
        self._writers -= {writer, upstream_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class Chat:
    """One tab with the page, as its user sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        #: What the page itself did wrong. A refused request is no such thing.
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def log_in(self, address: str, key: str) -> Self:
        self.page.goto(address)
        self.page.get_by_label("Key").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        # What a script gives to the page before that goes with the login's page.
        expect(self.page.get_by_label("Message", exact=True)).to_be_visible(timeout=PATIENCE)
        return self

    def send(self, text: str) -> None:
        self.page.get_by_label("Message", exact=True).fill(text)
        self.page.keyboard.press("Enter")

    def see(self, text: str) -> None:
        expect(self.page.locator("#log")).to_contain_text(text, timeout=PATIENCE)

    def watch(self) -> None:
        """Count from now on how often the conversation becomes longer."""
        self.page.evaluate(
            """() => {
                window.lengths = new Set();
                const log = document.querySelector("#log");
                const options = { childList: true, subtree: true, characterData: true };
                new MutationObserver(() => window.lengths.add(log.textContent.length)).observe(log, options);
            }"""
        )

    def count_growths(self) -> int:
        """How many lengths the conversation had since `watch`."""
        return int(self.page.evaluate("window.lengths.size"))

    def said(self) -> list[str]:
        """All that stands in the conversation, in order."""
        return [text.strip() for text in self.page.locator("#log > *").all_inner_texts()]


NewChat = Callable[..., Chat]


#: A port, a key, and perhaps another tab of the same browser in; a tab that is logged in out.
OpenTab = Callable[..., Chat]


@contextmanager
def lend_tabs(browser: Browser) -> Iterator[OpenTab]:
    """Lend tabs; they are closed at the end, and what went wrong in a page is told."""
    contexts: list[BrowserContext] = []
    chats: list[Chat] = []

    def make(port: int, key: str, *, beside: Chat | None = None, **options: Any) -> Chat:
        context = beside.page.context if beside else browser.new_context(**options)
        contexts.append(context)
        chats.append(Chat(context.new_page()))
        return chats[-1].log_in(beside.page.url if beside else f"http://127.0.0.1:{port}/", key)

    yield make
    for context in contexts:
        context.close()
    errors = [error for chat in chats for error in chat.errors]
    assert not errors, errors
