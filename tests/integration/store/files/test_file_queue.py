"""The queue of files: whose file a free process takes next, beside another tenant's many."""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

import psycopg
import pytest
from sqlalchemy import Connection, insert, select, text, update

from conversation.ids import new_id
from conversation.prepared_file import PreparationResult
from store.database.column_types import clock
from store.database.engine import Database
from store.files import file_queue, prepared_rows
from store.files.file_queue import FileClaim
from store.settings.units import TenantLimit
from store.tables import blobs
from store.turns import workers
from tests.integration.plans import rows_read, run_explained

KILOBYTE, MEGABYTE = 1024, 1024 * 1024
#: Everything that is on by default.
DEFAULT = TenantLimit(percent=90)


class Queue:
    """Files of tenants, and processes that take them; `a3` is the third file of tenant `a`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.names: dict[str, str] = {}
        self.last_served = ""

    def hash_of(self, name: str) -> str:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        self.names[sha256] = name
        return sha256

    def store(self, *names: str, size: int = KILOBYTE) -> None:
        rows = [
            {"tenant": name[0], "sha256": self.hash_of(name), "size": size, "media_type": "text/plain"}
            for name in names
        ]
        self.database.run(lambda c: c.execute(insert(blobs).values(created_at=clock()), rows) and None)

    def request(self, *names: str, size: int = KILOBYTE, in_background: bool = False) -> int:
        """Store files of one tenant, where they are new, and request them together."""
        new = [name for name in names if name not in self.names.values()]
        if new:
            self.store(*new, size=size)
        hashes = [self.hash_of(name) for name in names]
        return self.database.run(file_queue.request, tenant=names[0][0], hashes=hashes, in_background=in_background)

    def claim(self, limit: TenantLimit = TenantLimit(), *, has_neighbours: bool = False) -> FileClaim:  # noqa: B008
        claim = partial(file_queue.claim, after=self.last_served, limit=limit, has_neighbours=has_neighbours)
        found = self.database.run(claim)
        if found.preparation is not None:
            self.last_served = found.preparation.tenant
        return found

    def take(self, count: int = 1, limit: TenantLimit = TenantLimit()) -> list[str]:  # noqa: B008
        """The names of the files that free processes take, one after the other."""
        claims = [self.claim(limit) for _ in range(count)]
        return [self.names[each.preparation.sha256] for each in claims if each.preparation is not None]

    def finish(self, *names: str) -> None:
        for name in names:
            prepared = PreparationResult(text="text")
            write = partial(prepared_rows.write, tenant=name[0], sha256=self.hash_of(name), prepared=prepared)
            self.database.run(write, rendition_hashes={})

    def die(self, *names: str) -> None:
        """Have the processes die that prepare these."""
        hashes = [self.hash_of(name) for name in names]
        past = update(blobs).where(blobs.c.sha256.in_(hashes)).values(preparing_until=blobs.c.created_at)
        self.database.run(lambda c: c.execute(past) and None)

    def waiting(self) -> set[str]:
        hashes = select(blobs.c.sha256).where(blobs.c.queue_place.is_not(None))
        return {self.names[sha256] for sha256 in self.database.run(lambda c: list(c.execute(hashes).scalars()))}

    def open_places(self, *places: int) -> None:
        """Have living workers of files, with so many places each."""
        for each in places:
            register = partial(workers.register, worker=new_id(), host="", pid=1, serves={}, queues=["files"])
            self.database.run(register, lease_duration_seconds=600, file_places=each)


@pytest.fixture
def queue(any_database: Database) -> Queue:
    return Queue(any_database)


def named(tenant: str, count: int) -> Sequence[str]:
    return [f"{tenant}{number:02}" for number in range(count)]


def test_a_limit_holds_for_those_who_claim_at_once(database: Database) -> None:
    queue, limit = Queue(database), TenantLimit(count=1)
    queue.request("a00", "a01")

    with ThreadPoolExecutor(1) as pool:

        def claim_beside_another(connection: Connection) -> tuple[FileClaim, Future[FileClaim]]:
            first = file_queue.claim(connection, limit=limit)
            other = pool.submit(queue.claim, limit)
            # Nothing says that it waits: it has the time to end, were it not to.
            wait({other}, timeout=1)
            return first, other

        first, other = database.run(claim_beside_another)

    assert first.preparation is not None
    assert other.result().is_held_back


def test_a_small_file_waits_for_one_preparation_behind_another_tenants_many(queue: Queue) -> None:
    many = named("a", 40)
    queue.request(*many, size=MEGABYTE)
    begun = queue.take(2)
    queue.request("b00")

    queue.finish(begun[0])
    assert queue.take() == ["b00"]
    queue.finish("b00")
    assert queue.take() == [many[2]]


def test_one_tenant_alone_takes_all_places_in_the_order_of_its_requests(queue: Queue) -> None:
    queue.open_places(2, 2)
    queue.request(*named("a", 6))

    assert queue.take(4, DEFAULT) == named("a", 4)


def test_each_tenant_has_its_turn_however_many_files_the_others_have(queue: Queue) -> None:
    for tenant in "abc":
        queue.request(*named(tenant, 9))

    begun = []
    for _ in range(9):
        begun += queue.take()
        queue.finish(begun[-1])

    assert [name[0] for name in begun] == list("abc" * 3)


def test_the_tenant_that_has_fewest_under_way_comes_first(queue: Queue) -> None:
    queue.request(*named("a", 9))
    assert queue.take(3) == named("a", 3)
    queue.request(*named("b", 9))

    assert queue.take(4) == ["b00", "b01", "b02", "a03"]


def test_beside_other_tenants_a_part_of_the_places_is_kept_from_each(queue: Queue) -> None:
    queue.open_places(2, 2)
    queue.request(*named("a", 9))

    assert len([queue.claim(DEFAULT, has_neighbours=True).preparation for _ in range(3)]) == 3
    held_back = queue.claim(DEFAULT, has_neighbours=True)
    assert (held_back.preparation, held_back.is_held_back) == (None, True)
    queue.request("b00")
    assert queue.take(2, DEFAULT) == ["b00"]


def test_a_number_holds_for_a_tenant_alone_too(queue: Queue) -> None:
    queue.request(*named("a", 3))

    assert queue.take(3, TenantLimit(count=2)) == named("a", 2)
    assert queue.claim(TenantLimit(count=2)).is_held_back
    queue.finish("a00")
    assert queue.take(3, TenantLimit(count=2)) == ["a02"]


def test_within_a_tenant_a_small_file_passes_large_ones_and_those_of_a_long_request(queue: Queue) -> None:
    queue.request("a-large", size=40 * MEGABYTE)
    queue.request(*named("a", 16))
    queue.request("a-small")

    assert queue.take(4) == ["a00", "a-small", "a01", "a02"]


def test_what_no_turn_waits_for_comes_last_until_a_turn_does(queue: Queue) -> None:
    queue.request(*named("a", 3), in_background=True)
    queue.request("a-wanted")
    # SQLite's clock counts milliseconds.
    time.sleep(0.005)
    queue.request("a02")

    assert queue.take(4) == ["a-wanted", "a02", "a00", "a01"]


def test_a_file_is_given_one_place_and_begun_once(queue: Queue) -> None:
    assert queue.request("a00", "a01") == 2
    assert queue.request("a00", "a01") == 0

    assert queue.take(3) == ["a00", "a01"]
    assert queue.request("a00") == 0  # it is under way
    queue.finish("a00")
    assert queue.request("a00") == 0
    assert queue.take() == []


def test_the_file_of_a_process_that_died_is_requested_again_and_holds_no_place(queue: Queue) -> None:
    queue.request("a00", "a01")
    assert queue.take(limit=TenantLimit(count=1)) == ["a00"]
    assert queue.claim(TenantLimit(count=1)).is_held_back
    queue.die("a00")

    assert queue.request("a00") == 1
    assert queue.take(limit=TenantLimit(count=1)) == ["a00"]


def test_a_file_that_is_put_off_holds_no_place(queue: Queue) -> None:
    queue.request("a00", "a01")
    lost = queue.claim().preparation
    assert lost is not None
    queue.database.run(prepared_rows.release, preparation=lost, retry_seconds=prepared_rows.LOST_RETRY_SECONDS)

    assert queue.request("a00") == 0  # not before its time
    assert queue.take(2, TenantLimit(count=1)) == ["a01"]


def test_what_needs_no_preparation_any_more_leaves_the_queue(queue: Queue) -> None:
    queue.request("a00", "a01")
    sha256 = queue.hash_of("a00")
    # As by a process that knew nothing of the queue.
    prepared = update(blobs).where(blobs.c.sha256 == sha256).values(prepared_at=clock())
    queue.database.run(lambda c: c.execute(prepared) and None)

    assert queue.claim().is_settled
    assert queue.take(2) == ["a01"]
    assert queue.waiting() == set()


def test_files_that_nobody_requested_are_found_of_each_tenant(queue: Queue) -> None:
    queue.store(*named("a", 30))
    queue.store("b00", "c00")

    found = queue.database.run(file_queue.load_waiting, older_than_seconds=0, limit=6, after="b")

    assert [tenant for tenant, _ in found] == ["c", "a", "a", "a", "b"]


def test_processes_that_claim_at_once_begin_different_files(database: Database) -> None:
    queue = Queue(database)
    queue.request("a00", "a01", "a02")
    with database.engine.connect() as one, database.engine.connect() as other, one.begin(), other.begin():
        other.execute(text("SET LOCAL lock_timeout = '2s'"))
        begun = [file_queue.claim(connection).preparation for connection in (one, other)]

    assert [queue.names[each.sha256] for each in begun if each is not None] == ["a00", "a01"]


#: Files of one tenant that wait, or that nobody requested, and one of another tenant.
STOCK = """
    insert into blobs (tenant, sha256, size, media_type, created_at, queue_place)
    select 'many', encode(sha256(n::text::bytea), 'hex'), 1000, 'text/plain', now() - interval '1 hour',
        case n %% 2 when 0 then now() end
    from generate_series(1, %(files)s) n
    union all select 'other', repeat('0', 64), 1000, 'text/plain', now() - interval '1 hour', now()
