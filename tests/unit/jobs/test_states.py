import re
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from scoreline.jobs import lease, states
from scoreline.jobs.model import JobState
from scoreline.jobs.states import Run
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs
from scoreline.types import Counts, Snapshot

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def claim(world, owner="w1", server_id=None):
    return lease.claim(world.store, server_id or world.server_id, owner)


def run_all(work, n):
    """Run `work(i)` in n threads that start together; return what they returned."""
    results, errors, gate = [None] * n, [], threading.Barrier(n)

    def body(i):
        gate.wait()
        try:
            results[i] = work(i)
        except BaseException as exc:  # noqa: BLE001 -- shown in the test's own thread
            errors.append(exc)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


def test_the_first_in_line_is_claimed_first_and_the_others_see_their_place(world):
    ids = [world.job() for _ in range(3)]
    for place, job_id in enumerate(ids):
        world.set(job_id, queued_at=EPOCH + timedelta(seconds=[1, 0, 1][place]))
    order = [ids[1], *sorted([ids[0], ids[2]])]  # by time, then by id
    assert [world.get(job_id).queue_position for job_id in order] == [0, 1, 2]
    run = claim(world)
    assert run == Run(order[0], 1, "w1")
    assert world.get(order[0]).state is JobState.RUNNING
    assert world.get(order[0]).queue_position is None
    # The slot is taken: the running job is ahead of all.
    assert [world.get(job_id).queue_position for job_id in order[1:]] == [1, 2]
    assert claim(world) is None
    assert world.get(order[1]).status_details == "Waiting for a processing slot: 1 job ahead"
    assert world.get(order[2]).status_details == "Waiting for a processing slot: 2 jobs ahead"


def test_slots_are_a_setting_of_the_server_and_servers_do_not_wait_for_each_other(world):
    roomy = world.server(slots=2)
    first, second, third = (world.job(server_id=roomy) for _ in range(3))
    other = world.job()
    assert {claim(world, server_id=roomy).job_id for _ in range(2)} == {first, second}
    assert claim(world, server_id=roomy) is None
    assert world.get(third).queue_position == 2
    assert claim(world).job_id == other


def test_the_due_server_is_the_one_with_a_free_slot_whose_job_waits_longest(world):
    def due():
        with world.store.read() as connection:
            return states.due_server(connection)

    assert due() is None
    second = world.server()
    late = world.job(server_id=second)
    early = world.job()
    world.set(early, queued_at=EPOCH)
    world.set(late, queued_at=EPOCH + timedelta(seconds=1))
    assert due() == world.server_id
    claim(world)
    assert due() == second
    claim(world, server_id=second)
    world.job()
    assert due() is None


def test_a_job_without_data_takes_no_place(world):
    waiting = world.job(queued=False)
    job = world.get(waiting)
    assert (job.queue_position, job.queued) == (None, False)
    assert job.status_details.startswith("Waiting for CSV data to be pushed")
    assert claim(world) is None


@pytest.mark.parametrize("repeat", range(3))
def test_of_many_claimers_exactly_one_gets_the_job(world, repeat):
    stores = [Store(world.store.url.render_as_string(hide_password=False)) for _ in range(4)]
    for _ in range(20):
        job_id = world.job()
        runs = run_all(lambda i: lease.claim(stores[i], world.server_id, f"w{i}"), 4)
        won = [run for run in runs if run]
        assert [run.job_id for run in won] == [job_id]
        assert world.get(job_id).lease_owner == won[0].owner
        assert world.store.run(lambda connection, run=won[0]: states.fail(connection, run, "enough"))
    for store in stores:
        store.dispose()


def test_many_claimers_never_fill_more_slots_than_there_are(world):
    server = world.server(slots=3)
    for _ in range(8):
        world.job(server_id=server)
    runs = run_all(lambda i: lease.claim(world.store, server, f"w{i}"), 8)
    assert len({run.job_id for run in runs if run}) == 3 == len([run for run in runs if run])


def test_abort_and_completion_at_the_same_moment_leave_one_final_state(world):
    for _ in range(25):
        job_id = world.job()
        run = claim(world)
        done, aborted = run_all(
            lambda i, job_id=job_id, run=run: world.store.run(
                (lambda c: states.complete(c, run, Counts(), 0, 0))
                if i == 0
                else (lambda c: states.abort(c, job_id, "Cancelled"))
            ),
            2,
        )
        assert done != aborted
        assert world.get(job_id).state is (JobState.COMPLETED if done else JobState.ABORTED)


def change(world, name, run, job_id):
    work = {
        "abort": lambda c: states.abort(c, job_id, "stop"),
        "fail": lambda c: states.fail(c, run, "broken"),
        "complete": lambda c: states.complete(c, run, Counts(3, 2, 1, 0), 10, 20),
        "renew": lambda c: states.renew(c, run, None),
        "let_go": lambda c: states.let_go(c, run),
        "enqueue": lambda c: states.enqueue(c, job_id),
        "hide": lambda c: states.hide(c, job_id, EPOCH),
    }[name]
    return world.store.run(work)


ALL = ("abort", "fail", "complete", "renew", "let_go", "enqueue", "hide")
ALLOWED = {
    "waiting": {"abort", "enqueue"},
    "queued": {"abort"},
    "running": {"abort", "fail", "complete", "renew", "let_go"},
    "released": {"abort"},
    "completed": {"hide"},
    "aborted": {"hide"},
}


