"""An installation whose parts are processes of their own, to be killed, frozen and started again one by one.

API, prediction server and workers run as `scoreline api`, `predictor` and `worker`, without a supervisor: what goes on
after a death is what the leases and the ledger make of it, and when a part comes back is for the test to say.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import sqlalchemy as sa

from scoreline import faults
from scoreline.access import service_token
from scoreline.jobs import lease
from tests.support import tiny
from tests.support.installation import Installation
from tests.support.proxy import TcpProxy
from tests.support.served import SCORELINE, clean_environment, until
from tests.support.server import ADMIN_TOKEN, Server

LEASE_SECONDS = 1.5
START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Faults:
    """The faults that wait for the processes of one installation; see `scoreline.faults`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def arm(self, point: str, action: str = "kill", **more: Any) -> None:
        """Let the next process that comes to the point fail there, once."""
        self.clear(point)
        hidden = self.folder / f".{point}"
        hidden.write_text(json.dumps({"action": action, **more}))
        hidden.rename(self.folder / point)

    def happened(self, point: str) -> int | None:
        """Id of the process to which it happened, None before."""
        found = list(self.folder.glob(f"{point}.done-*"))
        return int(found[0].name.rpartition("-")[2]) if found else None

    def clear(self, point: str = "*") -> None:
        for path in [*self.folder.glob(point), *self.folder.glob(f"{point}.done-*")]:
            path.unlink(missing_ok=True)


