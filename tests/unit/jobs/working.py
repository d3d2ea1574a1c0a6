"""Workers in threads, whose engine is played by hand."""

import contextlib
import threading
from dataclasses import dataclass

from scoreline.jobs.worker import Worker
from scoreline.settings import Settings
from scoreline.types import Counts, Flush, Position, Receipt, Snapshot


@dataclass
class Done:
    counts: Counts
    bytes_in: int
    bytes_out: int
    sha256: str | None = None


class Engine:
    """Writes a header and ten chunks of ten rows, going on where the ledger ends; `hook(n)` runs before each chunk."""

    def __init__(self, hook=lambda *_: None):
        self.hook = hook
        self.tickets = []
        self.starts = []

    def __call__(self, ticket, ledger, progress, keys, partitions):
        self.tickets.append(ticket)
        if ledger.output_state() is None:
            ledger.begin({"stream": f"results/{ticket.job_id}"})
        done = list(ledger.flushes())
        self.starts.append(len(done))
        for number in range(len(done), 11):
            progress.stop_requested()
            self.hook(number, ticket, progress)
            rows = 10 if number else 0
            one = Flush(
                number, number, Position(100 * number, number + 1, 10 * number), Counts(rows, rows), Receipt({}), 5
            )
            ledger.record(one)
            progress.report(Snapshot(Counts(10 * number, 10 * number), 100 * number, 5 * (number + 1)))
        return Done(Counts(100, 100), 1000, 55)


def settings(world, **values):
    return Settings(database_url=world.store.url.render_as_string(hide_password=False), lease_seconds=1.5, **values)


@contextlib.contextmanager
def working(world, spool, engine, name="w1", **values):
    """A worker in a thread, for as long as the block lasts."""
    stop = threading.Event()
    worker = Worker(settings(world, **values), world.store, spool, worker_id=name, engine=engine)
    thread = threading.Thread(target=worker.work, args=(stop,))
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def ended(world, job_id):
    return lambda: world.get(job_id).state.final


def stage(spool, job_id, body=b"hour\n1\n"):
    writer = spool.writer(f"uploads/{job_id}/0")
    writer.write(body)
    writer.finish()
    spool.put_segment(f"results/{job_id}", "0000000000-0000000000.1", b"x\n")


def staged(spool, job_id):
    return {place for place in ("uploads", "results") if spool.blobs.list(f"{place}/{job_id}")}
