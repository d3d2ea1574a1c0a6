"""An installation as users start it, all of whose processes die and freeze at random moments."""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import sqlalchemy as sa

from scoreline.store import Store
from scoreline.store.tables.jobs import jobs
from tests.support import tiny
from tests.support.cluster import free_port
from tests.support.installation import Installation
from tests.support.postgres import PostgresServer
from tests.support.served import Served, until
from tests.support.server import ADMIN_TOKEN, Server

START_SECONDS = 120.0
PARTS = ("worker", "api", "predictor", "model", "supervisor")
DATABASE = "database"


class Storm(Installation):
    """`scoreline serve` on SQLite, or on a database of a PostgreSQL server, which dies too then.

    random: decides which process dies, and when. recoveries: for each death, the part and the seconds until the job
    went on and the API answered.
    """

    def __init__(
        self, folder: Path, chance: random.Random, postgres: PostgresServer | None = None, url: str | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.random = chance
        self.recoveries: list[tuple[str, float]] = []
        self.victims = (*PARTS, DATABASE) if postgres else PARTS
        self.database_url = url
        self._postgres = postgres
        self._port = str(free_port())
        self._thawing: list[threading.Timer] = []
        self._server = self._start()
        self.url = self._server.url
        model = tiny.save(folder / "model.txt")
        client = Server(self.url, ADMIN_TOKEN, folder, self._server.process)
        self.deployment = client.deploy(model, "churn", tiny.TARGET, classNames=list(tiny.LABELS))
        self._looking = Store(self.database_url or f"sqlite:///{self.data / 'scoreline.db'}")

    def _start(self) -> Served:
        words = () if self.database_url is None else ("--database-url", self.database_url)
        env = {"SCORELINE_ADMIN_TOKEN": ADMIN_TOKEN, "SCORELINE_MIN_FREE_BYTES": "0"}
        server = Served(self.folder, "--port", self._port, *words, env=env)
        server.token = ADMIN_TOKEN
        return server.wait()

    def close(self) -> None:
        """Stop it; nothing of it may be left."""
        self.thaw()
        self._looking.dispose()
        tree = [self._server.process.pid, *(process.pid for process in self._server.tree())]
        assert self._server.stop() == 0, self.log("server")
        until(lambda: not any(psutil.pid_exists(pid) for pid in tree), 20, "the end of all processes")

    def log(self, name: str) -> str:
        return self._server.log.read_text(errors="replace")[-3000:]

    # What happens to its processes

    def kill(self, name: str) -> float:
        """Kill a part; return the moment from which it is to come back.

        A supervisor and a database server are started again; the others are by their supervisor.
        """
        moment = time.monotonic()
        if name == DATABASE:
            assert self._postgres is not None
            self._postgres.kill()
            time.sleep(self.random.uniform(0, 2))
            moment = time.monotonic()
            self._postgres.start_again()
        elif name == "supervisor":
            self._server.process.kill()
            self._server.process.wait()
            self._server.ready.unlink(missing_ok=True)
            self._server = self._start()
        elif (process := self.process(name)) is not None:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return moment

    def freeze(self, name: str, seconds: float) -> None:
        """Stop a part; it wakes after so many seconds, if nobody has killed it by then."""
        process = self.process(name)
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.suspend()
        timer = threading.Timer(seconds, _wake, (process,))
        timer.start()
        self._thawing.append(timer)

    def thaw(self) -> None:
        """Wait until nothing is frozen."""
        for timer in self._thawing:
            timer.join()
        self._thawing.clear()

    def process(self, name: str) -> psutil.Process | None:
        """A part's process, None while there is none."""
        with suppress(psutil.Error):
            if name == "supervisor":
                return psutil.Process(self._server.process.pid)
            part = self._server.part("predictor" if name == "model" else name)
            if name == "model" and part is not None:
                return next(iter(part.children()), None)
            return part
        return None

    # What is seen of it

    def kill_and_wait(self, name: str, job_id: str) -> float:
        """Kill a part; return the seconds until the job goes on, or is over, and the API answers."""
        before = self._progress(job_id)
        begun = self.kill(name)

        def goes_on() -> bool:
            over, rows = self._progress(job_id)
            return over or rows > before[1]

        until(goes_on, START_SECONDS, f"{name} was killed: {self.log(name)}")
        until(lambda: self.status(job_id) not in {"?", "INITIALIZING"}, START_SECONDS, self.log(name))
        seconds = time.monotonic() - begun
        self.recoveries.append((name, seconds))
        return seconds

    def _progress(self, job_id: str) -> tuple[bool, int]:
        query = sa.select(jobs.c.state, jobs.c.rows_scored).where(jobs.c.id == job_id)
        while True:
            with suppress(Exception), self._looking.read() as connection:
                row = connection.execute(query).one()
                return row.state in {"COMPLETED", "ABORTED"}, int(row.rows_scored)
            time.sleep(0.1)

    def waits_for_data(self, job_id: str) -> bool:
        """Say whether a job has nothing of its upload."""
        with self._looking.read() as connection:
            state = connection.scalar(sa.select(jobs.c.upload_state).where(jobs.c.id == job_id))
        return state == "waiting"

    def processes(self) -> int:
        """How many processes work below its folder, wherever they hang in the tree."""
        count = 0
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                count += Path(process.cwd()).is_relative_to(self.folder) and process.status() != psutil.STATUS_ZOMBIE
        return count

    def handles(self) -> dict[str, tuple[int, int, int]]:
        """Open files, threads and bytes of memory of each part that runs."""
        found = {}
        for name in PARTS:
            with suppress(psutil.Error):
                if (process := self.process(name)) is not None:
                    found[name] = (process.num_fds(), process.num_threads(), process.memory_info().rss)
        return found

    def again(self, work, seconds: float = START_SECONDS):
        """Do a request until the API answers it in earnest, as a patient client does."""
        end = time.monotonic() + seconds
        while True:
            try:
                return work()
            except (httpx2.HTTPError, AssertionError, KeyError, ValueError):
                assert time.monotonic() < end, self.log("api")
            time.sleep(0.2)


def _wake(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


def differences(written: bytes, clean: bytes) -> tuple[int, int, int]:
    """How many rows of the clean output are lost, doubled and torn (neither) in what was written."""
    wanted = clean.splitlines(keepends=True)
    found: dict[bytes, int] = {}
    for line in written.splitlines(keepends=True):
        found[line] = found.get(line, 0) + 1
    known = set(wanted)
    lost = sum(line not in found for line in wanted)
    doubled = sum(count - 1 for line, count in found.items() if line in known)
    return lost, doubled, sum(count for line, count in found.items() if line not in known)
