"""ClamAV's socket protocol, against a server that speaks it."""

import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conversation.errors import InvalidSettings, ScannerUnavailable
from store.scanning import Scanner, open_scanner
from store.settings import load

#: The test file of the antivirus industry, put together here so that no scanner takes this file for one.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
STREAM_MAX = 1_000_000


class Clamd(socketserver.StreamRequestHandler):
    """Answers `zINSTREAM` as clamd(8) says: pieces behind their lengths, and one of length 0 at the end."""

    def handle(self) -> None:
        if self.rfile.read(10) != b"zINSTREAM\0":
            self.wfile.write(b"UNKNOWN COMMAND\0")
            return
        content = b""
        while length := struct.unpack("!L", self.rfile.read(4))[0]:
            content += self.rfile.read(length)
            if len(content) > STREAM_MAX:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.wfile.write(b"stream: Eicar-Test-Signature FOUND\0" if EICAR in content else b"stream: OK\0")


class Mute(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.read(10)


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def clamd() -> Iterator[str]:
    yield from serving(Tcp(("127.0.0.1", 0), Clamd))


def serving(server: socketserver.TCPServer) -> Iterator[str]:
    with server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"clamd://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


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
    assert verdict.finding == "Eicar-Test-Signature"


def test_a_daemon_behind_a_unix_socket_is_asked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "clamd.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Clamd) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        assert scanner(f"clamd://{path}").scan([EICAR]).finding == "Eicar-Test-Signature"
        server.shutdown()


def test_a_file_above_the_scanners_limit_is_no_clean_file(clamd: str) -> None:
    with pytest.raises(ScannerUnavailable, match=r"size limit exceeded.*StreamMaxLength"):
        scanner(clamd).scan(b"x" * 50_000 for _ in range(1000))


def test_a_scanner_that_is_away_gives_no_verdict() -> None:
    with pytest.raises(ScannerUnavailable, match="THREADMILL_SCANNER_URL"):
        scanner("clamd://127.0.0.1:1").scan([b"x"])


def test_a_scanner_that_hangs_up_gives_no_verdict() -> None:
    for url in serving(Tcp(("127.0.0.1", 0), Mute)):
        with pytest.raises(ScannerUnavailable):
            scanner(url).scan([b"x"])


def test_a_scanner_that_says_nothing_gives_no_verdict_in_time() -> None:
    silent = threading.Event()

    class Silent(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            silent.wait(10)

    for url in serving(Tcp(("127.0.0.1", 0), Silent)):
        with pytest.raises(ScannerUnavailable):
            scanner(url, scanner_timeout=0.2).scan([b"x"])
        silent.set()


@pytest.mark.parametrize("url", ["http://host:1", "clamd://", "clamd:///", "clamd://host:99999", "host:3310"])
def test_what_is_no_address_of_a_scanner_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"THREADMILL_SCANNER_URL.*clamd://host:3310"):
        scanner(url)


def test_without_an_address_nothing_is_scanned() -> None:
    assert open_scanner(load()) is None
