from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from scoreline.access import Caller, users
from scoreline.errors import Conflict, InvalidRequest
from scoreline.jobs import repeats, service, uploading
from scoreline.jobs.spec import JobSpec
from scoreline.store import Store, now
from scoreline.store.tables.jobs import job_requests, jobs

ADDRESS = "/api/v2/batchPredictions/"


def make(world, key=None, *, store=None, caller=None, wanted=lambda: True, **document):
    body = {"deploymentId": world.deployment_id, **document}
    spec = JobSpec.from_document(body)
    asked = repeats.ask(ADDRESS, body, key)
    return service.create(store or world.store, caller or world.caller, spec, asked=asked, wanted=wanted).id


def count(world):
    with world.store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(jobs))


def age(world, job_id, by):
    with world.store.begin() as connection:
        moment = now() - by
        change = job_requests.update().where(job_requests.c.job_id == job_id)
        connection.execute(change.values(asked_at=moment))
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(created_at=moment))


def test_the_same_key_and_body_are_one_job(world):
    first = make(world, "k", numConcurrent=2)
    assert make(world, "k", numConcurrent=2) == first
    repeats.answered(world.store, first, sent=True)
    assert make(world, "k", numConcurrent=2) == first
    assert make(world, "l", numConcurrent=2) != first
    assert count(world) == 2


def test_the_order_of_fields_does_not_matter_but_the_address_does(world):
    body = {"a": 1, "b": [1, 2]}
    same = repeats.ask(ADDRESS, {"b": [1, 2], "a": 1}, "k")
    assert repeats.ask(ADDRESS, body, "k") == same
    assert repeats.ask(ADDRESS + "fromExisting/", body, "k").body_hash != same.body_hash
    assert repeats.ask(ADDRESS, {"a": 1, "b": [2, 1]}, "k").body_hash != same.body_hash


def test_the_same_key_for_something_else_is_refused(world):
    first = make(world, "k", numConcurrent=2)
    with pytest.raises(InvalidRequest, match=first) as caught:
        make(world, "k", numConcurrent=3)
    assert caught.value.field == "Idempotency-Key"
    assert count(world) == 1


def test_a_key_is_its_callers_own(world):
    other = users.create(world.store, "eve").caller()
    other = Caller(other.user_id, "eve", world.org_id, "admin", frozenset())
    assert make(world, "k") != make(world, "k", caller=other)


def test_a_key_is_forgotten_after_a_day(world):
    first = make(world, "k")
    age(world, first, repeats.KEPT - timedelta(minutes=1))
    assert make(world, "k") == first
    age(world, first, repeats.KEPT + timedelta(minutes=1))
    second = make(world, "k", numConcurrent=7)
    assert second != first
    assert make(world, "k", numConcurrent=7) == second


def test_a_refused_request_leaves_its_key_free(world):
    with pytest.raises(InvalidRequest):
        make(world, "k", maxExplanations=1)
    assert make(world, "k") == make(world, "k")


@pytest.mark.parametrize("key", ["", " a", "a ", "é", "a\tb", "x" * 256])
def test_odd_keys_are_refused(key):
    with pytest.raises(InvalidRequest) as caught:
        repeats.ask(ADDRESS, {}, key)
    assert caught.value.field == "Idempotency-Key"


def test_several_processes_make_one_job_for_a_key(world, store_url):
    """Two stores are what two API processes have; the threads of each ask at once."""
    stores = [Store(store_url) for _ in range(2)]
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(make, world, f"k{n % 3}", store=stores[n % 2]) for n in range(24)]
            made = [each.result() for each in asked]
    finally:
        for store in stores:
            store.dispose()
    assert [len(set(made[n::3])) for n in range(3)] == [1, 1, 1]
    assert count(world) == 3


def test_who_asks_twice_gets_two_jobs(world):
    first = make(world)
    second = make(world)  # while the answer to the first is under way
    repeats.answered(world.store, first, sent=True)
    assert len({first, second, make(world)}) == 3


def test_a_request_whose_answer_was_lost_is_answered_with_its_job_once(world):
    first = make(world)
    repeats.answered(world.store, first, sent=False)
    assert make(world, numConcurrent=9) != first  # something else
    assert make(world) == first
    repeats.answered(world.store, first, sent=True)
    assert make(world) != first
    assert any("came again" in line for line in service.logs(world.store, world.caller, first))


def test_it_may_be_lost_again(world):
    first = make(world)
    for _ in range(3):
        repeats.answered(world.store, first, sent=False)
        assert make(world) == first


def test_the_answer_of_an_api_that_died_is_lost(world):
    first = make(world)
    age(world, first, timedelta(seconds=10))
    assert make(world) == first


def test_two_lost_answers_are_two_jobs(world):
    made = {make(world), make(world)}
    for job_id in made:
        repeats.answered(world.store, job_id, sent=False)
    assert {make(world), make(world)} == made


@pytest.mark.parametrize(
    "touched",
    [
        lambda world, job_id: uploading.begins(world.store, world.caller, job_id, "a.1"),
        lambda world, job_id: service.abort(world.store, world.caller, job_id),
        lambda world, job_id: age(world, job_id, repeats.WINDOW + timedelta(minutes=1)),
    ],
    ids=["data came", "aborted", "too long ago"],
)
def test_a_job_that_somebody_knows_is_never_given_again(world, touched):
    first = make(world)
    repeats.answered(world.store, first, sent=False)
    touched(world, first)
    assert make(world) != first


def test_nothing_is_made_for_a_client_that_is_gone(world):
    with pytest.raises(Conflict, match="no job was made"):
        make(world, wanted=lambda: False)
    assert count(world) == 0
    first = make(world, "k")
    assert make(world, "k", wanted=lambda: False) == first
