"""Access by an API key: the key's row, kept for some seconds, and the note that it was used.

What stays true: a process reads keys in one statement at a time, however many it is asked about, so that a flood of
made-up keys takes one connection and no more; what it read it goes by for some seconds and never past a key's end;
that a key was used is written afterwards, for all keys of a moment at once, and once a minute a key.
"""

import asyncio

import structlog

from conversation.errors import ThreadmillError
from producers.http.expiring_cache import ExpiringCache
from producers.http.principal import SCOPES, Principal
from store.database.engine import Database
from store.keys.key_text import ApiKey
from store.keys.lookup import USE_PERIOD_SECONDS, UsableKey, find_keys, note_uses

#: Keys of one process that are kept, good ones and bad ones each.
CACHE_MAX_KEYS = 10_000
#: Keys that one statement reads, at most.
READ_MAX_KEYS = 500
#: Seconds in which uses of keys are collected, to be written in one statement.
COLLECT_SECONDS = 1.0
#: Seconds for which a bad key is kept where keys are not kept: a client that tries again and again reads nothing.
BAD_KEY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class KeyAccess:
    """The bearers of API keys."""

    def __init__(self, database: Database, *, cache_seconds: float) -> None:
        self._database = database
        self._cache_seconds = cache_seconds
        # Apart, so that a flood of bad keys drives no good one out. By hash: a key stands nowhere.
        self._good: ExpiringCache[Principal] = ExpiringCache(CACHE_MAX_KEYS)
        self._bad: ExpiringCache[bool] = ExpiringCache(CACHE_MAX_KEYS)
        self._reader = _KeyReader(database)
        self._noted: ExpiringCache[bool] = ExpiringCache(CACHE_MAX_KEYS)
        self._uses: set[str] = set()
        self._writer: asyncio.Task[None] | None = None

    async def find(self, key: ApiKey) -> Principal | None:
        """The bearer of a key; None for one that is unknown, expired or revoked. Raises `DatabaseUnavailable`."""
        sha256 = key.sha256
        principal = self._good.get(sha256)
        if principal is None and not self._bad.get(sha256):
            principal = await self._read(key, sha256)
        if principal is not None:
            self._note_use(key.id)
        return principal

    async def _read(self, key: ApiKey, sha256: str) -> Principal | None:
        stored_key = await self._reader.read(key.id)
        secret = stored_key.match(key) if stored_key is not None else None
        if stored_key is None or secret is None:
            self._bad.put(sha256, value=True, seconds=self._cache_seconds or BAD_KEY_SECONDS)
            return None
        principal = _principal_of(stored_key)
        seconds = self._cache_seconds if secret.seconds_left is None else min(self._cache_seconds, secret.seconds_left)
        self._good.put(sha256, principal, seconds=seconds)
        return principal

    def _note_use(self, key_id: str) -> None:
        if self._noted.get(key_id):
            return
        self._noted.put(key_id, value=True, seconds=USE_PERIOD_SECONDS)
        self._uses.add(key_id)
        if not _is_running(self._writer):
            self._writer = asyncio.create_task(self._write_later())

    async def _write_later(self) -> None:
        await asyncio.sleep(COLLECT_SECONDS)
        await self._write_uses()

    async def close(self) -> None:
        """Write the uses that are not written yet."""
        if self._writer is not None and _is_running(self._writer):
            self._writer.cancel()
        await self._write_uses()

    async def _write_uses(self) -> None:
        uses, self._uses = self._uses, set()
        if not uses:
            return
        try:
            await self._database.run_async(note_uses, uses)
        except ThreadmillError as error:
            # It is missed by nobody but a reader of the list.
            log.warning("key_uses_not_written", keys=len(uses), reason=type(error).__name__)


class _KeyReader:
    """Reads rows of keys, those of all that wait in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, asyncio.Future[UsableKey | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def read(self, key_id: str) -> UsableKey | None:
        """The usable key with this id, as it is after the call. Raises `DatabaseUnavailable`."""
        if not _is_running(self._task):
            # Whoever waited on an event loop that is gone waits no more.
            self._waiting = {}
            self._task = asyncio.create_task(self._read_all())
        future = self._waiting.get(key_id)
        if future is None:
            future = self._waiting[key_id] = asyncio.get_running_loop().create_future()
        # Others may wait for it, too, when this request is given up.
        return await asyncio.shield(future)

    async def _read_all(self) -> None:
        while self._waiting:
            ids = list(self._waiting)[:READ_MAX_KEYS]
            futures = {key_id: self._waiting.pop(key_id) for key_id in ids}
            try:
                keys = await self._database.run_async(find_keys, ids)
            except Exception as error:  # noqa: BLE001 - raised in those that wait
                for future in futures.values():
                    future.set_exception(error)
                    # Nobody may be left to be told.
                    future.exception()
            else:
                for key_id, future in futures.items():
                    future.set_result(keys.get(key_id))


def _is_running(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


def _principal_of(key: UsableKey) -> Principal:
    scopes = frozenset(scope for scope in SCOPES if scope in key.scopes)
    return Principal(tenant=key.tenant, user=key.user, scopes=scopes, credential=key.id)
