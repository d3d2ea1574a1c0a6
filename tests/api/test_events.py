"""The stream of a job's events, read from a running server."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2

from scoreline.api import board, events
from scoreline.cli.client import Api as CliApi
from scoreline.cli.following import follow
from scoreline.jobs import watching
from tests.support.api import running_api, wait_for
from tests.support.served import scoreline


class Stream:
    """An open stream; `next` returns the next event's name, id and document."""

    def __init__(self, response):
        self.response = response
        self.source = httpx2.EventSource(response)
        self._events = iter(self.source)

    def next(self):
        for event in self._events:
            if event.data:
                return event.event, event.id, json.loads(event.data)
        return None

    def until(self, status):
        """Return all events up to the first with this status."""
        found = []
        while (event := self.next()) is not None:
            found.append(event)
            if event[2]["status"] == status:
                break
        return found


@contextmanager
def opened(api, job_id, token=None, last=None):
    headers = {} if last is None else {"Last-Event-ID": last}
    with (
        api.client(token) as client,
        client.stream("GET", f"batchPredictions/{job_id}/events/", headers=headers) as got,
    ):
        assert got.status_code == 200, got.read()
        yield Stream(got)


def test_a_job_from_its_begin_to_its_end(api):
    job = api.job()
    with opened(api, job["id"]) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["x-accel-buffering"] == "no"
        found = [stream.next()]
        assert found[0][0] == "state"
        assert found[0][2]["status"] == "INITIALIZING"
        assert "waiting" in found[0][2]["statusDetails"].lower()
        api.upload(job["id"])
        run = api.run(job["id"])
        found += stream.until("RUNNING")
        assert found[-1][0] == "state"
        api.rows(run, b"late_PREDICTION\nno\n", 1)
        found.append(stream.next())
        assert found[-1][0] == "progress"
        assert found[-1][2]["scoredRows"] == 1
        api.rows(run, b"yes\n", 1)
        api.complete(run)
        found += stream.until("COMPLETED")
        assert stream.next() is None, "it ends behind the last state"
    shown = api.status(job["id"])
    name, number, last = found[-1]
    assert name == "state"
    for field in set(last) - {"logs", "elapsedTimeSec"}:
        assert last[field] == shown[field], field
    told = [line for _, _, document in found for line in document["logs"]]
    assert told == shown["logs"]
    assert len({number for _, number, _ in found}) == len([1 for _, _, document in found if document["logs"]])
    with api.client() as client:
        again = client.get(f"batchPredictions/{job['id']}/events/", headers={"Last-Event-ID": number})
        assert (again.status_code, again.content) == (204, b"")
        whole = client.get(f"batchPredictions/{job['id']}/events/")
        assert whole.status_code == 200
        assert whole.text.count("event: state") == 1
        assert json.loads(whole.text.partition("data: ")[2].partition("\n")[0])["logs"] == shown["logs"]


def test_a_stream_that_broke_goes_on_behind_its_last_event(api):
    job = api.job()
    with opened(api, job["id"]) as stream:
        _, number, first = stream.next()
    api.upload(job["id"])
    with opened(api, job["id"], last=number) as stream:
        name, _, following = stream.next()
    assert name == "state"
    assert first["logs"]
    assert following["logs"]
    assert first["logs"] + following["logs"] == api.status(job["id"])["logs"]
    for odd in ("x", "INITIALIZING.999999", "-1", "RUNNING.", "٣.٣"):
        with (
            api.client() as client,
            client.stream(
                "GET", f"batchPredictions/{job['id']}/events/", headers={"Last-Event-ID": odd.encode()}
            ) as got,
        ):
            assert Stream(got).next()[2]["status"] == "INITIALIZING"


def test_only_those_who_may_see_the_job(api):
    job = api.job()
    with api.client(api.other("nobody")) as client:
        assert client.get(f"batchPredictions/{job['id']}/events/").status_code == 404
    with httpx2.Client(base_url=api.endpoint, trust_env=False) as client:
        assert client.get(f"/batchPredictions/{job['id']}/events/").status_code == 401
    with opened(api, job["id"], token=api.other("head", role="admin")) as stream:
        assert stream.next()[2]["id"] == job["id"]