@pytest.mark.parametrize("state", ALLOWED)
def test_each_change_happens_only_from_the_states_it_expects(world, state):
    for name in ALL:
        job_id = world.job(server_id=(server := world.server()), queued=state != "waiting")
        run = Run(job_id, 1, "w1")
        if state in ("running", "released", "completed", "aborted"):
            assert claim(world, server_id=server) == run
        before = {"released": "let_go", "completed": "complete", "aborted": "abort"}.get(state)
        if before:
            assert change(world, before, run, job_id)
        old = world.get(job_id)
        assert change(world, name, run, job_id) == (name in ALLOWED[state]), name
        if name not in ALLOWED[state]:
            assert world.get(job_id) == old


def test_only_the_current_run_of_a_job_can_change_it(world):
    job_id = world.job()
    run = claim(world)
    for stranger in (Run(job_id, 0, "w1"), Run(job_id, 2, "w1"), Run(job_id, 1, "w2")):
        for name in ("fail", "complete", "renew", "let_go"):
            assert not change(world, name, stranger, job_id)
    assert change(world, "renew", run, job_id)


def test_the_log_tells_the_story_in_order(world):
    job_id = world.job()
    claim(world)
    assert change(world, "complete", Run(job_id, 1, "w1"), job_id)
    lines = world.logs(job_id)
    stamp = r"at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
    for line, pattern in zip(
        lines,
        (
            rf"Job submitted to the queue {stamp}: 0 job\(s\) ahead",
            rf"Job started processing {stamp}",
            rf"Job done processing {stamp}: 2 rows scored, 1 failed, 0 skipped",
        ),
        strict=True,
    ):
        assert re.fullmatch(pattern, line), line
    job = world.get(job_id)
    assert job.status_details == lines[-1]
    assert (job.percentage, job.counts, job.bytes_in, job.bytes_out) == (100.0, Counts(3, 2, 1, 0), 10, 20)


def test_a_reason_is_shown_and_logged(world):
    job_id = world.job()
    claim(world)
    assert change(world, "fail", Run(job_id, 1, "w1"), job_id)
    job = world.get(job_id)
    assert (job.state, job.status_details, job.lease_owner) == (JobState.ABORTED, "broken", None)
    assert world.logs(job_id)[-1].startswith("Aborted at 2")
    assert world.logs(job_id)[-1].endswith(": broken")


def test_counters_and_percentage_never_go_back(world):
    job_id = world.job(upload_bytes=1000)
    run = claim(world)

    def renew(*numbers, bytes_in):
        snapshot = Snapshot(Counts(*numbers), bytes_in, 10 * numbers[0])
        assert lease.renew(world.store, run, snapshot)
        return world.get(job_id)

    job = renew(10, 8, 1, 1, bytes_in=500)
    assert (job.counts, job.bytes_in, job.bytes_out, job.percentage) == (Counts(10, 8, 1, 1), 500, 100, 50.0)
    job = renew(4, 4, 0, 0, bytes_in=200)
    assert (job.counts, job.bytes_in, job.bytes_out, job.percentage) == (Counts(10, 8, 1, 1), 500, 100, 50.0)
    job = renew(2**40, 2**40, 0, 0, bytes_in=2**41)
    assert job.counts == Counts(2**40, 2**40, 1, 1)
    assert job.bytes_in == 2**41
    assert job.percentage == 99.0  # 100 is for COMPLETED alone


def test_the_percentage_uses_the_announced_size_while_the_upload_runs(world):
    job_id = world.job(upload_state="running", upload_bytes=100, upload_expected=400)
    run = claim(world)
    lease.renew(world.store, run, Snapshot(Counts(), 100, 0))
    assert world.get(job_id).percentage == 25.0
    unknown = world.job(server_id=(server := world.server()), upload_state="running", upload_bytes=100)
    run = claim(world, server_id=server)
    lease.renew(world.store, run, Snapshot(Counts(), 100, 0))
    assert world.get(unknown).percentage == 0.0


def test_times_of_a_job_are_in_order_even_when_the_clock_was_set_back(world):
    future = datetime.now(UTC) + timedelta(days=1)
    job_id = world.job(created_at=future)
    claim(world)
    assert change(world, "complete", Run(job_id, 1, "w1"), job_id)
    job = world.get(job_id)
    assert job.created_at <= job.queued_at <= job.started_at <= job.finished_at
    assert job.elapsed_seconds == 0


def test_elapsed_seconds_count_from_the_start_to_the_end(sqlite_world):
    job_id = sqlite_world.job()
    assert sqlite_world.get(job_id).elapsed_seconds == 0
    claim(sqlite_world)
    sqlite_world.set(job_id, started_at=datetime.now(UTC) - timedelta(seconds=7.9))
    assert sqlite_world.get(job_id).elapsed_seconds == 7
    sqlite_world.set(job_id, started_at=EPOCH, finished_at=EPOCH + timedelta(seconds=61.5))
    assert sqlite_world.get(job_id).elapsed_seconds == 61


def test_polling_an_idle_database_is_cheap(world):
    for _ in range(3):
        lease.next_run(world.store, "w")
    row = _row(world)
    empty = _polls(world)
    with world.store.begin() as connection:
        connection.execute(jobs.insert(), [{**row, "id": f"{n:024x}"} for n in range(2000)])
    assert _polls(world) < 10 * empty


def _polls(world):
    """Seconds of a look for work: the quickest of many, for the machine may do other things."""
    quickest = 60.0
    for _ in range(50):
        begun = time.perf_counter()
        assert lease.next_run(world.store, "w") is None
        quickest = min(quickest, time.perf_counter() - begun)
    return quickest


def _row(world):
    job_id = world.job(queued=False, state=JobState.COMPLETED)
    with world.store.read() as connection:
        return dict(connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().one())
