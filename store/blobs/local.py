"""Blobs in a local folder: `tenant/sha256/ab/cdef…`, readable by their owner alone.

What stays true: a blob appears under its name whole and synced, or not at all: it is written to
`tenant/staging/.partial-…`, synced, renamed, and the folders' entries are synced, before `put`
returns. A link inside the folder is never followed out of it. What a crash leaves half-written is
never listed or read, and is removed by a put of the same tenant a day later.
"""

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from conversation.errors import FileRejected, FileStoreUnavailable
from conversation.validation import check_tenant
from store.blobs.hashing import CHUNK_BYTES, Content, check_content, read_verified_pieces, verify_stored_pieces
from store.blobs.presigned import NoUploads
from store.blobs.protocol import StoredBlob, check_address, check_after, check_expires, is_tenant, not_stored_error

#: Seconds after which no process writes to a partial file any more.
PARTIAL_SECONDS = 24 * 3600.0

_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{62}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class LocalBlobs(NoUploads):
    """Keeps blobs in a folder that is created, for its owner alone, when the first blob is put."""

    def __init__(self, base: str | Path) -> None:
        #: Absolute from the beginning, so that a later change of the working folder moves nothing.
        self.base = Path(base).expanduser().absolute()

    def put(self, tenant: str, sha256: str, content: Content, media_type: str) -> None:  # noqa: ARG002 - a folder keeps no types
        check_address(tenant, sha256)
        size = check_content(sha256, content)
        path, staging = self._path(tenant, sha256), self.base / tenant / "staging"
        with self._translate_errors("write"):
            for folder in (path.parent, staging):
                self._check_inside(folder)
                self._make_folders(folder)
            _remove_old_partials(staging)
            # A damaged blob is written again: a put heals it.
            if not _is_whole(path, sha256, size):
                _write_whole(path, staging, read_verified_pieces(sha256, content))
            # Also for a blob that was there: another process may have renamed it and not synced yet.
            for folder in (path.parent, *path.parent.parents):
                _sync_folder(folder)
                if folder == self.base:
                    break

    def get(self, tenant: str, sha256: str) -> bytes:
        with self.open(tenant, sha256) as pieces:
            return b"".join(pieces)

    @contextmanager
    def open(self, tenant: str, sha256: str) -> Iterator[Iterator[bytes]]:
        check_address(tenant, sha256)
        path = self._path(tenant, sha256)
        with self._translate_errors("read"):
            self._check_inside(path.parent)
            file = _open_blob(path)
        if file is None:
            raise not_stored_error(tenant, sha256)
        with file:
            yield verify_stored_pieces(tenant, sha256, self._read_pieces(file))

    def exists(self, tenant: str, sha256: str) -> bool:
        check_address(tenant, sha256)
        path = self._path(tenant, sha256)
        with self._translate_errors("read"):
            self._check_inside(path.parent)
            try:
                return stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                return False

    def delete(self, tenant: str, sha256: str) -> None:
        check_address(tenant, sha256)
        path = self._path(tenant, sha256)
        with self._translate_errors("delete from"):
            self._check_inside(path.parent)
            path.unlink(missing_ok=True)

    def delete_tenant(self, tenant: str) -> int:
        check_tenant(tenant)
        folder = self.base / tenant
        with self._translate_errors("delete from"):
            self._check_inside(folder)
            files = sum(len(names) for _, _, names in os.walk(folder))
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
        return files

    def list(self, tenant: str, *, after: str = "") -> Iterator[StoredBlob]:
        check_tenant(tenant)
        check_after(after)
        blobs = self.base / tenant / "sha256"
        with self._translate_errors("list"):
            self._check_inside(blobs)
        for folder in self._list_folders(blobs):
            if _FOLDER.fullmatch(folder.name) and folder.name >= after[:2]:
                for blob in self._list_entries(Path(folder)):
                    sha256 = folder.name + blob.name
                    if _NAME.fullmatch(blob.name) and sha256 > after and (stored_blob := self._stat_blob(sha256, blob)):
                        yield stored_blob

    def list_tenants(self) -> Iterator[str]:
        for folder in self._list_folders(self.base):
            if is_tenant(folder.name):
                yield folder.name

    def url(
        self,
        tenant: str,
        sha256: str,
        *,
        expires: timedelta,
        filename: str,  # noqa: ARG002 - a file: URL can neither rename
        media_type: str,  # noqa: ARG002 - nor say a type,
        inline: bool = False,  # noqa: ARG002 - nor whether to show it
    ) -> str:
        check_address(tenant, sha256)
        check_expires(expires)
        return self._path(tenant, sha256).as_uri()

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _path(self, tenant: str, sha256: str) -> Path:
        return self.base / tenant / "sha256" / sha256[:2] / sha256[2:]

    def _make_folders(self, folder: Path) -> None:
        if not self.base.is_dir():
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(self.base.parent)
        missing = [part for part in (folder, *folder.parents) if part.is_relative_to(self.base)]
        for part in reversed(missing[:-1]):
            part.mkdir(mode=0o700, exist_ok=True)

    def _check_inside(self, folder: Path) -> None:
        """Refuse a link on the way to a folder; the names themselves were checked before."""
        while folder != self.base:
            if folder.is_symlink():
                raise FileStoreUnavailable(
                    f"file store {folder} is a link to elsewhere; put a plain folder in its place"
                )
            folder = folder.parent

    def _read_pieces(self, file: BinaryIO) -> Iterator[bytes]:
        while True:
            with self._translate_errors("read"):
                piece = file.read(CHUNK_BYTES)
            if not piece:
                return
            yield piece

    def _list_folders(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        return (entry for entry in self._list_entries(folder) if entry.is_dir(follow_symlinks=False))

    def _list_entries(self, folder: Path) -> Sequence[os.DirEntry[str]]:
        with self._translate_errors("list"):
            try:
                return sorted(os.scandir(folder), key=lambda entry: entry.name)
            except FileNotFoundError:
                return ()

    def _stat_blob(self, sha256: str, blob: os.DirEntry[str]) -> StoredBlob | None:
        """The blob of a folder's entry; None if it is no file, or was deleted since the folder was read."""
        with self._translate_errors("list"), suppress(FileNotFoundError):
            status = blob.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return StoredBlob(sha256, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
        return None

    @contextmanager
    def _translate_errors(self, verb: str) -> Iterator[None]:
        """Translate the operating system's errors into ours."""
        try:
            yield
        except OSError as error:
            raise FileStoreUnavailable(
                f"cannot {verb} file store {self.base}: {error.strerror or error}; {_remedy(error)}"
            ) from error


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "free space there, or point THREADMILL_FILE_STORE_URL at a larger disk"
    if error.errno in _FORBIDDEN:
        return "let this user read and write it, or point THREADMILL_FILE_STORE_URL at another folder"
    return "check that it is a folder on a working disk, or point THREADMILL_FILE_STORE_URL at another one"


def _open_blob(path: Path) -> BinaryIO | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link stands where a blob should
            return None
        raise
    return os.fdopen(descriptor, "rb", buffering=0)


def _is_whole(path: Path, sha256: str, size: int) -> bool:
    file = _open_blob(path)
    if file is None:
        return False
    with file:
        if os.fstat(file.fileno()).st_size != size:
            return False
        try:
            return check_content(sha256, file) == size
        except FileRejected:
            return False


def _write_whole(path: Path, staging: Path, pieces: Iterator[bytes]) -> None:
    """Write elsewhere on the disk, sync, and rename: a reader sees the old state or the whole new file."""
    partial = staging / f".partial-{uuid4().hex}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(descriptor)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _remove_old_partials(staging: Path) -> None:
    """Remove what processes that died left half-written. The folder holds little else."""
    long_ago = time.time() - PARTIAL_SECONDS
    for entry in os.scandir(staging):
        with suppress(FileNotFoundError):
            if entry.name.startswith(".partial-") and entry.stat(follow_symlinks=False).st_mtime < long_ago:
                Path(entry).unlink()


def _sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable: a synced file with an unsynced name is lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
