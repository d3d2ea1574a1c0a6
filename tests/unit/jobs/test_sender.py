"""Sending messages to a receiver that behaves, or does not: over real connections, with the time under control."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from datetime import timedelta

import pytest

from scoreline.access.outside import Outside
from scoreline.jobs import keyring, outbox, sender, states
from scoreline.jobs.sender import Sender
from scoreline.jobs.spec import JobSpec
from scoreline.settings import Settings
from scoreline.store import now
from tests.support.api import wait_for
from tests.support.web import Reply, web

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BIG = b"x" * (8 << 20)


@pytest.fixture(scope="module")
def receiver_server():
    with web() as made:
        yield made


@pytest.fixture
def receiver(receiver_server):
    yield receiver_server
    receiver_server.empty()


class Time:
    """What the senders take for the time."""

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return now() + self.ahead

    def pass_(self, seconds):
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def post(sqlite_world, tmp_path):
    """Makes senders over one installation, whose loops are turned by hand."""
    made = []

    class Post:
        world, time = sqlite_world, Time()

        def sender(self, allowed="127.0.0.1/32", **settings):
            chosen = Settings(data_dir=tmp_path, allowed_networks=allowed, **settings)
            self.outside = Outside.of(self.world.store, chosen)
            made.append(Sender(self.world.store, chosen, self.outside, clock=self.time))
            return made[-1]

        def job(self, *hooks, secret_id=None):
            """Make a job, and end it."""
            job_id = self.world.job(spec=JobSpec(webhooks=hooks), secret_id=secret_id)
            assert self.world.store.run(lambda c: states.abort(c, job_id, "Cancelled by ada"))
            return job_id

        def messages(self, job_id):
            with self.world.store.read() as connection:
                return outbox.of_job(connection, job_id)

        def message(self, job_id):
            (message,) = self.messages(job_id)
            return message

        def tried(self, one, job_id):
            """Turn, and return the job's only message once the try is noted."""
            wait_for(one.turn)
            for call in list(one._calls):
                call.result(10)
            return self.message(job_id)

    yield Post()
    for one in made:
        one.close()


def verified(call, key=KEY):
    """Return the message of a call whose signature is right, by Standard Webhooks as its text has it."""
    to_sign = b".".join([call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body])
    version, _, signature = call.headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(signature) == hmac.digest(key, to_sign, hashlib.sha256)
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    return json.loads(call.body)


def sealed(post, one, *hooks):
    """Make a job with these webhooks as the API does, and end it."""
    spec = JobSpec(webhooks=hooks)
    secret_id = post.outside.vault.seal(post.world.user_id, keyring.KIND, keyring.keys_in(spec))
    return post.job(*keyring.masked(spec).webhooks, secret_id=secret_id)


def test_a_message_is_signed_and_says_what_became_of_the_job(post, receiver):
    one = post.sender(public_url="https://scoreline.example.com/")
    job_id = sealed(post, one, {"url": f"{receiver.url}/hook?token=very-secret", "secret": SECRET})
    settled = post.tried(one, job_id)
    assert (settled.state, settled.status, settled.tries) == ("delivered", 201, 1)
    (call,) = receiver.came("hook")
    assert call.method == "POST"
    assert call.headers["content-type"] == "application/json"
    message = verified(call)
    assert message["id"] == call.headers["webhook-id"] == settled.id
    assert message["type"] == "job.aborted"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", message["timestamp"])
    about = message["data"]
    assert (about["id"], about["status"], about["statusDetails"]) == (job_id, "ABORTED", "Cancelled by ada")
    assert about["links"] == {"self": f"https://scoreline.example.com/api/v2/batchPredictions/{job_id}/"}
    assert one.turn() == 0


