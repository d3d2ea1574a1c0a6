"""The outbox: what is stored with a change of a job's state, and who may send it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scoreline.access.outside import Outside
from scoreline.jobs import keeping, keyring, lease, outbox, states
from scoreline.jobs.spec import JobSpec
from scoreline.settings import Settings
from scoreline.store import now
from scoreline.types import Counts

URL = "http://hooks.example.com:8000/jobs"


def hooked(world, *hooks, **values):
    return world.job(spec=JobSpec(webhooks=hooks or ({"url": URL},)), **values)


def run(world, job_id):
    run = lease.claim(world.store, world.server_id, "w1")
    assert run.job_id == job_id
    return run


def messages(world, job_id):
    with world.store.read() as connection:
        return outbox.of_job(connection, job_id)


def due(world, moment=None, busy=(), limit=10):
    with world.store.read() as connection:
        return outbox.due(connection, moment or now(), busy, limit)


def claim(world, message, seconds=15):
    until = now() + timedelta(seconds=seconds)
    return world.store.run(lambda connection: outbox.claim(connection, message, until))


def one(world):
    """Return the message of a job that was aborted."""
    job_id = hooked(world)
    assert world.store.run(lambda connection: states.abort(connection, job_id, "Cancelled by ada"))
    (message,) = due(world)
    assert message.job_id == job_id
    return message


def test_each_webhook_is_told_of_what_it_wants(world):
    job_id = hooked(world, {"url": URL}, {"url": URL, "events": ["started"]}, {"url": URL, "events": ["aborted"]})
    running = run(world, job_id)
    assert [(message.hook, message.event) for message in messages(world, job_id)] == [(1, "started")]
    assert world.store.run(lambda connection: states.complete(connection, running, Counts(7, 5, 1, 1), 100, 80))
    started, ended = messages(world, job_id)
    assert (ended.hook, ended.event, ended.place) == (0, "completed", "hooks.example.com:8000")
    assert started.about["status"] == "RUNNING"
    assert started.about["finished"] is None
    job = world.get(job_id)
    expected = {
        "id": job_id,
        "status": "COMPLETED",
        "statusDetails": job.reason,
        "scoredRows": 5,
        "failedRows": 1,
        "skippedRows": 1,
        "jobIntakeSize": 100,
        "jobOutputSize": 80,
        "percentageCompleted": 100.0,
        "deploymentId": world.deployment_id,
        "modelPackageId": world.package_id,
        "outputType": "localFile",
        "finished": job.finished_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    assert expected.items() <= ended.about.items()


def test_a_job_that_goes_on_has_started_once(world):
    job_id = hooked(world, {"url": URL, "events": ["started"]})
    run(world, job_id)
    assert world.store.run(lambda connection: states.pause(connection, job_id, "ada"))
    assert world.store.run(lambda connection: states.resume(connection, job_id, "ada"))
    run(world, job_id)
    assert len(messages(world, job_id)) == 1


def test_a_change_that_is_not_stored_is_not_told(world):
    job_id = hooked(world)

    class Broken(Exception):
        pass

    def work(connection):
        assert states.abort(connection, job_id, "Cancelled by ada")
        raise Broken

    with pytest.raises(Broken):
        world.store.run(work)
    assert messages(world, job_id) == []
    assert world.store.run(lambda connection: states.abort(connection, job_id, "Cancelled by ada"))
    assert not world.store.run(lambda connection: states.abort(connection, job_id, "Cancelled by ada"))
    assert [message.event for message in messages(world, job_id)] == ["aborted"]


def test_jobs_without_webhooks_tell_nobody(world):
    job_id = world.job()
    assert world.store.run(lambda connection: states.abort(connection, job_id, "Cancelled by ada"))
    assert messages(world, job_id) == []


def test_a_message_is_one_senders_until_its_time_is_over(world):
    message = one(world)
    assert claim(world, message)
    assert not claim(world, message)
    assert due(world) == []
    (again,) = due(world, now() + timedelta(seconds=16))  # its sender died
    assert again.tries == 1
    assert claim(world, again)
    assert not world.store.run(lambda c: outbox.again(c, again, now(), 500, "late"))
    taken = next(iter(messages(world, message.job_id)))
    assert (taken.tries, taken.trouble) == (2, None)


def test_an_outcome_is_noted_and_final(world):
    message = one(world)
    assert claim(world, message)
    (claimed,) = messages(world, message.job_id)
    soon = now() + timedelta(seconds=3)
    assert world.store.run(lambda c: outbox.again(c, claimed, soon, 503, "status 503"))
    assert due(world) == []
    (waiting,) = due(world, soon)
    assert (waiting.status, waiting.trouble, waiting.state) == (503, "status 503", "waiting")
    assert world.store.run(lambda c: outbox.delivered(c, waiting, 204))
    (settled,) = messages(world, message.job_id)
    assert (settled.state, settled.status, settled.trouble) == ("delivered", 204, None)
    assert not world.store.run(lambda c: outbox.give_up(c, settled, 500, "late"))
    assert "Webhook" not in "".join(world.logs(message.job_id))
    assert due(world, now() + timedelta(days=9)) == []


def test_what_is_given_up_stands_in_the_jobs_log(world):
    message = one(world)
    assert claim(world, message)
    (claimed,) = messages(world, message.job_id)
    assert world.store.run(lambda c: outbox.give_up(c, claimed, 500, "status 500: no room"))
    line = world.logs(message.job_id)[-1]
    assert line.startswith("Webhook 1 was not told that the job was aborted: given up at 20")
    assert line.endswith("sent once to hooks.example.com:8000: status 500: no room")


def test_busy_receivers_are_left_out(world):
    hooked_to = [{"url": "http://a.example/x"}, {"url": "https://b.example/x"}]
    job_id = hooked(world, *hooked_to)
    assert world.store.run(lambda connection: states.abort(connection, job_id, "Cancelled by ada"))
    assert {message.place for message in due(world)} == {"a.example:80", "b.example:443"}
    assert [message.place for message in due(world, busy=["a.example:80"])] == ["b.example:443"]
    assert len(due(world, limit=1)) == 1


def test_settled_messages_are_forgotten_after_their_time(world):
    message = one(world)
    assert keeping.forget_messages(world.store, 0.0) == 0
    assert world.store.run(lambda c: outbox.delivered(c, message, 200))
    assert keeping.forget_messages(world.store, 1.0) == 0
    assert keeping.forget_messages(world.store, 0.0) == 1
    assert messages(world, message.job_id) == []


def test_keys_are_kept_until_all_is_sent(world, tmp_path):
    outside = Outside.of(world.store, Settings(data_dir=tmp_path))
    secret_id = outside.vault.seal(world.user_id, keyring.KIND, {"webhooks": [{"secret": "whsec_x"}]})
    job_id = hooked(world, {"url": URL, "secret": "[redacted]"}, secret_id=secret_id, cleaned_at=now())
    assert world.store.run(lambda connection: states.abort(connection, job_id, "Cancelled by ada"))
    world.set(job_id, finished_at=now() - timedelta(hours=49))
    assert keeping.expire_keys(world.store, 48) == 0
    (message,) = messages(world, job_id)
    assert world.store.run(lambda c: outbox.delivered(c, message, 200))
    assert keeping.expire_keys(world.store, 48) == 1
