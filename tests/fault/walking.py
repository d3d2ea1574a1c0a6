"""A random walk: jobs are made, sent, paused, aborted and downloaded while processes die and freeze."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2
import sqlalchemy as sa

from scoreline.store.tables.jobs import jobs
from tests.support.served import until
from tests.support.storm import START_SECONDS, Storm

STEPS = 30
LONGEST_PAUSE = 0.5
PROCESSES = 5  # supervisor, API, worker, prediction server and its model process
END_SECONDS = 300.0
LIVE = ("INITIALIZING", "RUNNING")
GIVEN_UP = "workers in a row died"
# Open files, threads and bytes of memory that a part may have more than at the beginning.
MORE = (25, 25, 200 << 20)


@dataclass
class Sent:
    """A job of the walk. whole: all its data was taken; aborted: somebody asked for its end."""

    job_id: str
    kind: str
    whole: bool = False
    aborted: bool = False


@dataclass
class Round:
    """Some random steps and the look at what came of them. Raises AssertionError when something is wrong."""

    storm: Storm
    chance: random.Random
    data: bytes
    clean: bytes
    sent: list[Sent] = field(default_factory=list)
    deaths: int = 0
    _uploads: list[threading.Thread] = field(default_factory=list)

    def walk(self, base: dict[str, tuple[int, int, int]]) -> str:
        """Do the steps, wait for the end of all jobs and look; return what came of it."""
        steps: list[tuple[Callable[[], None], int]] = [
            (self._begin, 8),
            (self._kill, 5),
            (self._freeze, 4),
            (self._pause, 3),
            (self._resume, 2),
            (self._abort, 2),
            (self._download, 6),
        ]
        for step in self.chance.choices([step for step, _ in steps], [weight for _, weight in steps], k=STEPS):
            step()
            time.sleep(self.chance.uniform(0, LONGEST_PAUSE))
        self.storm.thaw()
        for upload in self._uploads:
            upload.join(END_SECONDS)
            assert not upload.is_alive(), "an upload hangs"
        found = [self._outcome(one) for one in self.sent]
        self._nothing_left(base)
        return f"{self.deaths} deaths, {found.count('COMPLETED')} jobs completed, {found.count('ABORTED')} aborted"

    # Steps

    def _begin(self) -> None:
        kind = self.chance.choice(("whole", "whole", "slow", "parts", "cut"))
        settings: dict[str, object] = {"type": "localFile"}
        if kind == "parts":
            settings |= {"multipart": True, "async": False}
        body = {
            "deploymentId": self.storm.deployment,
            "passthroughColumns": ["id"],
            "chunkSize": 20_000,
            "retentionHours": 0.2,
            "intakeSettings": settings,
        }
        key = f"walk-{self.chance.getrandbits(64):x}"

        def make() -> str:
            with self.storm.http() as http:
                made = http.post("batchPredictions/", json=body, headers={"Idempotency-Key": key})
            assert made.status_code in {200, 202}, made.text
            return str(made.json()["id"])

        one = Sent(self.storm.again(make), kind)
        self.sent.append(one)
        seed = self.chance.random()
        upload = threading.Thread(target=self._upload, args=(one, random.Random(seed)), daemon=True)
        upload.start()
        self._uploads.append(upload)

    def _upload(self, one: Sent, chance: random.Random) -> None:
        if one.kind == "parts":
            self._upload_parts(one)
            return
        for _ in range(3):  # a broken one may be sent again
            with suppress(httpx2.HTTPError, _Cut), self.storm.http() as http:
                answer = http.put(
                    f"batchPredictions/{one.job_id}/csvUpload/",
                    content=self._body(one.kind, chance),
                    headers={"Content-Type": "text/csv", "Content-Length": str(len(self.data))},
                )
                one.whole = answer.status_code == 202
                if answer.status_code < 500:
                    return
            if one.kind == "cut":
                return
            time.sleep(1)

    def _body(self, kind: str, chance: random.Random) -> Iterator[bytes]:
        size = len(self.data)
        end = chance.randrange(size) if kind == "cut" else size
        step = size // 20 + 1
        for start in range(0, end, step):
            if kind != "whole":
                time.sleep(0.1)
            yield self.data[start : min(end, start + step)]
        if kind == "cut":
            raise _Cut

    def _upload_parts(self, one: Sent) -> None:
        third = len(self.data) // 3
        path = f"batchPredictions/{one.job_id}/csvUpload/"
        pieces = [self.data[:third], self.data[third : 2 * third], self.data[2 * third :]]

        def send(number: int) -> int:
            answer = self.storm.put(one.job_id, pieces[number], f"part/{number}/")
            assert answer.status_code < 500, answer.text
            return answer.status_code

        def finalise() -> int:
            with self.storm.http() as http:
                answer = http.post(f"{path}finalizeMultipart/")
            assert answer.status_code < 500, answer.text
            return answer.status_code

        if all(self.storm.again(lambda number=number: send(number)) == 202 for number in (1, 0, 2)):
            self.storm.again(finalise)
            one.whole = True

    def _kill(self) -> None:
        self.storm.kill(self.chance.choice(self.storm.victims))
        self.deaths += 1

    def _freeze(self) -> None:
        self.storm.freeze(self.chance.choice(("worker", "api", "predictor", "model")), self.chance.uniform(0.1, 8))

    def _ask(self, method: str, path: str) -> int:
        """Do a request about some job, whatever comes of it; return the status, 0 without an answer."""
        with suppress(httpx2.HTTPError), self.storm.http() as http:
            return http.request(method, path, timeout=5).status_code
        return 0

    def _some(self) -> Sent | None:
        return self.chance.choice(self.sent) if self.sent else None

    def _pause(self) -> None:
        if (one := self._some()) is not None:
            self._ask("POST", f"batchPredictions/{one.job_id}/pause/")

    def _resume(self) -> None:
        if (one := self._some()) is not None:
            self._ask("POST", f"batchPredictions/{one.job_id}/resume/")

    def _abort(self) -> None:
        if (one := self._some()) is not None:
            one.aborted = True
            self._ask("DELETE", f"batchPredictions/{one.job_id}/")

    def _download(self) -> None:
        """Read some of a result, and go on where that ended."""
        if (one := self._some()) is None:
            return
        got, most = b"", self.chance.randrange(len(self.clean))
        for _ in range(2):
            headers = {"Range": f"bytes={len(got)}-"} if got else {}
            with suppress(httpx2.HTTPError), self.storm.http() as http:  # noqa: SIM117 -- the client comes first
                with http.stream("GET", f"batchPredictions/{one.job_id}/download/", headers=headers, timeout=2) as some:
                    for block in some.iter_bytes() if some.status_code in {200, 206} else ():
                        got += block
                        if len(got) > most:
                            break
            assert self.clean.startswith(got), f"job {one.job_id} gave other bytes"

    # What must hold

    def _outcome(self, one: Sent) -> str:
        with suppress(AssertionError):  # one that is not paused
            self.storm.again(lambda: self._resumed(one), 20)
        if not one.whole and self.storm.waits_for_data(one.job_id):
            one.aborted = True  # its client never got through, and does not try again
            self.storm.again(lambda: self._ended(one))
        state = self.storm.ended(one.job_id, END_SECONDS)
        if state == "COMPLETED":
            assert one.kind != "cut", f"job {one.job_id} was completed with half of its data"
            self.storm.again(lambda: self._whole(one))
            return state
        reason = self.storm.again(lambda: self.storm.check_aborted(one.job_id))
        told = reason.lower()
        true = (
            (one.aborted and ("abort" in told or "cancel" in told))
            or (not one.whole and ("upload" in told or "data" in told))
            or (GIVEN_UP in told and self.deaths >= 5)
        )
        assert true, f"{one} was aborted: {reason}"
        return state

    def _resumed(self, one: Sent) -> None:
        with self.storm.http() as http:
            assert http.post(f"batchPredictions/{one.job_id}/resume/").status_code < 500

    def _ended(self, one: Sent) -> None:
        with self.storm.http() as http:
            assert http.delete(f"batchPredictions/{one.job_id}/").status_code < 500

    def _whole(self, one: Sent) -> None:
        if not self.storm.document(one.job_id).get("resultsDeleted"):
            self.storm.check_whole(one.job_id, self.clean)

    def _nothing_left(self, base: dict[str, tuple[int, int, int]]) -> None:
        with self.storm.store() as store, store.read() as connection:
            live = connection.scalars(sa.select(jobs.c.id).where(jobs.c.state.in_(LIVE))).all()
            kept = set(connection.scalars(sa.select(jobs.c.id).where(jobs.c.state == "COMPLETED")))
        assert not live, f"jobs {live} have not ended"
        spool = self.storm.data / "spool"
        until(lambda: not list((spool / "uploads").glob("*")), 30, "the end of uploads' files")
        left = {path.name for path in (spool / "results").glob("*")} - kept
        assert not left, f"results of {left} are left"
        until(
            lambda: self.storm.processes() == PROCESSES, START_SECONDS, f"{self.storm.processes()} processes, not five"
        )
        until(lambda: self._back(base), 60, f"{base} at the beginning, {self.storm.handles()} now")

    def _back(self, base: dict[str, tuple[int, int, int]]) -> bool:
        now = self.storm.handles()
        return all(
            name in now
            and all(value <= before + more for value, before, more in zip(now[name], old, MORE, strict=True))
            for name, old in base.items()
        )


class _Cut(Exception):
    """The client goes away in the middle of its data."""