@dataclass
class Cluster(Installation):
    """A running installation. `url` is where clients call, `deployment` scores `tests.support.tiny`'s rows.

    spool_url: a bucket; then each part has a data folder of its own.
    wired: connections go through proxies, `wires`: client to API, scorer (worker to prediction server), and one from
    each of api, worker and worker2 to the database.
    """

    folder: Path
    database_url: str | None
    env: dict[str, str]
    prefix: tuple[str, ...] = ()
    wired: bool = False
    spool_url: str | None = None
    url: str = ""
    deployment: str = ""
    faults: Faults = field(init=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    worker_ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faults = Faults(self.folder / "faults")
        self.data = self.folder / "data"
        self.files = self.folder / "files"
        self.port, self.predictor_port = free_port(), free_port()
        self.ports = {"api": self.port, "api2": free_port()}
        self.api_url = self.url = f"http://127.0.0.1:{self.port}"
        self.predictor_env: dict[str, str] = {}
        self.wires: dict[str, TcpProxy] = {}
        self._token = ""
        if self.wired:
            assert self.database_url is not None
            database = int(sa.make_url(self.database_url).port or 0)
            targets = {"client": self.port, "scorer": self.predictor_port}
            targets |= dict.fromkeys(("api", "worker", "worker2"), database)
            self.wires = {name: TcpProxy(port) for name, port in targets.items()}
            self.url = f"http://127.0.0.1:{self.wires['client'].port}"
            self.predictor_env["SCORELINE_PREDICTOR_URL"] = f"http://127.0.0.1:{self.wires['scorer'].port}"

    # Processes

    def start(self, *names: str) -> None:
        """Start these parts, and wait for those that answer requests."""
        for name in names:
            if (old := self.processes.get(name)) is not None:
                old.wait(10)
            self.processes[name] = self._launch(name)
        for name in names:
            if port := self.ports.get(name):
                until(lambda: self._answers(port, "/api/v2/version/"), START_SECONDS, f"{name}: {self.log(name)}")
            elif name == "predictor":
                until(lambda: self._answers(self.predictor_port, "/ping"), START_SECONDS, f"{name}: {self.log(name)}")

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a part, and wait for its end."""
        self.processes[name].send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.processes[name].wait(30)

    def restart(self, name: str) -> None:
        """Kill a part and start it again."""
        self.kill(name)
        self.start(name)

    def reaped(self, point: str) -> None:
        """Wait for the death of the worker that a fault killed, and give its leases back as a supervisor does."""
        dead = until(lambda: self.faults.happened(point), 30, point)
        name = next(name for name, process in self.processes.items() if process.pid == dead)
        assert self.processes[name].wait(10) == -signal.SIGKILL
        with self.store() as store:
            lease.release_owner(store, self.worker_ids[name])

    def mend(self) -> None:
        """Forget all faults; start again what is down; let go on what is stopped."""
        self.faults.clear()
        for wire in self.wires.values():
            wire.clean()
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(name)
            else:
                process.send_signal(signal.SIGCONT)

    def stop(self) -> dict[str, int]:
        """End all; return the exit codes."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        codes = {}
        for name in sorted(self.processes, reverse=True):  # workers first
            process = self.processes[name]
            with suppress(AssertionError):  # one that has only just been started would die of it
                until(lambda process=process: process.poll() is not None or _stops_in_order(process.pid), 10)
            if process.poll() is None:
                process.terminate()
            try:
                codes[name] = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        return codes

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        part = name.rstrip("0123456789")
        settings = {
            "SCORELINE_DATA_DIR": str(self.data if self.spool_url is None else self.folder / f"data-{name}"),
            "SCORELINE_CONFIG": os.devnull,
            "SCORELINE_ADMIN_TOKEN": ADMIN_TOKEN,
            "SCORELINE_FILES_DIR": str(self.files),
            "SCORELINE_LEASE_SECONDS": str(LEASE_SECONDS),
            "SCORELINE_MIN_FREE_BYTES": "0",
            faults.VARIABLE: str(self.faults.folder),
        }
        if self.database_url is not None:
            settings["SCORELINE_DATABASE_URL"] = self._database_url_of(name)
        if self.spool_url is not None:
            settings["SCORELINE_SPOOL_URL"] = self.spool_url
        words = [part]
        if part == "api":
            words += ["--port", str(self.ports[name])]
        if part == "worker":
            self.worker_ids[name] = settings["SCORELINE_WORKER_ID"] = f"{name} {secrets.token_hex(4)}"
        if part == "predictor":
            words += ["--port", str(self.predictor_port), "--processes", "1"]
            settings |= {"SCORELINE_API_URL": self.api_url, "SCORELINE_PREDICTOR_TOKEN": self._predictor_token()}
            settings |= self.predictor_env
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*self.prefix, *SCORELINE, *words],
                env={**clean_environment(), **settings, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                process_group=0,
            )

    def _database_url_of(self, name: str) -> str:
        url = sa.make_url(self.database_url or "")
        if name in self.wires:
            url = url.set(port=self.wires[name].port)
        return url.render_as_string(hide_password=False)

    def _predictor_token(self) -> str:
        if not self._token:
            with self.store() as store:
                self._token = service_token(store, "predictor of the tests", ["predictor"])
        return self._token

    @staticmethod
    def _answers(port: int, path: str) -> bool:
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=5).status_code < 500
        return False

    # What only an installation in parts has

    def deploy(self) -> None:
        model = tiny.save(self.folder / "model.txt")
        server = Server(self.url, ADMIN_TOKEN, self.folder, self.processes["api"])
        self.deployment = server.deploy(model, "churn", tiny.TARGET, classNames=list(tiny.LABELS))

    def handles(self) -> dict[str, tuple[int, int]]:
        """Open files and threads of each part."""
        found = {}
        for name, process in self.processes.items():
            with suppress(psutil.Error):
                seen = psutil.Process(process.pid)
                found[name] = (seen.num_fds(), seen.num_threads())
        return found

    def model_process(self) -> psutil.Process:
        """The prediction server's process that runs models."""
        return psutil.Process(self.processes["predictor"].pid).children(recursive=True)[0]


def _stops_in_order(pid: int) -> bool:
    """Say whether a process has a handler of its own for SIGTERM."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def cluster(
    folder: Path,
    database_url: str | None = None,
    *,
    workers: int = 1,
    prefix: tuple[str, ...] = (),
    wired: bool = False,
    spool_url: str | None = None,
    deploy: bool = True,
    **env: str,
) -> Iterator[Cluster]:
    """Run an installation for the block. prefix: words before the command of each part, such as prlimit's."""
    (folder / "files").mkdir()
    (folder / "data").mkdir(exist_ok=True)
    made = Cluster(folder, database_url, env, prefix, wired, spool_url)
    try:
        made.start("api")
        made.start("predictor", *(["worker"] + [f"worker{number}" for number in range(2, workers + 1)]))
        if deploy:
            made.deploy()
        yield made
    finally:
        for wire in made.wires.values():
            wire.clean()
        tree = [
            child
            for process in made.processes.values()
            if process.poll() is None
            for child in psutil.Process(process.pid).children(recursive=True)
        ]
        codes = made.stop()
        left = psutil.wait_procs(tree, timeout=10)[1]
        for child in left:
            child.kill()
        for wire in made.wires.values():
            wire.close()
    assert not left, f"orphans: {left}"
    assert set(codes.values()) <= {0, -signal.SIGKILL}, codes
