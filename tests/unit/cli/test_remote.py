"""Scoring by a server that is not there all the time, with the server's part played by hand."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
import pytest

from scoreline.cli import remote
from scoreline.cli.client import Api
from scoreline.cli.places import Place
from scoreline.cli.score_words import ScoreWords
from scoreline.errors import ScorelineError

JOB = "https://scoreline.test/api/v2/batchPredictions/j/"


class Restarting:
    """A server that goes down with an upload under way, and refuses to be told anything for a while."""

    def __init__(self, *, down: int, ended: str | None = None) -> None:
        """`down`: requests to abort that it does not hear. `ended`: why the job is over before it is aborted."""
        self.down = down
        self.aborted = threading.Event()
        self.reason = "Cancelled by ann"
        if ended is not None:
            self.reason = ended
            self.aborted.set()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v2/")
        match request.method, path:
            case "GET", "deployments/":
                return httpx2.Response(200, json={"data": [{"id": "d", "label": "flights"}], "next": None})
            case "PUT", _:
                raise httpx2.WriteError("Broken pipe")
            case "DELETE", _:
                return self.abort()
            case "GET", "batchPredictions/j/download/":
                assert self.aborted.wait(20)
                return httpx2.Response(422, json={"message": "no result"})
        return httpx2.Response(202 if request.method == "POST" else 200, json=self.job())

    def abort(self) -> httpx2.Response:
        if self.aborted.is_set():
            return httpx2.Response(409, json={"message": "It is over already."})
        if self.down:
            self.down -= 1
            raise httpx2.ConnectError("refused")
        self.aborted.set()
        return httpx2.Response(202)

    def job(self) -> dict:
        return {
            "id": "j",
            "status": "ABORTED" if self.aborted.is_set() else "RUNNING",
            "statusDetails": self.reason if self.aborted.is_set() else "Scoring",
            "percentageCompleted": 0,
            "scoredRows": 0,
            "failedRows": 0,
            "links": {"csvUpload": f"{JOB}csvUpload/", "download": f"{JOB}download/"},
        }


def score(server: Restarting, folder: Path) -> None:
    source = folder / "in.csv"
    source.write_text("a\n1\n")
    with Api("https://scoreline.test", "secret", transport=httpx2.MockTransport(server)) as api:
        remote.score(api, "flights", ScoreWords(), Place(str(source)), Place(str(folder / "out.csv")), quiet=True)


def test_a_job_whose_upload_broke_is_aborted_as_soon_as_the_server_hears(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_LOOK_SECONDS", 0.02)
    server = Restarting(down=3)
    with pytest.raises(ScorelineError, match="broke off: Broken pipe"):
        score(server, tmp_path)
    assert server.down == 0
    assert server.aborted.is_set()
    assert not (tmp_path / "out.csv").exists()


def test_a_job_that_ended_for_a_reason_of_its_own_says_that(tmp_path):
    with pytest.raises(ScorelineError, match="disk is full"):
        score(Restarting(down=0, ended="Spool: the disk is full; make space on it."), tmp_path)
