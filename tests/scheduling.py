"""Which tests share a process: those of a file, and files that need the same slow start.

What stays true: a test needs no other test to have run in its process. To run together only saves what
is made once for a process: the S3 server takes some three seconds.
"""

from typing import Any

from xdist.scheduler import LoadFileScheduling

#: Folders and files of one slow start.
TOGETHER = (
    (
        "tests/conformance/",
        "tests/integration/store/blobs/s3/",
        "tests/integration/producers/test_attachments.py",
        "tests/integration/producers/test_uploads.py",
        "tests/integration/store/doctor/test_files.py",
    ),
)


class BySlowStart(LoadFileScheduling):
    """Hands a process the tests of a file, or of all files that share a slow start."""

    def _split_scope(self, nodeid: str) -> Any:
        group = next((group for group in TOGETHER if nodeid.startswith(group)), None)
        return super()._split_scope(nodeid) if group is None else group[0]
