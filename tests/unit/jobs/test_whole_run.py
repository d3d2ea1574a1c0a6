"""The worker with the real pipeline, spool and ledger; only the prediction server is an object in this process."""

import csv
import gzip
import io
import threading
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest

from scoreline.engines import run_ticket
from scoreline.errors import Conflict
from scoreline.jobs import service, uploading
from scoreline.jobs.model import JobState
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.worker import Worker
from scoreline.settings import Settings
from scoreline.types import Counts, Scores
from tests.unit.jobs.world import wait_for

ROWS = 3000


class HalfScorer:
    """P(yes) = hour / 48; waits in each call for `go`, if given."""

    def __init__(self, go=None, after=0):
        self.go = go
        self.after = after
        self.calls = 0

    def score(self, features, options):
        self.calls += 1
        if self.go is not None and self.calls > self.after:
            assert self.go.wait(30)
        hours = features.column("hour").to_numpy(zero_copy_only=False).astype(np.float64)
        return Scores(np.column_stack([1 - hours / 48, hours / 48]))

    def close(self):
        if self.go is not None:
            self.go.set()


class Working:
    def __init__(self, world, spool, scorer, name, **values):
        url = world.store.url.render_as_string(hide_password=False)
        settings = Settings(database_url=url, lease_seconds=2, **values)
        engine = lambda *given: run_ticket(*given, scorer=scorer)  # noqa: E731
        self.worker = Worker(settings, world.store, spool, worker_id=name, engine=engine)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.worker.work, args=(self.stop,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def rows():
    return [(f"{n:05d}", n % 24) for n in range(ROWS)]


SOURCE = ("id,hour\n" + "".join(f"{key},{hour}\n" for key, hour in rows())).encode()
EXPECTED = (
    "late_yes_PREDICTION,late_no_PREDICTION,late_PREDICTION,THRESHOLD,POSITIVE_CLASS,id\n"
    + "".join(
        f"{hour / 48!r},{1 - hour / 48!r},{'yes' if hour / 48 > 0.25 else 'no'},0.25,yes,{key}\n"
        for key, hour in rows()
    )
).encode()


PACKERS = {
    "plain": lambda body: body,
    "gzip": gzip.compress,
    "zstd": lambda body: pa.Codec("zstd").compress(body, asbytes=True),
}


def create(world, **more):
    document = {
        "deploymentId": world.deployment_id,
        "passthroughColumns": ["id"],
        "predictionThreshold": 0.25,
        "chunkSize": 400,
        "numConcurrent": 2,
        **more,
    }
    return service.create(world.store, world.caller, JobSpec.from_document(document))


def send(world, spool, job, body=SOURCE):
    uploading.begins(world.store, world.caller, job.id, "0", expected=len(body))
    writer = spool.writer(f"uploads/{job.id}/0")
    writer.write(body)
    writer.finish()
    uploading.done(world.store, job.id, len(body), "0")


def result(world, spool, job):
    blocks = service.result_flushes(world.store, job.id)
    return b"".join(
        b"".join(spool.read_segment(f"results/{job.id}", receipt.data["segment"])) for _, receipt, _ in blocks
    )


def test_a_file_is_scored_and_every_row_accounted_for(world, spool):
    job = create(world)
    with Working(world, spool, HalfScorer(), "w1"):
        send(world, spool, job)
        wait_for(lambda: service.state(world.store, job.id).final, 30)
        wait_for(lambda: not spool.blobs.list(f"uploads/{job.id}"))
    job = service.get(world.store, world.caller, job.id)
    assert (job.state, job.counts) == (JobState.COMPLETED, Counts(ROWS, ROWS))
    assert (job.bytes_in, job.bytes_out, job.percentage) == (len(SOURCE), len(EXPECTED), 100.0)
    assert result(world, spool, job) == EXPECTED
    assert spool.reader(f"results/{job.id}").size() == len(EXPECTED)


@pytest.mark.parametrize("packing", PACKERS)
def test_a_run_that_is_taken_up_again_gives_the_same_bytes(world, spool, packing):
    body = PACKERS[packing](SOURCE)
    job = create(world)
    halted = HalfScorer(threading.Event(), after=40)
    with Working(world, spool, halted, "w1"):
        send(world, spool, job, body)
        wait_for(lambda: halted.calls > 40, 30)
        wait_for(lambda: service.get(world.store, world.caller, job.id).counts.read > 0, 30)
    between = service.get(world.store, world.caller, job.id)
    assert (between.state, between.lease_owner) == (JobState.RUNNING, None)
    assert 0 < between.counts.read < ROWS
    early = result(world, spool, job)
    second = HalfScorer()
    with Working(world, spool, second, "w2"):
        wait_for(lambda: service.state(world.store, job.id).final, 30)
    after = service.get(world.store, world.caller, job.id)
    assert (after.state, after.fence, after.counts) == (JobState.COMPLETED, 2, Counts(ROWS, ROWS))
    whole = result(world, spool, job)
    assert whole == EXPECTED
    assert whole.startswith(early)
    assert (after.bytes_in, after.percentage) == (len(body), 100.0)
    assert second.calls < ROWS * 9 / 400  # only what was missing


def listed(world, spool, job):
    """The list of failed rows as it is now: (number, source row)."""
    blocks = [
        b"".join(spool.read_segment(f"errors/{job.id}", receipt.data["segment"], crc32=receipt.data["crc32"]))
        for receipt in service.error_receipts(world.store, job.id)
    ]
    found = list(csv.reader(io.StringIO(b"".join(blocks).decode())))
    assert all(reason == "column 'hour': 'late' is not a number" for _, reason, _ in found)
    return [(int(number), row) for number, _, row in found]


def test_failed_rows_are_listed_once_whoever_scores_them(world, spool):
    cells = [(key, "late" if number % 7 == 3 else hour) for number, (key, hour) in enumerate(rows())]
    expected = [(n + 1, f"{key},late") for n, (key, hour) in enumerate(cells) if hour == "late"]
    job = create(world, abortOnError=False)
    halted = HalfScorer(threading.Event(), after=40)
    with Working(world, spool, halted, "w1"):
        send(world, spool, job, ("id,hour\n" + "".join(f"{key},{hour}\n" for key, hour in cells)).encode())
        wait_for(lambda: halted.calls > 40, 30)
        wait_for(lambda: service.error_receipts(world.store, job.id), 30)
        early = listed(world, spool, job)  # while it runs
        assert early == expected[: len(early)]
    assert len(listed(world, spool, job)) == service.get(world.store, world.caller, job.id).counts.failed
    spool.put_segment(f"errors/{job.id}", "0000000900-0000000901.1", b"of a run that died before it could say so")
    with Working(world, spool, HalfScorer(), "w2"):
        wait_for(lambda: service.state(world.store, job.id).final, 30)
    after = service.get(world.store, world.caller, job.id)
    assert (after.state, after.counts.failed) == (JobState.COMPLETED, len(expected))
    assert listed(world, spool, job) == expected
    assert len(b"".join(spool.reader(f"errors/{job.id}").blocks()).splitlines()) == len(expected)


def test_the_list_outlives_a_job_that_is_aborted_for_it(world, spool):
    job = create(world)
    with Working(world, spool, HalfScorer(), "w1"):
        with suppress(Conflict):
            send(world, spool, job, b"id,hour\n" + b"".join(b"%d,late\n" % n for n in range(500)))
        wait_for(lambda: service.state(world.store, job.id).final, 30)
        wait_for(lambda: world.column(job.id, "cleaned_at"), 15)
    after = service.get(world.store, world.caller, job.id)
    assert f"{after.counts.failed} of {after.counts.failed} rows (100.0 %) failed" in after.status_details
    assert listed(world, spool, job) == [(n + 1, f"{n},late") for n in range(after.counts.failed)]
    assert not spool.blobs.list(f"results/{job.id}")


def test_an_abort_stops_the_calls_and_removes_the_result(world, spool):
    job = create(world)
    halted = HalfScorer(threading.Event(), after=20)
    with Working(world, spool, halted, "w1"):
        send(world, spool, job)
        wait_for(lambda: halted.calls > 20, 30)
        service.abort(world.store, world.caller, job.id)
        wait_for(lambda: not spool.blobs.list(f"results/{job.id}") and not spool.blobs.list(f"uploads/{job.id}"), 10)
        calls = halted.calls
        assert calls < 30
    assert halted.calls == calls
    assert service.get(world.store, world.caller, job.id).state is JobState.ABORTED


def test_an_upload_that_breaks_ends_the_job_with_its_reason(world, spool):
    job = create(world)
    with Working(world, spool, HalfScorer(), "w1"):
        uploading.begins(world.store, world.caller, job.id, "0")
        writer = spool.writer(f"uploads/{job.id}/0")
        writer.write(SOURCE[:5000])
        writer.seal()
        wait_for(lambda: service.state(world.store, job.id) is JobState.RUNNING)
        assert uploading.broken(world.store, job.id, "The client went away after 5000 bytes.", received=5000)
        writer.discard()
        wait_for(lambda: not spool.blobs.list(f"results/{job.id}") and not spool.blobs.list(f"uploads/{job.id}"), 15)
    job = service.get(world.store, world.caller, job.id)
    assert (job.state, job.status_details) == (JobState.ABORTED, "The client went away after 5000 bytes.")


def test_a_source_without_the_models_columns_is_a_reason(world, spool):
    job = create(world)
    with Working(world, spool, HalfScorer(), "w1"):
        with suppress(Conflict):  # the run may be over before the upload's end is noted
            send(world, spool, job, b"id,minute\n1,2\n")
        wait_for(lambda: service.state(world.store, job.id).final, 20)
    assert "hour" in service.get(world.store, world.caller, job.id).status_details
