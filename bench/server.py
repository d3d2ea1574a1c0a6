"""A whole Scoreline for the bench: started, given a deployment, stopped."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from bench.data import DATA, LABELS, TARGET

_START_SECONDS = 60
_ROLES = ("modelproc", "predictor", "worker", "api", "serve", "score")
SCORELINE = [sys.executable, "-m", "scoreline"]


class Server:
    """`scoreline serve` on a free port with an empty data folder, or one part; use it in a `with` block."""

    def __init__(self, *, env: dict[str, str] | None = None, part: str = "serve") -> None:
        DATA.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="server-", dir=DATA))
        self.token = secrets.token_urlsafe(32)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "SCORELINE_ADMIN_TOKEN": self.token,
            "SCORELINE_URL": self.url,
            "SCORELINE_TOKEN": self.token,
            "SCORELINE_DATA_DIR": str(self.folder / "data"),
            **(env or {}),
        }
        self.part = part
        self.log = (self.folder / "log.txt").open("wb")
        command = [*SCORELINE, part, "--port", str(self.port)]
        self._process = subprocess.Popen(command, env=self.env, stdout=self.log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def deploy(self, model: Path, name: str) -> str:
        """Deploy a binary model and return the deployment's id."""
        command = [*SCORELINE, "deploy", str(model), "--name", name, "--target", TARGET, "--target-type", "Binary"]
        command += ["--class-labels", ",".join(LABELS), "--positive-class", LABELS[1], "--trust", "--json"]
        done = subprocess.run(command, env=self.env, capture_output=True, check=False, text=True)
        if done.returncode:
            raise SystemExit(f"bench: deploying failed: {done.stderr}\n{self._tail()}")
        return str(json.loads(done.stdout)["id"])

    def call(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        """Make one request of JSON; return the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, f"/api/v2/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text else {}

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                status, answer = self.call("GET", "predictionServers/")
                if status == 200 and (answer["data"] or self.part != "serve"):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"bench: the server did not start:\n{self._tail()}")

    def _tail(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")[-3000:]


def role(command: list[str]) -> str:
    """Tell what a process does by its command line."""
    words = " ".join(command[:8]).replace(".", " ").replace("/", " ").split()
    return next((known for known in _ROLES if known in words), "client")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