def test_a_receiver_that_fails_is_told_again_the_same_later_and_later(post, receiver):
    one = post.sender()
    job_id = sealed(post, one, {"url": f"{receiver.url}/hook", "secret": SECRET})
    receiver.next["/hook"] = [Reply(500, body=b"no room"), Reply(503), Reply(404), Reply(429)]
    for tries, said in enumerate(["status 500: no room", "status 503", "status 404", "status 429"], 1):
        found = post.tried(one, job_id)
        assert (found.tries, found.trouble, found.state) == (tries, said, "waiting")
        pause = (found.due_at - post.time()).total_seconds()
        assert 2 ** (tries - 1) * 0.5 - 3 < pause <= 2 ** (tries - 1)
        assert one.turn() == 0
        post.time.pass_(pause + 0.1)
    assert post.tried(one, job_id).state == "delivered"
    calls = receiver.came("hook")
    assert len(calls) == 5
    assert len({call.body for call in calls}) == 1
    assert {verified(call)["id"] for call in calls} == {calls[0].headers["webhook-id"]}


def test_pauses_grow_to_an_hour_and_differ():
    assert all(0.5 <= sender.pause(1) <= 1 for _ in range(100))
    assert len({sender.pause(5) for _ in range(10)}) == 10
    assert all(1800 <= sender.pause(tries) <= 3600 for tries in (13, 40, 10_000))


