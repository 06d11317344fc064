"""The threads of a user in which something happens: which are listed, and what of them has to be shown."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from producers.producer import Producer
from store.database.engine import Database
from store.settings import load
from store.tables import threads, turns
from store.turns.user_threads import ActiveThreads, list_user_threads
from tests.integration.producers.backend import answer, claim, register_agent

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_thread_is_listed_while_something_happens_in_it(any_database: Database) -> None:
    worker = register_agent(any_database)
    producer = Producer(load(database_url=any_database.settings.database_url.get_secret_value(), broker_url=NOWHERE))

    def age(thread: str) -> None:
        def change(connection):  # type: ignore[no-untyped-def]
            connection.execute(update(threads).where(threads.c.id == thread).values(updated_at=LONG_AGO))
            connection.execute(update(turns).where(turns.c.finished_at.is_not(None)).values(finished_at=LONG_AGO))

        any_database.run(change)

    def read(owner: str = "ann", tenant: str = "default", since: datetime | None = None) -> ActiveThreads:
        margin = timedelta(seconds=30)
        return any_database.run(list_user_threads, tenant, owner, since=since, margin=margin, limit=10)

    for thread in ("old", "running", "waiting"):
        producer.send(thread, "first", user="ann")
        answer(any_database, worker, thread, "hi")
        age(thread)
    producer.send("running", "second")
    claim(any_database, worker, "running")
    producer.send("waiting", "second")
    producer.send("new", "first", user="ann")
    answer(any_database, worker, "new", "hi")
    producer.send("other", "first", user="bob")
    producer.close()

    listed = {thread.id: thread for thread in read().threads}
    assert sorted(listed) == ["new", "running", "waiting"]
    fences = {
        name: (thread.fencing_token, thread.unfinished, thread.open_fencing_token, thread.first_fencing_token)
        for name, thread in listed.items()
    }
    assert fences == {"new": (1, 0, None, 1), "running": (2, 1, 2, 2), "waiting": (1, 1, None, None)}
    assert len(read(since=LONG_AGO).threads) == 4
    assert read(since=datetime.now(UTC) + timedelta(hours=1)).threads
    assert [thread.id for thread in read("bob").threads] == ["other"]
    assert read("nobody").threads == read(tenant="other").threads == ()


#: A broker that refuses: nobody has to be told.
NOWHERE = "redis://127.0.0.1:1/0"
