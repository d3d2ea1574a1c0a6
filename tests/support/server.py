"""A whole installation as users start it: `scoreline serve` in a process of its own, and models to score with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

ADMIN_TOKEN = "token-of-the-tests-0123456789"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Server:
    """A running installation."""

    url: str
    token: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"{self.url}/api/v2"

    def http(self, **options) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=f"{self.endpoint}/", headers=headers, trust_env=False, timeout=60, **options)

    def deploy(self, file: Path, name: str, target: str, **fields) -> str:
        """Upload a model file, register and deploy it as `scoreline deploy` does; return the deployment's id."""
        with self.http() as http:
            uploaded = http.post("modelArtifacts/", params={"filename": file.name}, content=file.read_bytes())
            assert uploaded.status_code == 201, uploaded.text
            body = {
                "name": name,
                "target": {"name": target, **fields},
                "modelDescription": {"location": uploaded.json()["location"]},
            }
            package = http.post("modelPackages/fromJSON/", json=body)
            assert package.status_code == 201, package.text
            made = http.post(
                "deployments/fromModelPackage/", json={"modelPackageId": package.json()["id"], "label": name}
            )
            assert made.status_code == 202, made.text
            return str(made.json()["id"])


@contextmanager
def running_server(folder: Path, **environment: str) -> Iterator[Server]:
    """Start an installation on free ports with its data in `folder`; stop it at the end, which must go well."""
    ready, log = folder / "ready.json", folder / "serve.log"
    settings = {"SCORELINE_ADMIN_TOKEN": ADMIN_TOKEN, "SCORELINE_CONFIG": str(folder / "none.toml"), **environment}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SCORELINE_")}
    command = [sys.executable, "-m", "scoreline", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], env=clean | settings, stdout=output, stderr=output, cwd=folder
        )
    try:
        _wait(process, ready, log)
        yield Server(json.loads(ready.read_text())["url"], ADMIN_TOKEN, folder, process)
    finally:
        code = _stop(process)
    assert code == 0, log.read_text()


def _wait(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -1
