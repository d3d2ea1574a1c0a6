"""The durable record of which chunks of a job are in its output."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline import faults
from scoreline.errors import Cancelled, LedgerDamaged, LostLease, OutputError, RunStopped
from scoreline.jobs import states
from scoreline.jobs.model import JobState
from scoreline.jobs.patience import PATIENCE, patiently
from scoreline.jobs.states import Run
from scoreline.store import Store, now
from scoreline.store.tables.jobs import job_parts, jobs, ledger
from scoreline.types import Counts, Flush, JsonObject, Position, Receipt

T = TypeVar("T")

_PROVED = tuple(column.name for column in ledger.c if column.name not in {"proof", "at"})


class StoreLedger:
    """The ledger of one run of a job's part; see `protocols.Ledger`.

    Each write names the run in its WHERE clause: LostLease once another run has the job, Cancelled once it is aborted.
    While the database is away a write is tried again, until `stopped` gives a reason to end (which is raised) or two
    minutes have passed (StoreError).
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        part: int = 0,
        *,
        stopped: Callable[[], RunStopped | None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._run = run
        self._part = part
        self._stopped = stopped
        self._patience = patience
        self._total: tuple[Counts, int] | None = None  # rows and bytes recorded so far, once this run has asked

    def output_state(self) -> JsonObject | None:
        """Return the state stored by `begin`, or None."""
        return self._patiently(lambda: self._store.run(self._output_state))

    def left(self) -> None:
        """Return nothing: the output of a job that is over is removed by `cleaning.sweep`.

        A run that removed it before its job's end is noted could die in between, and leave a job that goes on without
        what its ledger speaks of.
        """

    def begin(self, state: JsonObject) -> None:
        """Store an output's state; the first run's stays."""
        self._patiently(lambda: self._store.run(lambda connection: self._begin(connection, state)))

    def flushes(self) -> Sequence[Flush]:
        """Return all that is recorded, in order."""
        job_id, part = self._run.job_id, self._part
        return self._patiently(lambda: self._read(lambda connection: flushes(connection, job_id, part)))

    def record(self, flush: Flush) -> None:
        """Add a flush and grow the job's counters, in one transaction. The same flush of the same run again is fine.

        Raises RuntimeError for one that does not follow the last: a fault of the program, not to be mended by guessing.
        """
        self._total = self._patiently(lambda: self._store.run(lambda connection: self._record(connection, flush)))

    def check(self) -> None:
        """Raise why the run must end, as far as that is known by now."""
        reason = self._stopped()
        if reason is not None:
            raise type(reason)(reason.message)

    def seal(self, counts: Counts, bytes_out: int) -> None:
        """Let nobody abort or pause the job any more, if every row is accounted for; nothing is seen of it before.

        Raises OutputError with the difference, and why the run may not go on itself.
        """
        self._patiently(lambda: self._store.run(lambda connection: self._seal(connection, counts, bytes_out)))

    def pin_source(self, identity: JsonObject) -> JsonObject:
        """Store what tells the job's source from any other; the first told stays."""
        return self._patiently(lambda: self._store.run(lambda connection: self._pin_source(connection, identity)))

    def pin_model(self, model: str) -> str:
        """Store which model the job scores with, as its server calls it; the first one told stays."""
        return self._patiently(lambda: self._store.run(lambda connection: self._pin(connection, model)))

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._store.read() as connection:
            return work(connection)

    def _output_state(self, connection: Connection) -> JsonObject | None:
        self._hold(connection, {})
        query = sa.select(job_parts.c.output_state).where(_part(self._run.job_id, self._part))
        return connection.scalar(query)

    def _begin(self, connection: Connection, state: JsonObject) -> None:
        self._hold(connection, {})
        mine = _part(self._run.job_id, self._part)
        if connection.scalar(sa.select(sa.func.count()).select_from(job_parts).where(mine)):
            return
        connection.execute(
            job_parts.insert().values(job_id=self._run.job_id, part=self._part, output_state=state, next_chunk=0)
        )

    def _seal(self, connection: Connection, counts: Counts, bytes_out: int) -> None:
        self._hold(connection, {"committing_at": sa.func.coalesce(jobs.c.committing_at, now())})
        recorded, size = total(connection, self._run.job_id)
        whole = counts.read == counts.scored + counts.failed + counts.skipped
        if not whole or (counts, bytes_out) != (recorded, size):
            raise OutputError(
                f"Reconciling the job failed: the run counted {_told(counts, bytes_out)}, and the ledger has "
                f"{_told(recorded, size)}; report it with the worker's log, and run the job again."
            )

    def _pin_source(self, connection: Connection, identity: JsonObject) -> JsonObject:
        self._hold(connection, {})
        known = sa.select(jobs.c.source_identity).where(jobs.c.id == self._run.job_id)
        if (found := connection.scalar(known)) is not None:
            return dict(found)
        self._hold(connection, {"source_identity": identity})
        return identity

    def _pin(self, connection: Connection, model: str) -> str:
        self._hold(connection, {"server_model": sa.func.coalesce(jobs.c.server_model, model)})
        return str(connection.scalar(sa.select(jobs.c.server_model).where(jobs.c.id == self._run.job_id)))

    def _record(self, connection: Connection, flush: Flush) -> tuple[Counts, int]:
        """The lock on the job's row, taken by its update, keeps other runs out until the commit."""
        if self._known(connection, flush):  # the answer to the commit was lost, not the commit
            return total(connection, self._run.job_id)
        counts, size = self._total or total(connection, self._run.job_id)
        counts, size = counts + flush.counts, size + flush.bytes_out
        self._hold(connection, states.grown(counts, None, size) | {"silent_runs": 0})
        step = (
            job_parts.update()
            .where(_part(self._run.job_id, self._part), job_parts.c.next_chunk == flush.first)
            .values(next_chunk=flush.last + 1)
        )
        if connection.execute(step).rowcount != 1:
            raise RuntimeError(f"chunks {flush.first} to {flush.last} do not follow the last ones in the ledger")
        connection.execute(ledger.insert().values(_row(flush, self._run, self._part)))
        faults.at("ledger.recording")
        return counts, size

    def _known(self, connection: Connection, flush: Flush) -> bool:
        found = connection.execute(
            sa.select(ledger.c.last_chunk).where(
                ledger.c.job_id == self._run.job_id,
                ledger.c.part == self._part,
                ledger.c.first_chunk == flush.first,
                ledger.c.fence == self._run.fence,
            )
        ).scalar()
        return found == flush.last

    def _hold(self, connection: Connection, values: dict[str, Any]) -> None:
        hold(connection, self._run, values)

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, self._stopped, self._patience)


