"""Following a job on servers that have a stream of events, lose it, or never had one."""

from __future__ import annotations

import json
import threading

import httpx2
import pytest

from scoreline.cli import following
from scoreline.cli.client import Api
from scoreline.cli.following import follow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.01)


def job(status="RUNNING", rows=0):
    return {"id": "j", "status": status, "scoredRows": rows}


def stream(*documents, cut=False):
    def body():
        yield b"retry: 1000\n\n: a comment\n\n"
        for document in documents:
            data = json.dumps(document).encode()
            yield b"event: progress\nid: %d\ndata: %b\n\n" % (document["scoredRows"], data)
        if cut:
            raise httpx2.ReadError("reset")

    return httpx2.Response(200, headers={"Content-Type": "text/event-stream; charset=utf-8"}, content=body())


class Server:
    """Answers calls for events by a list of answers, and others by a list of jobs."""

    def __init__(self, answers=(), jobs=()):
        self.answers, self.jobs = list(answers), list(jobs)
        self.last = []
        self.asked = 0

    def __call__(self, request):
        if request.url.path.endswith("/events/"):
            self.last.append(request.headers.get("last-event-id"))
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.asked += 1
        return httpx2.Response(200, json=self.jobs.pop(0))


def followed(server, over=None):
    with Api("https://scoreline.test", "secret", transport=httpx2.MockTransport(server)) as api:
        return [(one["status"], one["scoredRows"]) for one in follow(api, "j", over or threading.Event())]


def test_by_the_stream_alone():
    server = Server([stream(job(), job(rows=5), job("COMPLETED", 9))])
    assert followed(server) == [("RUNNING", 0), ("RUNNING", 5), ("COMPLETED", 9)]
    assert server.asked == 0


def test_a_stream_that_breaks_or_ends_goes_on_behind_its_last_event():
    server = Server([stream(job(), job(rows=5), cut=True), stream(job(rows=6)), stream(job("ABORTED", 7))])
    assert followed(server) == [("RUNNING", 0), ("RUNNING", 5), ("RUNNING", 6), ("ABORTED", 7)]
    assert server.last == [None, "5", "6"]
    assert server.asked == 0


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(404, json={"message": "There is nothing at that address."}),
        httpx2.Response(200, json=job()),
        httpx2.Response(405, json={"message": "GET is not possible."}),
    ],
)
def test_an_older_server_is_asked(answer):
    server = Server([answer], [job(), job(rows=5), job("COMPLETED", 9)])
    assert followed(server) == [("RUNNING", 0), ("RUNNING", 5), ("COMPLETED", 9)]
    assert server.last == [None]


def test_a_server_that_is_busy_or_away_is_asked_meanwhile():
    busy = httpx2.Response(503, json={"message": "Too many streams."}, headers={"Retry-After": "5"})
    server = Server([busy, httpx2.ConnectError("refused"), stream(job("COMPLETED", 9))], [job(), job(rows=5)])
    assert followed(server) == [("RUNNING", 0), ("RUNNING", 5), ("COMPLETED", 9)]


def test_it_ends_when_nobody_wants_it():
    over = threading.Event()
    over.set()
    assert followed(Server(), over) == []


def test_what_is_no_event_is_not_believed():
    body = b"id: 1\ndata: [1]\n\n"
    broken = httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, content=body)
    server = Server([broken, stream(job("COMPLETED", 9))], [job(rows=3)])
    assert followed(server) == [("RUNNING", 3), ("COMPLETED", 9)]


def told(server):
    with Api("https://scoreline.test", "secret", transport=httpx2.MockTransport(server)) as api:
        return [line for one in follow(api, "j", threading.Event()) for line in one["logs"]]


def test_each_line_of_the_log_comes_once_whoever_tells_it():
    first = stream({**job(rows=1), "logs": ["a", "b"]}, {**job(rows=2), "logs": ["c"]}, cut=True)
    asked = [{**job(), "logs": ["a", "b", "c", "d"]}, {**job(), "logs": ["a", "b", "c", "d", "e"]}]
    rest = stream({**job(rows=3), "logs": ["d", "e", "f"]}, {**job("COMPLETED", 4), "logs": ["g"]})
    server = Server([first, httpx2.ConnectError("refused"), httpx2.ConnectError("refused"), rest], asked)
    assert told(server) == ["a", "b", "c", "d", "e", "f", "g"]
    assert server.last == [None, "2", "2", "2"]
