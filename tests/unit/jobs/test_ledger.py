import pytest
import sqlalchemy as sa

from scoreline.errors import Cancelled, LedgerDamaged, LostLease, StoreError
from scoreline.jobs import lease, states
from scoreline.jobs import ledger as ledgers
from scoreline.jobs.ledger import StoreLedger
from scoreline.store.tables.jobs import ledger as table
from scoreline.types import Counts, Flush, Position, Receipt
from tests.unit.jobs.world import flush


@pytest.fixture
def run(world):
    world.job()
    return lease.claim(world.store, world.server_id, "w1")


def test_flushes_come_back_as_they_were_recorded(world, run):
    ledger = StoreLedger(world.store, run)
    assert ledger.output_state() is None
    ledger.begin({"stream": "results/x", "parts": [1, {"a": None}]})
    assert ledger.output_state() == {"stream": "results/x", "parts": [1, {"a": None}]}
    made = [
        flush(0, 0),
        Flush(1, 4, Position(2**40, 5, 7), Counts(7, 5, 1, 1), Receipt({"segment": "ü", "n": 2**60}), 2**41),
        flush(5, 5, 3, 1),
    ]
    for one in made:
        ledger.record(one)
    assert list(ledger.flushes()) == made
    assert list(StoreLedger(world.store, run).flushes()) == made
    with world.store.read() as connection:
        assert ledgers.total(connection, run.job_id) == (Counts(10, 7, 2, 1), 2**41 + 20)
        assert [one.first for one in ledgers.flushes(connection, run.job_id, 0, after=1)] == [5]
        assert [one.first for one in ledgers.flushes(connection, run.job_id, 0, after=0)] == [1, 5]
    job = world.get(run.job_id)
    assert (job.counts, job.bytes_out) == (Counts(10, 7, 2, 1), 2**41 + 20)


def test_the_first_runs_output_state_stays(world, run):
    StoreLedger(world.store, run).begin({"n": 1})
    StoreLedger(world.store, run).begin({"n": 2})
    assert StoreLedger(world.store, run).output_state() == {"n": 1}


def test_the_first_model_that_answers_is_the_jobs(world, run):
    assert StoreLedger(world.store, run).pin_model("churn:v1") == "churn:v1"
    assert StoreLedger(world.store, run).pin_model("churn:v2") == "churn:v1"
    assert world.store.run(lambda connection: states.let_go(connection, run, fault=False))
    again = lease.next_run(world.store, "w2")
    assert StoreLedger(world.store, again).pin_model("churn:v3") == "churn:v1"
    with pytest.raises(LostLease):
        StoreLedger(world.store, run).pin_model("churn:v1")


def test_a_flush_must_follow_the_last_one(world, run):
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    ledger.record(flush(0, 0))
    for wrong in (flush(2, 3), flush(0, 1)):
        with pytest.raises(RuntimeError, match="do not follow"):
            ledger.record(wrong)
    assert [(one.first, one.last) for one in ledger.flushes()] == [(0, 0)]
    assert world.get(run.job_id).bytes_out == 10


def test_a_refused_flush_changes_no_counter(world, run):
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    ledger.record(flush(0, 0))
    before = world.get(run.job_id)
    stale = StoreLedger(world.store, states.Run(run.job_id, 0, "w1"))
    with pytest.raises(LostLease):
        stale.record(flush(1, 1, 10))
    with pytest.raises(LostLease):
        stale.begin({})
    assert world.get(run.job_id) == before


def test_nothing_is_written_for_an_aborted_job(world, run):
    ledger = StoreLedger(world.store, run)
    ledger.begin({"n": 1})
    assert world.store.run(lambda c: states.abort(c, run.job_id, "Cancelled"))
    with pytest.raises(Cancelled):
        ledger.record(flush(0, 0))
    with pytest.raises(Cancelled):
        ledger.output_state()


def test_a_run_is_never_told_to_remove_its_output(world, run):
    """It could die between that and the note that its job is over."""
    ledger = StoreLedger(world.store, run)
    ledger.begin({"n": 1})
    assert ledger.left() is None


class Flaky:
    """A store whose commits are sometimes lost: before they are done, or only the answer to them."""

    def __init__(self, store, *, after: bool, times: int):
        self.store = store
        self.after = after
        self.times = times

    def read(self):
        return self.store.read()

    def run(self, work):
        if self.times:
            self.times -= 1
            if self.after:
                self.store.run(work)
            raise StoreError("the database is away")
        return self.store.run(work)


@pytest.mark.parametrize("after", [False, True])
def test_a_database_that_goes_away_loses_and_doubles_nothing(world, run, after):
    StoreLedger(world.store, run).begin({})
    ledger = StoreLedger(Flaky(world.store, after=after, times=1), run)
    ledger.record(flush(0, 0))
    ledger._store.times = 1
    ledger.record(flush(1, 2, 20))
    ledger.record(flush(3, 3, 5))
    assert [(one.first, one.last) for one in ledger.flushes()] == [(0, 0), (1, 2), (3, 3)]
    assert world.get(run.job_id).counts == Counts(25, 25, 0, 0)
    assert world.get(run.job_id).bytes_out == 30


def test_patience_ends_with_the_time_or_with_the_run(world, run):
    with pytest.raises(StoreError, match="away"):
        StoreLedger(Flaky(world.store, after=False, times=99), run, patience=0.3).begin({})
    stopped = StoreLedger(Flaky(world.store, after=False, times=99), run, stopped=lambda: LostLease("gone"))
    with pytest.raises(LostLease, match="gone"):
        stopped.begin({})


def test_each_row_names_the_run_that_wrote_it(world, run):
    StoreLedger(world.store, run).begin({})
    StoreLedger(world.store, run).record(flush(0, 0))
    lease.release_owner(world.store, "w1")
    second = lease.next_run(world.store, "w2")
    StoreLedger(world.store, second).record(flush(1, 1, 1))
    with world.store.read() as connection:
        query = sa.select(table.c.first_chunk, table.c.fence).order_by(table.c.first_chunk)
        assert [tuple(row) for row in connection.execute(query)] == [(0, 1), (1, 2)]


DAMAGES = [
    {"end_offset": table.c.end_offset + 1},
    {"end_row": table.c.end_row + 4},
    {"last_chunk": 9},
    {"rows_scored": 0, "rows_failed": 10},
    {"bytes_out": 11},
    {"receipt": {"segment": "1-1", "crc32": 2}},
    {"fence": 7},
]


@pytest.mark.parametrize("damage", DAMAGES, ids=[next(iter(damage)) for damage in DAMAGES])
def test_a_changed_row_is_found_before_anything_is_built_on_it(world, run, damage):
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    for number in range(3):
        ledger.record(flush(number, number))
    assert len(ledger.flushes()) == 3
    with world.store.begin() as connection:
        connection.execute(table.update().where(table.c.first_chunk == 1).values(damage))
    with pytest.raises(LedgerDamaged, match=f"job {run.job_id} is damaged.*run the job again"):
        ledger.flushes()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_row_is_found(world, run, missing):
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    for number in range(3):
        ledger.record(flush(number, number))
    with world.store.begin() as connection:
        connection.execute(table.delete().where(table.c.first_chunk == missing))
    with pytest.raises(LedgerDamaged, match="missing" if missing < 2 else "up to 2 of 3"):
        ledger.flushes()


def test_rows_older_than_the_checksum_are_taken_as_they_are(world, run):
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    ledger.record(flush(0, 0))
    with world.store.begin() as connection:
        connection.execute(table.update().values(proof=None))
    assert len(ledger.flushes()) == 1
