"""An S3 server for tests: OpenStack Swift with its S3 API, real and on disk, in one process.

    python tests/swift/server.py --directory D --port P

It runs in the foreground on 127.0.0.1 and answers `GET /healthcheck` when it is ready. The key is
`threadmill:tester`; the secret comes in the variable SWIFT_SECRET. Restarted on the same directory it
serves the same objects. What is true here: everything between HTTP and the files is Swift's own code;
only memcached is replaced, and flushing to the platter is left out, so that a put is fast.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import eventlet

# Swift expects its process to be patched before anything else of it is imported.
eventlet.monkey_patch(all=False, socket=True, select=True, thread=True)

from eventlet import wsgi  # noqa: E402
from swift.account.server import app_factory as account_app  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.middleware import (  # noqa: E402
    catch_errors,
    copy,
    gatekeeper,
    healthcheck,
    listing_formats,
    slo,
    symlink,
    tempauth,
    versioned_writes,
)
from swift.common.middleware.s3api import s3api  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.storage_policy import reload_storage_policies  # noqa: E402
from swift.container.server import app_factory as container_app  # noqa: E402
from swift.obj.server import app_factory as object_app  # noqa: E402
from swift.proxy.server import Application as Proxy  # noqa: E402

ACCOUNT = "threadmill"
USER = "tester"
DEVICE = "disk"
#: What is called around the proxy, the outermost first. Swift's documentation gives this order.
PIPELINE = (
    catch_errors, gatekeeper, healthcheck, "cache", listing_formats, s3api, tempauth,
    copy, slo, versioned_writes, symlink,
)  # fmt: skip


class Memory:
    """What Swift asks of memcached, kept in this process: values that expire, and counters."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[object, float]] = {}

    def get(self, key, **how):
        value, until = self._values.get(key, (None, 0.0))
        return value if until > time.monotonic() else None

    def set(self, key, value, *, time=0, **how):
        self._values[key] = (value, _until(time))

    def delete(self, key, **how):
        self._values.pop(key, None)

    def incr(self, key, delta=1, time=0):
        value = max(0, int(self.get(key) or 0) + int(delta))
        self.set(key, value, time=time)
        return value

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -int(delta), time)

    def set_multi(self, mapping, server_key, *, time=0, **how):
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys, server_key):
        return [self.get(key) for key in keys]


def _until(seconds: float) -> float:
    return time.monotonic() + seconds if seconds else float("inf")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--directory", type=Path, required=True)
    arguments.add_argument("--port", type=int, required=True)
    options = arguments.parse_args()
    secret = os.environ.get("SWIFT_SECRET")
    if not secret:
        sys.exit("SWIFT_SECRET is not set: it is the secret that clients have to sign with")
    serve(options.directory.absolute(), options.port, secret)


def serve(directory: Path, port: int, secret: str) -> None:
    """Serve until the process is ended."""
    prepare(directory)
    os.fsync = os.fdatasync = lambda descriptor: None
    configuration = {
        "swift_dir": str(directory),
        "devices": str(directory / "devices"),
        "mount_check": "false",
        "log_name": "swift",
        "recon_cache_path": str(directory),
    }
    for kind, app in (("account", account_app), ("container", container_app), ("object", object_app)):
        listener = eventlet.listen(("127.0.0.1", 0))
        write_ring(directory / f"{kind}.ring.gz", listener.getsockname()[1])
        eventlet.spawn(run, listener, app(configuration, fallocate_reserve="0"))
    run(eventlet.listen(("127.0.0.1", port)), pipeline(configuration, secret))


def prepare(directory: Path) -> None:
    """Make the folders, and refuse a file system on which Swift could not keep its metadata."""
    device = directory / "devices" / DEVICE
    device.mkdir(parents=True, exist_ok=True)
    try:
        os.setxattr(device, "user.probe", b"1")
    except OSError as error:
        sys.exit(f"{device} cannot keep extended attributes ({error.strerror}): choose another --directory")
    (directory / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = threadmill\n[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    utils.set_swift_dir(str(directory))
    reload_storage_policies()


def write_ring(path: Path, port: int) -> None:
    """Tell Swift that all data of one kind is on our one device, behind this port."""
    ring = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": DEVICE, "weight": 1})
    ring.rebalance()
    ring.get_ring().save(str(path))


def pipeline(configuration: dict[str, str], secret: str):
    """The proxy inside the middleware that makes it an S3 server."""
    settings = {
        s3api: {"s3_acl": "false", "location": "us-east-1", "min_segment_size": "5242880"},
        tempauth: {f"user_{ACCOUNT}_{USER}": f"{secret} .admin"},
        versioned_writes: {"allow_object_versioning": "true"},
    }
    proxy = app = Proxy({**configuration, "account_autocreate": "true"})
    memory = Memory()
    for step in reversed(PIPELINE):
        if step == "cache":
            app = with_cache(app, memory)
        else:
            app = step.filter_factory(configuration, **settings.get(step, {}))(app)
    proxy._pipeline_final_app = proxy._pipeline_request_logging_app = proxy
    return app


def with_cache(app, memory: Memory):
    def answer(environment, start_response):
        environment["swift.cache"] = memory
        return app(environment, start_response)

    return answer


def run(listener, app) -> None:
    wsgi.server(
        listener,
        app,
        log=utils.get_logger({}, "swift"),
        log_output=False,
        protocol=SwiftHttpProtocol,
        # S3 clients look for `ETag`; without this they would get `Etag`.
        capitalize_response_headers=False,
    )


if __name__ == "__main__":
    main()