@pytest.mark.parametrize("asked", ["120", "date"])
def test_the_receiver_may_say_when(post, receiver, asked):
    one = post.sender()
    job_id = post.job({"url": f"{receiver.url}/hook"})
    if asked == "date":
        asked = (now() + timedelta(seconds=120)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.next["/hook"] = [Reply(503, {"Retry-After": asked})]
    pause = (post.tried(one, job_id).due_at - post.time()).total_seconds()
    assert 110 < pause <= 120


def test_messages_are_given_up_after_their_time_and_the_job_says_so(post, receiver):
    one = post.sender(webhook_hours=1)
    job_id = post.job({"url": f"{receiver.url}/hook"})
    receiver.next["/hook"] = [Reply(500, body=b"<p>no</p> room " + b"x" * 5000)] * 2
    post.tried(one, job_id)
    post.time.pass_(3600)
    found = post.tried(one, job_id)
    assert (found.state, found.status, found.tries) == ("failed", 500, 2)
    (line,) = [line for line in post.world.logs(job_id) if line.startswith("Webhook")]
    assert f"sent 2 times to {receiver.place}: status 500: no room xxx" in line
    assert len(line) < 500
    assert one.turn() == 0


def test_a_receiver_that_asks_for_more_time_than_there_is_gets_none(post, receiver):
    one = post.sender(webhook_hours=1)
    job_id = post.job({"url": f"{receiver.url}/hook"})
    receiver.next["/hook"] = [Reply(503, {"Retry-After": "3700"})]
    assert post.tried(one, job_id).state == "failed"


def test_a_receiver_that_wants_nothing_any_more_is_left_alone(post, receiver):
    one = post.sender()
    job_id = post.job({"url": f"{receiver.url}/hook"})
    receiver.next["/hook"] = [Reply(410)]
    assert post.tried(one, job_id).state == "failed"


def test_redirects_are_not_followed(post, receiver):
    one = post.sender()
    job_id = post.job({"url": f"{receiver.url}/hook"})
    receiver.next["/hook"] = [Reply(307, {"Location": f"{receiver.url}/elsewhere"})]
    found = post.tried(one, job_id)
    assert (found.state, found.status) == ("waiting", 307)
    assert "which is not followed" in found.trouble
    assert receiver.came("elsewhere") == []


def test_a_receiver_has_its_time_and_no_more_however_it_spends_it(post, receiver):
    one = post.sender(webhook_seconds=0.4)
    silent, dripping = post.job({"url": f"{receiver.url}/silent"}), post.job({"url": f"{receiver.url}/drip"})
    receiver.next["/silent"] = [Reply(200, wait=30)]
    receiver.next["/drip"] = [Reply(500, body=BIG, drip=0.1)]
    begun = time.monotonic()
    assert one.turn() == 2
    found = wait_for(lambda: all(post.message(job).trouble for job in (silent, dripping)))
    assert found
    assert time.monotonic() - begun < 15
    assert "no answer within 0.4 s" in post.message(silent).trouble or "nothing came" in post.message(silent).trouble
    assert post.message(dripping).trouble.startswith("status 500")


def test_answers_are_not_read_but_for_their_begin(post, receiver):
    one = post.sender()
    job_id = post.job({"url": f"{receiver.url}/hook"})
    receiver.next["/hook"] = [Reply(200, body=BIG)]
    assert post.tried(one, job_id).state == "delivered"


def test_a_receiver_that_is_down_is_told_when_it_is_back(post):
    one = post.sender()
    with web() as down:
        port = down.place
    job_id = post.job({"url": f"http://{port}/hook"})
    found = post.tried(one, job_id)
    assert (found.state, found.status) == ("waiting", None)
    assert "refused" in found.trouble


@pytest.mark.parametrize(
    ("allowed", "url", "words"),
    [
        ("", "http://127.0.0.1:{port}/hook", "leads to the private address 127.0.0.1"),
        ("127.0.0.1/32", "http://[::ffff:10.1.1.1]:{port}/hook", "leads to the private address 10.1.1.1"),
        ("127.0.0.1/32", "http://169.254.169.254/hook", "no address of a server"),
        ("127.0.0.1/32", "http://127.0.0.1:8080/hook", "a part of this installation itself"),
    ],
)
def test_addresses_are_judged_again_when_they_are_told(post, receiver, allowed, url, words):
    one = post.sender(allowed=allowed)
    job_id = post.job({"url": url.format(port=receiver.place.partition(":")[2])})
    found = post.tried(one, job_id)
    assert found.state == "failed"
    assert words in found.trouble
    assert words in post.world.logs(job_id)[-1]
    assert receiver.calls == []


def test_secrets_that_a_receiver_repeats_are_hidden(post, receiver):
    one = post.sender()
    job_id = sealed(post, one, {"url": f"{receiver.url}/hook?token=very-secret-token", "secret": SECRET})
    receiver.next["/hook"] = [Reply(400, body=f"{SECRET} very-secret-token".encode())]
    trouble = post.tried(one, job_id).trouble
    assert trouble == "status 400: [redacted] [redacted]"


def test_a_message_whose_secret_is_gone_is_given_up(post, receiver):
    one = post.sender()
    job_id = post.job({"url": f"{receiver.url}/hook", "secret": "[redacted]"})
    assert "not stored any more" in post.tried(one, job_id).trouble
    assert post.message(job_id).state == "failed"
    assert receiver.calls == []


def test_several_senders_send_each_message_once(post, receiver):
    several = [post.sender() for _ in range(3)]
    jobs = [post.job({"url": f"{receiver.url}/hook"}) for _ in range(12)]

    def all_sent():
        for one in several:
            one.turn()
        return all(post.message(job).state == "delivered" for job in jobs)

    wait_for(all_sent, 20)
    told = [json.loads(call.body)["data"]["id"] for call in receiver.came("hook")]
    assert sorted(told) == sorted(jobs)


def test_a_slow_receiver_does_not_hold_up_the_others(post, receiver):
    with web() as quick:
        one = post.sender(webhook_seconds=30)
        slow = [post.job({"url": f"{receiver.url}/hook"}) for _ in range(20)]
        receiver.next["/hook"] = [Reply(200, wait=20)] * 20
        job_id = post.job({"url": f"{quick.url}/hook"})

        def delivered():
            one.turn()
            return post.message(job_id).state == "delivered"

        begun = time.monotonic()
        wait_for(delivered)
        assert time.monotonic() - begun < 15
        assert len(receiver.came("hook")) <= 2
    assert {post.message(job).state for job in slow} == {"waiting"}
