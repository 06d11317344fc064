"""Blobs in a local folder: `tenant/ab/cdef…`, readable by their owner alone.

What stays true: a blob appears under its name whole and synced, or not at all: it is written beside
its name, synced, renamed, and the folders' entries are synced, before `put` returns. A link inside
the folder is never followed out of it. What a crash leaves half-written has a name that is no hash,
so that it is never listed or read.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from conversation.checks import check_tenant
from conversation.errors import FileStoreUnavailable
from store.files.blobs import check_address, check_content, check_expires, check_undamaged, not_stored

_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{62}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class LocalBlobs:
    """Keeps blobs in a folder that is created, for its owner alone, when the first blob is put."""

    def __init__(self, base: str | Path) -> None:
        #: Absolute from the beginning, so that a later change of the working folder moves nothing.
        self.base = Path(base).expanduser().absolute()

    def put(self, tenant: str, sha256: str, content: bytes, media_type: str) -> None:  # noqa: ARG002 - a folder keeps no types
        check_address(tenant, sha256)
        check_content(sha256, content)
        path = self._path(tenant, sha256)
        with self._translated("write"):
            self._check_inside(path.parent)
            self._make_folders(path.parent)
            # A damaged blob is written again: a put heals it.
            if self._read(path) != content:
                _write_whole(path, content)
            # Also for a blob that was there: another process may have renamed it and not synced yet.
            for folder in (path.parent, path.parent.parent, self.base):
                _sync_folder(folder)

    def get(self, tenant: str, sha256: str) -> bytes:
        check_address(tenant, sha256)
        path = self._path(tenant, sha256)
        with self._translated("read"):
            self._check_inside(path.parent)
            content = self._read(path)
        if content is None:
            raise not_stored(tenant, sha256)
        return check_undamaged(tenant, sha256, content)

    def exists(self, tenant: str, sha256: str) -> bool:
        check_address(tenant, sha256)
        path = self._path(tenant, sha256)
        with self._translated("read"):
            self._check_inside(path.parent)
            try:
                return stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                return False

    def delete(self, tenant: str, sha256: str) -> None:
        check_address(tenant, sha256)
        path = self._path(tenant, sha256)
        with self._translated("delete from"):
            self._check_inside(path.parent)
            path.unlink(missing_ok=True)

    def list(self, tenant: str) -> Iterator[str]:
        check_tenant(tenant)
        with self._translated("list"):
            self._check_inside(self.base / tenant)
        for folder in self._entries(self.base / tenant):
            if _FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
                for blob in self._entries(Path(folder)):
                    if _NAME.fullmatch(blob.name) and blob.is_file(follow_symlinks=False):
                        yield folder.name + blob.name

    def url(
        self,
        tenant: str,
        sha256: str,
        *,
        expires: timedelta,
        filename: str,  # noqa: ARG002 - a file: URL can neither rename
        media_type: str,  # noqa: ARG002 - nor say a type
    ) -> str:
        check_address(tenant, sha256)
        check_expires(expires)
        return self._path(tenant, sha256).as_uri()

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _path(self, tenant: str, sha256: str) -> Path:
        return self.base / tenant / sha256[:2] / sha256[2:]

    def _make_folders(self, folder: Path) -> None:
        if not self.base.is_dir():
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(self.base.parent)
        for part in (folder.parent, folder):
            part.mkdir(mode=0o700, exist_ok=True)

    def _check_inside(self, folder: Path) -> None:
        """Somebody may have put a link there; the names themselves were checked before."""
        while folder != self.base:
            if folder.is_symlink():
                raise FileStoreUnavailable(
                    f"file store {folder} is a link to elsewhere; put a plain folder in its place"
                )
            folder = folder.parent

    def _read(self, path: Path) -> bytes | None:
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link stands where a blob should
                return None
            raise
        with os.fdopen(opened, "rb") as file:
            return file.read()

    def _entries(self, folder: Path) -> Sequence[os.DirEntry[str]]:
        with self._translated("list"):
            try:
                return sorted(os.scandir(folder), key=lambda entry: entry.name)
            except FileNotFoundError:
                return ()

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """The border at which the operating system's errors become ours."""
        try:
            yield
        except OSError as error:
            raise FileStoreUnavailable(
                f"cannot {verb} file store {self.base}: {error.strerror or error}; {_fix(error)}"
            ) from error


def _fix(error: OSError) -> str:
    if error.errno in _FULL:
        return "free space there, or point THREADMILL_FILE_STORE at a larger disk"
    if error.errno in _FORBIDDEN:
        return "let this user read and write it, or point THREADMILL_FILE_STORE at another folder"
    return "check that it is a folder on a working disk, or point THREADMILL_FILE_STORE at another one"


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside the name, sync, and rename: a reader sees the old state or the whole new file."""
    partial = path.with_name(f".partial-{uuid4().hex}")
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(opened)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable: a synced file with an unsynced name is lost with the power."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
