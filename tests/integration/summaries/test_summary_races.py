"""Turns and summaries at once on one thread, while somebody looks.

`SUMMARY_RACE_SECONDS=60` makes it a minute.
"""

import os
import threading
import time
from functools import partial
from typing import Any

import psycopg

from conversation.message import Message
from conversation.thread import Thread
from conversation.turn import Completed
from store import summaries, threads, turns
from store.engine import Database
from store.settings import load
from tests.integration.desk import Desk, marks

SECONDS = float(os.environ.get("SUMMARY_RACE_SECONDS", "8"))

#: One statement, so one snapshot: what the tables hold of the thread.
LOOK = """
with recursive t as (select * from threads where id = 't'),
chain as (
    select s.*, 0 as depth from summaries s, t where s.id = t.summary_id
    union all
    select s.*, depth + 1 from summaries s, chain c where s.id = c.previous_id
)
select
    (select last_seq from t), (select uncovered_messages from t), (select uncovered_tokens from t),
    (select coalesce(max(to_seq), 0) from chain where depth = 0),
    (select count(*) from messages m, t where m.thread_key = t.key),
    (select count(distinct m.id) from messages m, t where m.thread_key = t.key),
    (select count(*) from messages m, t where m.thread_key = t.key and m.seq >
        (select coalesce(max(to_seq), 0) from chain where depth = 0)),
    (select coalesce(sum(m.tokens), 0) from messages m, t where m.thread_key = t.key and m.seq >
        (select coalesce(max(to_seq), 0) from chain where depth = 0)),
    (select coalesce(json_agg(json_build_array(from_seq, to_seq) order by depth desc), '[]') from chain),
    (select m.role from messages m, t where m.thread_key = t.key and m.seq =
        1 + (select coalesce(max(to_seq), 0) from chain where depth = 0)),
    (select count(*) from turns u, t where u.thread_key = t.key and u.state = 'running' and
        exists (select 1 from messages m where m.turn_id = u.id and m.thread_key = t.key and m.seq <=
            (select coalesce(max(to_seq), 0) from chain where depth = 0))),
    (select summary_id is null or exists (select 1 from chain where depth = 0) from t)
"""


class Race:
    """Everybody at work on the thread `t`, until the time is over."""

    def __init__(self, database: Database) -> None:
        self.desk = Desk(database)
        self.database = database
        self.end = time.monotonic() + SECONDS
        self.said: list[str] = []
        self.written = self.lost = self.restored = self.looks = 0
        self.errors: list[BaseException] = []
        self._saying = threading.Lock()

    def run(self) -> None:
        work = [self.answer, self.append, self.summarize, self.summarize, self.restore, self.look]
        workers = [threading.Thread(target=self._until_over, args=(each,)) for each in work]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _until_over(self, work: Any) -> None:
        try:
            while time.monotonic() < self.end and not self.errors:
                work()
        except BaseException as error:  # noqa: BLE001 - told by the test, not by a thread that dies
            self.errors.append(error)

    def answer(self) -> None:
        question, answer = f"q{len(self.said)}", Message(role="assistant", content="so be it")
        claimed = self.desk.claim(content=question)
        time.sleep(0.002)
        self.database.run(
            partial(
                turns.settle,
                lease=claimed.lease,
                turn_id=claimed.id,
                ending=Completed(messages=(answer,)),
                release=True,
            )
        )
        with self._saying:
            self.said += [claimed.window[-1].id, answer.id]

    def append(self) -> None:
        thread = Thread("t", messages=[Message(role="user", content="by the way")])
        (message,) = thread.messages
        self.database.run(partial(threads.save, thread=thread, new=thread.new_messages))
        with self._saying:
            self.said.append(message.id)
        time.sleep(0.01)

    def summarize(self) -> None:
        draft = self.desk.draft(marks(keep=6))
        if draft is not None:
            time.sleep(0.005)
            stored = self.desk.put(draft)
            self.written, self.lost = self.written + (stored is not None), self.lost + (stored is None)

    def restore(self) -> None:
        time.sleep(0.05)
        self.restored += (
            self.database.run(partial(summaries.restore, tenant="default", thread_id="t")) is not None
        )

    def look(self) -> None:
        """In a snapshot of its own: whatever the others are in the middle of."""
        with psycopg.connect(str(self.database.settings.database_url.get_secret_value())) as connection:
            row = connection.execute(LOOK).fetchone()
        assert row is not None
        last, counted, tokens, to_seq, stored, ids, behind, behind_tokens, chain, first, running, has = row
        assert has, "the thread names a summary that is not there"
        assert stored == ids == last, "a message is missing, or there twice"
        assert (counted, tokens) == (behind, behind_tokens), "miscounted"
        assert behind == last - to_seq, "covered and uncovered are not the whole"
        assert all(from_seq == 1 for from_seq, _ in chain), "a cover with a hole"
        assert [to for _, to in chain] == sorted({to for _, to in chain}), "covers that overlap"
        assert first in ("user", None), "a turn was cut in two"
        assert running == 0, "a turn that runs is covered"
        self.looks += 1


def test_turns_and_summaries_at_once_lose_nothing_and_leave_no_hole(database_url: str) -> None:
    database = Database(load(database_url=database_url, db_pool_size=10))
    Desk(database).chat("t", 20)
    race = Race(database)

    race.run()

    assert race.errors == []
    assert min(race.written, race.restored, race.looks) > 3, vars(race)
    stored = database.run(partial(threads.load, tenant="default", thread_id="t")).messages
    assert len(stored) == len({m.id for m in stored})
    assert set(race.said) <= {m.id for m in stored}
    assert len(stored) == 40 + len(race.said)
    database.close()