"""
#: Rows that one step of a plan may read; far from all that wait.
READ_MAX = 60


@pytest.mark.parametrize(
    "files", [1_500, pytest.param(1_000_000, marks=[pytest.mark.endurance, pytest.mark.timeout(600)])]
)
def test_what_waits_costs_a_claim_and_a_request_nothing(database: Database, database_url: str, files: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(STOCK, {"files": files})
        connection.execute("vacuum analyze blobs")

    def claim(connection: Connection) -> None:
        begun = [file_queue.claim(connection, after="many", limit=DEFAULT).preparation for _ in range(3)]
        assert [each.tenant for each in begun if each is not None] == ["other", "many", "many"]

    operations: dict[str, Callable[[Connection], object]] = {
        "claim": claim,
        "request": partial(file_queue.request, tenant="many", hashes=["0" * 64, "1" * 64]),
        "beat": partial(file_queue.load_waiting, older_than_seconds=60, limit=20, scans=True),
    }
    for name, operation in operations.items():
        nodes = run_explained(database, operation)
        read = {f"{name}: {node['Node Type']} of {node.get('Relation Name')}": rows_read(node) for node in nodes}
        assert {step: rows for step, rows in read.items() if rows > READ_MAX} == {}
        assert "blobs" not in {node.get("Relation Name") for node in nodes if node["Node Type"] == "Seq Scan"}
