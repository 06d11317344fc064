"""Settings that a worker cannot work with."""

import pytest

from conversation.errors import InvalidSettings
from store.settings import load
from tasks.worker import start_worker


def test_a_worker_does_not_keep_files_where_nobody_else_sees_them() -> None:
    with pytest.raises(InvalidSettings, match="THREADMILL_FILE_STORE_URL: workers need a folder or a bucket"):
        start_worker(load(file_store_url="memory:"), queues=["turns"])