def hold(connection: Connection, run: Run, values: dict[str, Any]) -> None:
    """Change the job's row for a run. Raises Cancelled and LostLease when the run may not."""
    change = jobs.update().where(states.held(run)).values({"lease_beat": jobs.c.lease_beat + 1} | values)
    if connection.execute(change).rowcount == 1:
        return
    if states.state_of(connection, run.job_id) is JobState.ABORTED:
        raise Cancelled(f"Job {run.job_id} was aborted; nothing more is written for it.")
    raise LostLease(f"Run {run.fence} of job {run.job_id} lost its lease; nothing more is written by it.")


def flushes(connection: Connection, job_id: str, part: int, after: int = -1) -> list[Flush]:
    """Return a part's flushes whose first chunk comes later than `after`, in order.

    Raises LedgerDamaged when one is missing or is not what was recorded.
    """
    query = sa.select(ledger).where(ledger.c.job_id == job_id, ledger.c.part == part, ledger.c.first_chunk > after)
    found = connection.execute(query.order_by(ledger.c.first_chunk)).all()
    expected = 0 if after < 0 else None
    for row in found:
        _check(row, expected)
        expected = row.last_chunk + 1
    next_chunk = connection.scalar(sa.select(job_parts.c.next_chunk).where(_part(job_id, part)))
    if expected is not None and expected != (next_chunk or 0):
        raise _damaged(job_id, f"it has chunks up to {expected} of {next_chunk}")
    return [_flush(row) for row in found]