def test_many_streams_share_one_look_and_hold_no_threads(api, monkeypatch):
    looks, real = [], watching.look

    def look(store, before):
        if None not in before.values():
            looks.append(set(before))
        return real(store, before)

    monkeypatch.setattr(watching, "look", look)
    jobs = [api.job()["id"] for _ in range(3)]
    with api.client(limits=httpx2.Limits(max_connections=None)) as client:
        streams = []
        try:
            for number in range(48):
                request = client.build_request("GET", f"batchPredictions/{jobs[number % 3]}/events/")
                streams.append(Stream(client.send(request, stream=True)))
                assert streams[-1].next()[2]["id"] == jobs[number % 3]
            looks.clear()
            begun = time.monotonic()
            wait_for(lambda: len(looks) > 3)
            assert time.monotonic() - begun > 1.4, "it looks about twice a second for all of them"
            assert looks[-1] == set(jobs)
            names = [thread.name for thread in threading.enumerate()]
            assert sum(name.startswith("transfer") for name in names) <= 32
            assert api.status(jobs[0])["status"] == "INITIALIZING"
            for job_id in jobs:
                client.delete(f"batchPredictions/{job_id}/")
            assert {stream.until("ABORTED")[-1][0] for stream in streams} == {"state"}
        finally:
            for stream in streams:
                stream.response.close()
    looks.clear()
    time.sleep(1.1)
    assert looks == [], "nobody watches any more"


def test_there_are_not_more_streams_than_a_user_may_have(api, monkeypatch):
    monkeypatch.setattr(board, "_MOST_OF_ONE", 2)
    job = api.job()
    with opened(api, job["id"]) as one, opened(api, job["id"]) as two, api.client() as client:
        assert one.next()
        assert two.next()
        refused = client.get(f"batchPredictions/{job['id']}/events/")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert "Too many streams" in refused.json()["message"]
        with opened(api, job["id"], token=api.other("another", role="admin")) as other:
            assert other.next()
    with opened(api, job["id"]) as again:
        assert again.next()


def test_a_stream_says_that_it_lives_and_ends_in_time(api, monkeypatch):
    monkeypatch.setattr(events, "_HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(events, "_LIFE_SECONDS", 1.0)
    job = api.job()
    with api.client() as client:
        text = client.get(f"batchPredictions/{job['id']}/events/").text
    assert text.startswith("retry: 1000\n\n")
    assert text.count("event:") == 1
    assert text.count(": the job goes on\n\n") >= 3


def test_streams_end_when_the_server_goes_down(tmp_path, migrated_sqlite):
    with running_api(tmp_path, migrated_sqlite) as api:
        job = api.job()
        ended = threading.Event()

        def read():
            with opened(api, job["id"]) as stream:
                while stream.next() is not None:
                    pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        time.sleep(0.5)
        begun = time.monotonic()
    assert ended.wait(1)
    assert time.monotonic() - begun < 4, "nobody waits for streams"


def test_the_command_line_follows_a_job(api):
    job = api.job()
    found = []
    with CliApi(api.url, api.token) as client:
        thread = threading.Thread(target=lambda: found.extend(follow(client, job["id"], threading.Event())))
        thread.start()
        api.upload(job["id"])
        run = api.run(job["id"])
        wait_for(lambda: [one for one in found if one["status"] == "RUNNING"])
        api.rows(run, b"late_PREDICTION\nno\n", 1)
        wait_for(lambda: [one for one in found if one["scoredRows"] == 1])
        api.complete(run)
        thread.join(10)
    assert not thread.is_alive()
    assert found[-1]["status"] == "COMPLETED"
    assert "jobSpec" not in found[-1], "it was told by events"


def test_a_command_prints_the_log_as_it_grows(api):
    job = api.job()
    env = {"SCORELINE_URL": api.url, "SCORELINE_TOKEN": api.token}
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(scoreline, "jobs", "watch", job["id"], env=env)
        time.sleep(1)
        api.upload(job["id"])
        api.fail(api.run(job["id"]), "The model is broken.")
        done = watched.result(30)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == api.status(job["id"])["logs"]
    assert done.stdout.endswith(": The model is broken.\n")
    missing = scoreline("jobs", "watch", "0" * 24, env=env)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no batch prediction job" in missing.stderr
