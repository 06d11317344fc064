"""ClamAV's socket protocol, against a server that speaks it."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from conversation.errors import InvalidSettings, ScannerUnavailable
from store.antivirus import Scanner, open_scanner
from store.settings import load
from tests.clamd import EICAR, FINDING, Clamd, scanning


class Mute(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.read(10)


@pytest.fixture
def clamd() -> Iterator[str]:
    with scanning() as url:
        yield url


def scanner(url: str, **values: float) -> Scanner:
    opened = open_scanner(load(scanner_url=url, **values))
    assert opened is not None
    return opened


def test_a_clean_file_passes(clamd: str) -> None:
    assert scanner(clamd).scan([b"hello ", b"world" * 100_000]).is_clean


def test_what_the_scanner_finds_is_named(clamd: str) -> None:
    half = len(EICAR) // 2
    verdict = scanner(clamd).scan([EICAR[:half], b"", EICAR[half:]])

    assert not verdict.is_clean
    assert verdict.finding == FINDING


def test_a_daemon_behind_a_unix_socket_is_asked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "clamd.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Clamd) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        assert scanner(f"clamd://{path}").scan([EICAR]).finding == FINDING
        server.shutdown()


def test_a_file_above_the_scanners_limit_is_refused_and_not_clean(clamd: str) -> None:
    verdict = scanner(clamd).scan(b"x" * 50_000 for _ in range(1000))

    assert not verdict.is_clean
    assert verdict.finding is None
    assert verdict.refusal == "it is larger than the StreamMaxLength of clamd"


def test_another_error_of_the_scanner_is_no_verdict() -> None:
    class Failing(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(15)
            self.wfile.write(b"stream: Can't allocate memory ERROR\0")

    with scanning(Failing) as url, pytest.raises(ScannerUnavailable, match="allocate memory ERROR"):
        scanner(url).scan([b"x"])


def test_a_scanner_that_is_away_gives_no_verdict() -> None:
    with pytest.raises(ScannerUnavailable, match="THREADMILL_SCANNER_URL"):
        scanner("clamd://127.0.0.1:1").scan([b"x"])


def test_a_scanner_that_hangs_up_gives_no_verdict() -> None:
    with scanning(Mute) as url, pytest.raises(ScannerUnavailable):
        scanner(url).scan([b"x"])


def test_a_scanner_that_says_nothing_gives_no_verdict_in_time() -> None:
    silent = threading.Event()

    class Silent(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            silent.wait(10)

    with scanning(Silent) as url:
        with pytest.raises(ScannerUnavailable):
            scanner(url, scanner_timeout_seconds=0.2).scan([b"x"])
        silent.set()


def test_a_scanner_that_answers_a_byte_at_a_time_gives_no_verdict_in_time() -> None:
    stopped = threading.Event()

    class Trickling(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                while not stopped.wait(0.05):
                    self.wfile.write(b"x")

    with scanning(Trickling) as url:
        started = time.monotonic()
        with pytest.raises(ScannerUnavailable, match=r"took too long|TimeoutError"):
            scanner(url, scanner_timeout_seconds=0.5).scan([b"x"])
        assert 0.4 < time.monotonic() - started < 20
        stopped.set()


def test_a_file_that_is_read_slowly_is_given_up_in_time(clamd: str) -> None:
    def trickle() -> Iterator[bytes]:
        for _ in range(1000):
            time.sleep(0.05)
            yield b"x"

    started = time.monotonic()
    with pytest.raises(ScannerUnavailable, match=r"took too long.*THREADMILL_SCANNER_TIMEOUT_SECONDS"):
        scanner(clamd, scanner_timeout_seconds=0.5).scan(trickle())

    assert time.monotonic() - started < 20


@pytest.mark.parametrize("url", ["http://host:1", "clamd://", "clamd:///", "clamd://host:99999", "host:3310"])
def test_what_is_no_address_of_a_scanner_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"THREADMILL_SCANNER_URL.*clamd://host:3310"):
        scanner(url)


def test_without_an_address_nothing_is_scanned() -> None:
    assert open_scanner(load()) is None
