"""Errors that say that a process has run out of something, and those that look like them."""

import asyncio
import errno
import os
import socket
import sqlite3
import subprocess
from functools import partial
from multiprocessing import popen_fork
from types import ModuleType

import aiohttp
import botocore.exceptions
import httpx
import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from conversation.errors import DatabaseUnavailable, FileStoreUnavailable
from conversation.exhaustion import FORKING, Exhausted, Resource, is_exhaustion, missing_resource, resource_of

WORDS = "connection failed: could not create socket: Too many open files"


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def chained(error: BaseException, *outer: BaseException, is_hidden: bool = False) -> BaseException:
    """The last of these, each raised for the one before it, as `raise … from None` does where that is hidden."""
    for each in outer:
        try:
            try:
                raise error  # noqa: TRY301 - that is what is tried
            except BaseException:  # noqa: BLE001 - whatever it is
                if is_hidden:
                    raise each from None
                raise each  # noqa: B904 - that is what is tried
        except BaseException as raised:  # noqa: BLE001 - as above
            error = raised
    return error


class Liar(Exception):
    """An exception whose own code would hang or raise, were it asked."""

    @property
    def errno(self) -> int:
        raise KeyboardInterrupt

    def __str__(self) -> str:
        raise KeyboardInterrupt


EXHAUSTIONS: dict[str, tuple[BaseException, Resource]] = {
    "no thread": (RuntimeError("can't start new thread"), Resource.THREADS),
    "no memory": (MemoryError(), Resource.MEMORY),
    "ENOMEM": (of_system(errno.ENOMEM), Resource.MEMORY),
    "EMFILE": (of_system(errno.EMFILE), Resource.DESCRIPTORS),
    "ENFILE": (of_system(errno.ENFILE), Resource.DESCRIPTORS),
    "ENOSPC": (of_system(errno.ENOSPC), Resource.DISK),
    "EDQUOT": (of_system(errno.EDQUOT), Resource.DISK),
    "ours": (Exhausted(Resource.THREADS), Resource.THREADS),
    "aiohttp": (aiohttp.ClientOSError(errno.EMFILE, "Cannot connect"), Resource.DESCRIPTORS),
    "httpx": (chained(of_system(errno.EMFILE), httpx.ConnectError("all attempts failed")), Resource.DESCRIPTORS),
    "boto": (
        chained(of_system(errno.EMFILE), botocore.exceptions.EndpointConnectionError(endpoint_url="http://s3"),
                FileStoreUnavailable("away"), is_hidden=True), Resource.DESCRIPTORS,
    ),
    "psycopg": (
        chained(psycopg.OperationalError(WORDS), OperationalError("", {}, Exception()), DatabaseUnavailable("away")),
        Resource.DESCRIPTORS,
    ),
    "a group": (ExceptionGroup("all", [ValueError(), ExceptionGroup("one", [MemoryError()])]), Resource.MEMORY),
    "a long chain": (chained(MemoryError(), *(ValueError(str(n)) for n in range(50))), Resource.MEMORY),
}  # fmt: skip
OTHERS: dict[str, BaseException] = {
    "words that a user chose": RuntimeError("I can't start new thread of conversation"),
    "words in a file's name": FileNotFoundError(errno.ENOENT, "Too many open files"),
    "words in an error of a tool": ValueError("Too many open files"),
    "words of PostgreSQL": psycopg.errors.InsufficientResources("Too many open files"),
    "words of a search, as SQLite quotes them": sqlite3.OperationalError(
        'fts5: syntax error near "Too many open files"'
    ),
    "a name": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "nothing to read yet": of_system(errno.EAGAIN),
    "a database that is locked": sqlite3.OperationalError("database is locked"),
    "a liar": Liar(),
    "a liar in a group": BaseExceptionGroup("liars", [Liar(), KeyboardInterrupt()]),
    "a cancellation": asyncio.CancelledError(),
}


@pytest.mark.parametrize("name", EXHAUSTIONS)
def test_an_error_says_what_has_run_out_however_it_is_wrapped(name: str) -> None:
    error, resource = EXHAUSTIONS[name]

    assert resource_of(error) is resource
    assert is_exhaustion(chained(error, ValueError("wrapped"), RuntimeError("again"), is_hidden=True))


@pytest.mark.parametrize("name", OTHERS)
def test_an_error_that_only_sounds_like_it_says_nothing(name: str) -> None:
    assert not is_exhaustion(OTHERS[name])


def test_a_chain_that_bites_its_tail_has_an_end() -> None:
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first

    assert not is_exhaustion(first)


def test_a_process_that_cannot_be_forked_is_told_from_a_pipe_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    # What the system says of a fork that it refuses, out of C as there.
    read_nothing = partial(os.read, reading, 1)
    monkeypatch.setattr(os, "fork", read_nothing)

    def fork() -> None:
        os.fork()

    def read() -> None:
        read_nothing()

    for call, resource in ((fork, Resource.THREADS), (read, None)):
        with pytest.raises(BlockingIOError) as raised:
            call()
        assert resource_of(raised.value) is resource
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("module", [subprocess, popen_fork])
def test_what_starts_processes_has_the_names_by_which_it_is_known(module: ModuleType) -> None:
    start = module.Popen._execute_child if module is subprocess else module.Popen._launch

    assert not FORKING.isdisjoint(start.__code__.co_names)


def test_a_process_that_has_some_of_everything_lacks_nothing() -> None:
    assert missing_resource() is None
