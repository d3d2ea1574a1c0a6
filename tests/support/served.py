"""A whole installation, `scoreline serve` as users start it, and the command line that talks to it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

SCORELINE = [sys.executable, "-m", "scoreline"]
START_SECONDS = 90


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of Scoreline's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SCORELINE_")}


def scoreline(*words: str, env: dict[str, str] | None = None, **more: object) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; its output is text."""
    return subprocess.run(
        [*SCORELINE, *words],
        env={**clean_environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **more,  # type: ignore[call-overload]  # options of `run`
    )


def names(folder: Path) -> list[str]:
    """Names of what is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def until(reached: Callable[[], T], seconds: float = 30, what: str = "") -> T:
    """Wait for something that must come; return it."""
    end = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < end, f"not reached in {seconds} s: {what or reached}"
        time.sleep(0.05)
    return found


class Served:
    """A running server. `env`: what a client's environment needs."""

    def __init__(self, folder: Path, *words: str, env: dict[str, str] | None = None) -> None:
        self.data = folder / "data"
        self.ready = folder / "ready.json"
        self.log = folder / "log.txt"
        self.token = secrets.token_hex(16)
        settings = {"SCORELINE_ADMIN_TOKEN": self.token, "SCORELINE_PREDICTOR_PROCESSES": "1"}
        command = [*SCORELINE, "serve", "--port", "0", "--data-dir", str(self.data), "--ready-file", str(self.ready)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *words],
                env={**clean_environment(), **settings, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                process_group=0,
            )
        self.url = ""
        self.env: dict[str, str] = {}

    def wait(self) -> Served:
        """Wait until it answers."""
        until(lambda: self.ready.exists() or self.process.poll() is not None, START_SECONDS, "the server's start")
        assert self.process.poll() is None, self.log.read_text()
        self.url = json.loads(self.ready.read_text())["url"]
        self.env = {"SCORELINE_URL": self.url, "SCORELINE_TOKEN": self.token}
        return self

    def part(self, name: str) -> psutil.Process | None:
        """The process of one part that runs now, None while there is none."""
        for child in psutil.Process(self.process.pid).children():
            try:
                if name in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def tree(self) -> list[psutil.Process]:
        """All processes of the server but the supervisor."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(40)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


@contextmanager
def served(folder: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """A server that runs for the block."""
    server = Served(folder, *words, env=env)
    try:
        yield server.wait()
    finally:
        server.stop()
