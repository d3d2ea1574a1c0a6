"""One look at several jobs: each as it is now, with all of its log, which is read only when it has grown."""

from __future__ import annotations

from scoreline.jobs import states, watching
from scoreline.jobs import store as rows


def test_jobs_are_seen_as_they_are(world):
    one, two = world.job(), world.job()
    first = watching.look(world.store, {one: None, two: None, "no such job": None})
    assert set(first) == {one, two}
    assert first[one].job == world.get(one)
    assert list(first[one].lines) == world.logs(one) != []
    assert watching.look(world.store, first) == first
    assert world.store.run(lambda connection: states.abort(connection, two, "Cancelled by ada"))
    second = watching.look(world.store, first)
    assert second[one] == first[one]
    assert second[two].job.state == "ABORTED"
    assert second[two].lines == (*first[two].lines, world.logs(two)[-1])


def test_logs_are_read_when_they_have_grown(world, monkeypatch):
    one, two = world.job(), world.job()
    seen = watching.look(world.store, {one: None, two: None})
    read, real = [], rows.logs
    monkeypatch.setattr(
        rows, "logs", lambda connection, job_ids: read.append(list(job_ids)) or real(connection, job_ids)
    )
    watching.look(world.store, seen)
    assert read == []
    assert world.store.run(lambda connection: states.pause(connection, two, "ada"))
    watching.look(world.store, seen)
    assert read == [[two]]
