"""`threadmill gateway`: the HTTP gateway in the foreground, until Ctrl-C or SIGTERM.

What stays true: it answers nobody without a key, unless it is open, and then this machine alone; a stopping gateway
takes no new requests and lets those go on that it has.
"""

import logging
import math
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from threadmill.cli.output import print_note, print_text

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Config

    from store.settings import Settings

#: Seconds that an unused connection is kept: longer than proxies keep theirs, else they meet one that just closed.
KEEP_ALIVE_SECONDS = 75


def gateway(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on; 0 takes a free one.")] = 8700,
    is_open: Annotated[
        bool, typer.Option("--open", help="Ask for no key: on this machine's own address only.")
    ] = False,
) -> None:
    """Serve the HTTP API until Ctrl-C."""
    from conversation.errors import OperatorError
    from store.settings import current

    try:
        app = _make_app(current(), open_to=host if is_open else None)
    except ImportError as error:
        raise OperatorError(str(error)) from error
    listener = _listen(host, port)
    print_text(f"gateway: {_address_of(listener, host)}")
    if is_open:
        from producers.http.open_access import WARNING

        print_note(f"threadmill: {WARNING}")
    _serve(_configure(app, current()), listener)


def _make_app(settings: "Settings", *, open_to: str | None) -> "FastAPI":
    """Make the gateway. Raises `ImportError` where its packages are not installed."""
    from producers.http.app import create_gateway
    from tasks import log_config

    log_config.configure(settings)
    # It warns of each form that a client got wrong, and the client is told.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    authenticator = None
    if open_to is not None:
        from producers.http.open_access import OpenAccess

        authenticator = OpenAccess(open_to)
    return create_gateway(settings, authenticator=authenticator)


def _configure(app: "FastAPI", settings: "Settings") -> "Config":
    from uvicorn import Config

    return Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        root_path=settings.gateway_root_path,
        proxy_headers=bool(settings.gateway_trusted_proxies),
        forwarded_allow_ips=list(settings.gateway_trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.gateway_shutdown_grace_seconds),
    )


def _listen(host: str, port: int) -> socket.socket:
    from conversation.errors import OperatorError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        raise OperatorError(f"cannot listen on {host}, port {port}: {reason}") from error


def _address_of(listener: socket.socket, host: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _serve(config: "Config", listener: socket.socket) -> None:
    """Serve until a signal. It has ended well then, however the server hands the signal on."""
    from uvicorn import Server

    previous_handler = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with listener, suppress(KeyboardInterrupt):
            Server(config).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
