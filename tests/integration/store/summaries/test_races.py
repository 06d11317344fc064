"""Turns, summaries, restores and retention at once on one thread, while somebody looks.

`SUMMARY_RACE_SECONDS=60` makes it a minute.
"""

import os
import threading
import time
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.thread import Thread
from conversation.turn import Completed
from store.database.engine import Database
from store.retention import deletion, move_cut, policies
from store.retention.policy import Policy
from store.settings import load
from store.threads import repository
from store.turns import settle as turns
from tests.integration.desk import Desk, marks

SECONDS = float(os.environ.get("SUMMARY_RACE_SECONDS", "3"))
#: Seconds more, at most, until each of them had something to do: a busy machine says nothing.
PATIENCE_SECONDS = 120

#: Retention keeps so many messages, and all that no summary covers.
KEPT = 30
#: One statement, so one snapshot: what the tables hold of the thread.
LOOK = """
with recursive t as (select * from threads where id = 't'),
chain as (
    select s.*, 0 as depth from summaries s, t where s.id = t.summary_id
    union all
    select s.*, depth + 1 from summaries s, chain c where s.id = c.previous_id
),
m as (select messages.* from messages, t where thread_key = t.key),
told as (select coalesce(max(to_seq), 0) as to_seq from chain where depth = 0),
spans as (select min(seq) as begins, max(seq) as ends from m where turn_id is not null group by turn_id),
ends as (select to_seq from summaries, t where thread_key = t.key union select history_starts_after from t)
select
    t.last_seq, t.history_starts_after, t.uncovered_messages, t.uncovered_tokens, told.to_seq,
    (select count(*) from m where seq > t.history_starts_after) as stored,
    (select count(*) - count(distinct id) from m) as doubled,
    (select count(*) from m where seq > told.to_seq) as behind,
    (select coalesce(sum(tokens), 0) from m where seq > told.to_seq) as behind_tokens,
    (select coalesce(json_agg(json_build_array(from_seq, to_seq) order by depth desc), '[]') from chain)
        as chain,
    (select role from m where seq = 1 + told.to_seq) as first,
    (select count(*) from turns u where u.thread_key = t.key and u.state = 'running' and
        exists (select 1 from m where turn_id = u.id and seq <= told.to_seq)) as running,
    (select count(*) from ends join spans on begins <= to_seq and ends.to_seq < spans.ends) as parted,
    t.summary_id is null or exists (select 1 from chain where depth = 0) as is_there
from t, told
"""


class Race:
    """Everybody at work on the thread `t`, until the time is over."""

    def __init__(self, database: Database) -> None:
        self.desk = Desk(database)
        self.database = database
        self.end = time.monotonic() + SECONDS
        self.said: list[str] = []
        self.written = self.lost = self.restored = self.refused = self.cuts = self.looks = 0
        self.key = self.desk.row().key
        self.errors: list[BaseException] = []
        self._saying = threading.Lock()

    def run(self) -> None:
        work = [self.answer, self.append, self.summarize, self.summarize, self.restore, self.retain]
        work.append(self.look)
        workers = [threading.Thread(target=self._until_over, args=(each,)) for each in work]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _until_over(self, work: Any) -> None:
        try:
            while not self._is_over() and not self.errors:
                work()
        except BaseException as error:  # noqa: BLE001 - told by the test, not by a thread that dies
            self.errors.append(error)

    def _is_over(self) -> bool:
        have_met = min(self.written, self.restored, self.looks) > 3 and self.cuts > 0
        return time.monotonic() > self.end + (0 if have_met else PATIENCE_SECONDS)

    def answer(self) -> None:
        question, answer = f"q{len(self.said)}", Message(role="assistant", content="so be it")
        claimed = self.desk.claim(content=question)
        time.sleep(0.002)
        self.database.run(
            turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=Completed(messages=(answer,)), release=True
        )
        with self._saying:
            self.said += [claimed.window[-1].id, answer.id]
        # Nobody asks for a moment: retention leaves a thread alone that is at work.
        time.sleep(0.003)

    def append(self) -> None:
        thread = Thread("t", messages=[Message(role="user", content="by the way")])
        (message,) = thread.messages
        self.database.run(repository.save, thread=thread, new=thread.new_messages)
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
        time.sleep(0.15)
        try:
            self.restored += self.desk.restore() is not None
        except InvalidInput:
            # Retention deleted what would have to come back.
            self.refused += 1

    def retain(self) -> None:
        """Move the cut behind the summary; delete what lies below."""
        time.sleep(0.02)
        self.cuts += self.database.run(move_cut.move_cutoff, key=self.key).outcome == "cut"
        self.database.run(deletion.remove_next_batch, key=self.key)

    def look(self) -> None:
        """In a snapshot of its own: whatever the others are in the middle of."""
        url = str(self.database.settings.database_url.get_secret_value())
        with psycopg.connect(url, row_factory=namedtuple_row) as connection:
            row: Any = connection.execute(LOOK).fetchone()
        assert row.is_there, "the thread names a summary that is not there"
        assert row.doubled == 0, "a message is there twice"
        assert row.stored == row.last_seq - row.history_starts_after, "a message is missing"
        assert row.history_starts_after <= row.to_seq, "retention took what no summary covers"
        assert (row.uncovered_messages, row.uncovered_tokens) == (row.behind, row.behind_tokens), "miscounted"
        assert row.behind == row.last_seq - row.to_seq, "covered and uncovered are not the whole"
        assert all(from_seq == 1 for from_seq, _ in row.chain), "a cover with a hole"
        assert [to for _, to in row.chain] == sorted({to for _, to in row.chain}), "covers that overlap"
        assert row.first in ("user", None), "what follows a summary is no question"
        assert row.running == 0, "a turn that runs is covered"
        assert row.parted == 0, "a turn has messages on both sides of a summary's end, or of a cut"
        self.looks += 1


def test_turns_summaries_and_retention_at_once_lose_nothing_and_leave_no_hole(database_url: str) -> None:
    database = Database(load(database_url=database_url, db_pool_size=10))
    Desk(database).chat("t", 20)
    policy = Policy(tenant="default", max_messages=KEPT, keep_summary=True)
    database.run(policies.put, policy=policy)
    race = Race(database)

    race.run()

    assert race.errors == []
    assert min(race.written, race.restored, race.looks) > 3, vars(race)
    assert race.cuts > 0, vars(race)
    row = race.desk.row()
    assert row.last_seq == 40 + len(race.said)
    stored = database.run(repository.load, tenant="default", thread_id="t").messages
    assert [message.seq for message in stored] == [*range(row.history_starts_after + 1, row.last_seq + 1)]
    assert len(set(race.said)) == len(race.said)
    assert {message.id for message in stored if message.seq > 40} <= set(race.said)
    database.close()
