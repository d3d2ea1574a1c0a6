"""Wall time, CPU time of a whole tree of processes, and peak memory as PSS (shared pages counted by share)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

_SAMPLE_SECONDS = 0.15


@dataclass
class Usage:
    """One run: seconds (`cpu_by`: by role), and peaks in bytes by role; `total` is the peak of the sum."""

    wall: float = 0.0
    cpu: float = 0.0
    total: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    cpu_by: dict[str, float] = field(default_factory=dict)


class PssSampler:
    """Samples the memory of process trees while it is open; `name` tells the role of a process by its command line."""

    def __init__(self, roots: Iterable[int], name: Callable[[list[str]], str]) -> None:
        self._roots = list(roots)
        self._name = name
        self._roles: dict[int, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.total = 0
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def watch(self, pid: int) -> None:
        """Watch one more tree."""
        self._roots.append(pid)

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            total = 0
            for pid in tree(tuple(self._roots)):
                size = _pss(pid)
                role = self._role(pid)
                total += size
                self.peaks[role] = max(self.peaks.get(role, 0), size)
            self.total = max(self.total, total)

    def _role(self, pid: int) -> str:
        if pid not in self._roles:
            with contextlib.suppress(psutil.Error):
                self._roles[pid] = self._name(psutil.Process(pid).cmdline())
        return self._roles.get(pid, "?")


def run(command: list[str], *, env: dict[str, str] | None = None, name: Callable[[list[str]], str]) -> Usage:
    """Run a command to its end; its CPU is that of all processes it waited for, too. Ends the bench when it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors: list[bytes] = []
    assert process.stderr is not None
    drain = threading.Thread(target=lambda stream=process.stderr: errors.append(stream.read()), daemon=True)
    drain.start()
    with PssSampler([process.pid], name) as sampler:
        _, status, spent = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    drain.join(1)
    process.stderr.close()
    if process.returncode:
        sys.stderr.write(b"".join(errors).decode(errors="replace")[-4000:])
        raise SystemExit(f"bench: {' '.join(command[:6])} ... ended with {process.returncode}")
    return Usage(wall, spent.ru_utime + spent.ru_stime, sampler.total, sampler.peaks)


def tree(roots: Iterable[int]) -> list[int]:
    """Return the process ids of the roots and all their descendants."""
    found: dict[int, None] = {}
    for root in roots:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(root)
            found[root] = None
            found.update(dict.fromkeys(child.pid for child in process.children(recursive=True)))
    return list(found)


def cpu_of(roots: Iterable[int], name: Callable[[list[str]], str]) -> dict[str, float]:
    """Return the CPU seconds by role that running trees have used so far, those of their ended children included."""
    spent: dict[str, float] = {}
    for pid in tree(roots):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            times, role = process.cpu_times(), name(process.cmdline())
            used = times.user + times.system + times.children_user + times.children_system
            spent[role] = spent.get(role, 0.0) + used
    return spent


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0
