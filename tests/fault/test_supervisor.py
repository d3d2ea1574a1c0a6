"""`scoreline serve` with real processes: parts that are killed come back, and every way to end it ends all of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import tiny
from tests.support.matrix import rarely
from tests.support.served import SCORELINE, Served, clean_environment, scoreline, served, until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a deployed model, shared by the tests that leave it running."""
    folder = tmp_path_factory.mktemp("served")
    with served(folder) as server:
        model = tiny.save(folder / "model.txt")
        done = scoreline("deploy", str(model), "--name", "churn", *tiny.DEPLOY, env=server.env)
        assert done.returncode == 0, done.stderr + server.log.read_text()
        yield server


def test_a_job_goes_on_when_its_worker_is_killed(running: Served, tmp_path: Path) -> None:
    text, expected = tiny.rows(40_000)
    half = text.index("\n", len(text) // 2) + 1
    words = ("score", "-", "-o", "out.csv", "--deployment", "churn", "--passthrough", "id")
    process = subprocess.Popen(
        [*SCORELINE, *words], stdin=subprocess.PIPE, env={**clean_environment(), **running.env}, cwd=tmp_path
    )
    assert process.stdin is not None
    process.stdin.write(text[:half].encode())
    process.stdin.flush()
    until(
        lambda: "RUNNING" in scoreline("jobs", "list", "--limit", "1", env=running.env).stdout, what="the job's start"
    )
    worker = running.part("worker")
    assert worker is not None
    worker.kill()
    process.stdin.write(text[half:].encode())
    process.stdin.close()
    assert process.wait(60) == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert [line.split(",")[-1] for line in lines] == [f"{number:05d}" for number in range(40_000)]
    assert [float(line.split(",")[0]) for line in lines] == expected.tolist()


def test_parts_keep_their_address_when_they_come_back(running: Served) -> None:
    api = running.part("api")
    assert api is not None
    api.kill()
    until(lambda: running.part("api") not in (None, api))
    until(lambda: scoreline("jobs", "list", env=running.env).returncode == 0, what="the API at its old address")


def test_the_predictor_knows_no_secret_but_its_own(running: Served) -> None:
    predictor = running.part("predictor")
    assert predictor is not None
    environment = predictor.environ()
    assert running.token not in json.dumps(environment)
    assert "SCORELINE_ADMIN_TOKEN" not in environment
    assert environment["SCORELINE_PREDICTOR_TOKEN"] != running.token
    worker = running.part("worker")
    assert worker is not None
    assert running.token not in json.dumps(worker.environ())


def test_a_second_server_on_the_same_folder_is_refused(running: Served) -> None:
    done = scoreline("serve", "--port", "0", "--data-dir", str(running.data))
    assert done.returncode == 1
    assert f"process id {running.process.pid} on host {socket.gethostname()}" in done.stderr
    assert done.stderr.startswith("Error: ")


def test_logs_of_all_parts_are_kept(running: Served) -> None:
    lines = (running.data / "logs" / "scoreline.log").read_text().splitlines()
    assert {json.loads(line)["process"] for line in lines if line.startswith("{")} >= {"api", "worker"}


@pytest.mark.parametrize("number", [signal.SIGTERM, *rarely(signal.SIGINT, signal.SIGHUP)])
def test_each_signal_to_stop_stops_all_within_seconds(tmp_path: Path, number: signal.Signals) -> None:
    with served(tmp_path) as server:
        tree = server.tree()
        assert len(tree) >= 4
        begun = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - begun < 30  # and not the minute that a server is given which hangs
        assert not [process for process in tree if process.is_running()]
        assert not server.ready.exists()


def test_a_killed_supervisor_takes_all_with_it_and_can_start_again(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        tree = server.tree()
        server.process.kill()
        server.process.wait()
        until(lambda: not [process for process in tree if process.is_running()], 20, "the end of the orphans")
    server.ready.unlink()
    with served(tmp_path) as again:
        assert scoreline("jobs", "list", env=again.env).returncode == 0


def test_stopping_while_it_starts_is_clean(tmp_path: Path) -> None:
    server = Served(tmp_path)
    until(lambda: psutil.Process(server.process.pid).children(), what="the first child")
    assert server.stop() == 0


def test_a_taken_port_is_told_in_one_sentence_and_nothing_stays(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = scoreline("serve", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr.splitlines()[-1]
    assert not [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("SCORELINE_DATA_DIR") == str(tmp_path / "data")
    ]


def test_the_first_token_is_shown_once_and_works(tmp_path: Path) -> None:
    for first in (True, False):
        with (tmp_path / "out.txt").open("w") as out:
            process = subprocess.Popen(
                [*SCORELINE, "serve", "--port", "0", "--data-dir", "d", "--ready-file", "r.json"],
                env={**clean_environment(), "SCORELINE_PREDICTOR_PROCESSES": "1"},
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        try:
            until((tmp_path / "r.json").exists, 60, "the start")
            url = json.loads((tmp_path / "r.json").read_text())["url"]
            shown = (tmp_path / "out.txt").read_text()
            assert ("shown this once" in shown) == first
            if first:
                token = next(line for line in shown.splitlines() if "shown this once" in line).split()[-1]
            env = {"SCORELINE_URL": url, "SCORELINE_TOKEN": token}
            assert scoreline("jobs", "list", env=env).returncode == 0
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = scoreline("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The data folder")
    assert os.linesep not in done.stderr.strip()
