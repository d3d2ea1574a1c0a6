"""Starts the servers, each in its own environment. Without SCORELINE_SYSTEMS, their folder, nothing runs here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

SYSTEMS = os.environ.get("SCORELINE_SYSTEMS")
collect_ignore_glob = [] if SYSTEMS else ["test_*.py"]
START_SECONDS = 120.0


@dataclass(frozen=True)
class System:
    """A folder with models of one environment, rows and the models' own predictions."""

    name: str
    folder: Path

    @property
    def rows(self) -> Path:
        return self.folder / "rows.csv"

    def own(self, model: str = "binary") -> list:
        return json.loads((self.folder / f"{model}.json").read_text())

    @contextmanager
    def started(self, command: list[str], ready: str, *, cwd: Path | None = None, **env: str) -> Iterator[None]:
        """Run a command of the environment until the block ends; wait for the address `ready`."""
        log = self.folder / f"log-{time.monotonic_ns()}.txt"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=environment(self.name) | env, stdout=out, stderr=subprocess.STDOUT, cwd=cwd or self.folder,
                stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
        try:
            until_ready(process, ready, log)
            yield
        finally:
            os.killpg(process.pid, 15)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait(20)


def environment(name: str) -> dict[str, str]:
    """Variables in which the programs of an environment are found."""
    folder = Path(str(SYSTEMS)).resolve() / name / "bin"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SCORELINE_", "PYTHON"))}
    return kept | {"PATH": f"{folder}:{kept['PATH']}", "VIRTUAL_ENV": str(folder.parent), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until_ready(process: subprocess.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    with httpx2.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < end:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.2)
    raise AssertionError(f"{url} did not answer in time: {log.read_text()[-3000:]}")


def made(name: str, folder: Path) -> System:
    script = Path(__file__).with_name("make_model.py")
    subprocess.run(
        ["python", str(script), name, str(folder)], env=environment(name), check=True, timeout=120, cwd=folder
    )
    return System(name, folder)


@pytest.fixture(scope="session")
def drum(tmp_path_factory):
    return made("drum", tmp_path_factory.mktemp("drum"))


@contextmanager
def drum_server(system: System, model: str = "binary", *words: str, **env: str) -> Iterator[str]:
    port = free_port()
    labels = ["--positive-class-label", "yes", "--negative-class-label", "no"] if model == "binary" else []
    command = ["drum", "server", "--code-dir", str(system.folder / model), "--target-type", model, *labels]
    address = f"127.0.0.1:{port}"
    with system.started([*command, "--address", address, *words], f"http://{address}/info/", **env):
        yield f"http://{address}"


@pytest.fixture(scope="session")
def drum_binary(drum):
    with drum_server(drum) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory):
    return made("mlflow", tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def mlflow_binary(mlflow):
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", str(mlflow.folder / "binary"), "--env-manager", "local"]
    with mlflow.started([*command, "-h", "127.0.0.1", "-p", str(port), "-w", "1"], f"http://127.0.0.1:{port}/ping"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def mlserver(tmp_path_factory):
    return made("mlserver", tmp_path_factory.mktemp("mlserver"))


@contextmanager
def v2_server(system: System, version: str = "v1") -> Iterator[str]:
    ports = {"http_port": free_port(), "grpc_port": free_port(), "metrics_port": free_port()}
    for model in ("binary", "matrix"):
        settings = {
            "name": model,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": "./model.joblib", "version": version},
        }
        (system.folder / model / "model-settings.json").write_text(json.dumps(settings))
    (system.folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
    url = f"http://127.0.0.1:{ports['http_port']}"
    with system.started(["mlserver", "start", str(system.folder)], f"{url}/v2/models/binary/ready"):
        yield url


@pytest.fixture(scope="session")
def mlserver_url(mlserver):
    with v2_server(mlserver) as url:
        yield url