def output_states(connection: Connection, job_id: str) -> list[JsonObject]:
    """Return what the outputs of a job's parts stored before they began."""
    query = sa.select(job_parts.c.output_state).where(job_parts.c.job_id == job_id)
    return [dict(state) for state in connection.scalars(query.order_by(job_parts.c.part)) if state is not None]


def error_receipts(connection: Connection, job_id: str) -> list[Receipt]:
    """Return the receipts of the list of a job's failed rows, in order."""
    query = sa.select(ledger.c.errors).where(ledger.c.job_id == job_id, ledger.c.errors.is_not(None))
    return [Receipt(data) for data in connection.scalars(query.order_by(ledger.c.part, ledger.c.first_chunk))]


def total(connection: Connection, job_id: str) -> tuple[Counts, int]:
    """Return the rows and the output bytes that the ledger has for a job."""
    columns = (
        ledger.c.rows_read,
        ledger.c.rows_scored,
        ledger.c.rows_failed,
        ledger.c.rows_skipped,
        ledger.c.bytes_out,
    )
    query = sa.select(*(sa.func.sum(column) for column in columns)).where(ledger.c.job_id == job_id)
    *rows, size = (int(value or 0) for value in connection.execute(query).one())
    return Counts(*rows), size


def _check(row: Row[Any], expected: int | None) -> None:
    """Raise LedgerDamaged unless the row is what was recorded and, if that is known, begins with this chunk."""
    if row.proof is not None and row.proof != _proof(row._asdict()):
        raise _damaged(row.job_id, f"the checksum of chunks {row.first_chunk} to {row.last_chunk} does not match")
    if expected not in {None, row.first_chunk}:
        raise _damaged(row.job_id, f"chunk {expected} is missing")


def _proof(values: Mapping[str, Any]) -> int:
    """Return the checksum of a row, over all that another run would go on with."""
    text = json.dumps([values[name] for name in _PROVED], sort_keys=True, separators=(",", ":"))
    return zlib.crc32(text.encode())


def _damaged(job_id: str, cause: str) -> LedgerDamaged:
    return LedgerDamaged(
        f"Ledger: the record of job {job_id} is damaged: {cause}; check the database's disk and run the job again."
    )


def _part(job_id: str, part: int) -> sa.ColumnElement[bool]:
    return sa.and_(job_parts.c.job_id == job_id, job_parts.c.part == part)


def _row(flush: Flush, run: Run, part: int) -> dict[str, Any]:
    row = {
        "job_id": run.job_id,
        "part": part,
        "first_chunk": flush.first,
        "last_chunk": flush.last,
        "end_offset": flush.end.offset,
        "end_chunk": flush.end.chunk,
        "end_row": flush.end.row,
        "rows_read": flush.counts.read,
        "rows_scored": flush.counts.scored,
        "rows_failed": flush.counts.failed,
        "rows_skipped": flush.counts.skipped,
        "receipt": flush.receipt.data,
        "bytes_out": flush.bytes_out,
        "errors": None if flush.errors is None else flush.errors.data,
        "fence": run.fence,
        "at": now(),
    }
    return row | {"proof": _proof(row)}


def _flush(row: Row[Any]) -> Flush:
    return Flush(
        row.first_chunk,
        row.last_chunk,
        Position(row.end_offset, row.end_chunk, row.end_row),
        Counts(row.rows_read, row.rows_scored, row.rows_failed, row.rows_skipped),
        Receipt(row.receipt),
        row.bytes_out,
        None if row.errors is None else Receipt(row.errors),
    )


def _told(counts: Counts, size: int) -> str:
    return (
        f"{counts.read} rows read, {counts.scored} scored, {counts.failed} failed, {counts.skipped} skipped and "
        f"{size} bytes written"
    )
