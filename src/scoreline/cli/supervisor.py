"""Parts as child processes: started, watched, started again when they die or freeze, stopped together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scoreline.cli.lifeline import BEAT, READY, SUPERVISED
from scoreline.cli.logview import LogView
from scoreline.errors import SetupError

_LOOK_SECONDS = 0.1
_STABLE_SECONDS = 5.0  # a part that lived so long is started again at once
_AT_ONCE = 3  # so often in a row, also one that did not: it was killed, or a fault passes
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 4.0  # with a start of some seconds, less than the ten in which all is to run again
_SILENT_SECONDS = 5.0  # a part beats each second
_FIRST_BEAT_SECONDS = 30.0  # a busy machine may take long to load a program
_ERROR = "Error: "


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a part this time."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)


class Part:
    """One part and its current process.

    launch: asked anew for every start, with the address the part had before (None the first time), so that it can ask
    for the same port again. started: called with the id of every new process. died: called once for every process that
    ended without being told to, or had to be killed. stop_seconds: how long the part may take to stop by itself.
    inherited: a file descriptor that its processes hold as long as they live. silent_seconds: one that does not beat
    for so long is killed.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[str | None], Launch],
        view: LogView,
        *,
        started: Callable[[int], None] = lambda _: None,
        died: Callable[[], None] = lambda: None,
        stop_seconds: float = 8.0,
        inherited: int | None = None,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        self.name = name
        self.ready = threading.Event()
        self.address: str | None = None
        self.last_error: str | None = None
        self._launch = launch
        self._view = view
        self._started = started
        self._died = died
        self._stop_seconds = stop_seconds
        self._inherited = () if inherited is None else (inherited,)
        self._silent_seconds = silent_seconds
        self._process: subprocess.Popen[str] | None = None
        self._started_at = 0.0
        self._due_at = 0.0
        self._failures = 0
        self._beats = 0
        self._silence = _Silence()

    def start(self) -> None:
        """Start a process for the part."""
        launch = self._launch(self.address)
        process = subprocess.Popen(  # noqa: S603 -- our own program
            [sys.executable, "-m", "scoreline", *launch.arguments],
            env={**launch.environment, SUPERVISED: "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C at the terminal reaches the supervisor alone, which stops the parts in their order.
            process_group=0,
            pass_fds=self._inherited,
        )
        self._process, self._started_at = process, time.monotonic()
        self._beats, self._silence = 0, _Silence()
        self._started(process.pid)
        for read in (self._read_answers, self._read_log):
            threading.Thread(target=read, args=(process,), name=f"{self.name} output", daemon=True).start()

    def look(self) -> int | None:
        """Start the part again if it is down and due; return the exit code if it was seen to end just now."""
        if self._process is None:
            if time.monotonic() >= self._due_at:
                self.start()
            return None
        code = self._process.poll()
        if code is None:
            self._end_if_frozen(self._process)
            return None
        self._forget_process()
        lived = time.monotonic() - self._started_at
        self._failures = 0 if lived >= _STABLE_SECONDS else self._failures + 1
        more = self._failures - _AT_ONCE
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**more) if more > 0 else 0.0
        self._due_at = time.monotonic() + pause
        self._view.say(
            "part ended and is started again", level="warning", part=self.name, how=_how(code), pause_seconds=pause
        )
        self._died()
        return code

    def stop(self, *, wait: bool = True) -> None:
        """Ask the process to stop; with `wait`, until it has, and by force when it takes too long."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        if not wait:
            return
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self._view.say("part does not stop and is killed", level="warning", part=self.name)
            self.kill()
            self._died()
        self._forget_process()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """The process id, None while the part is down."""
        return None if self._process is None else self._process.pid

    def _end_if_frozen(self, process: subprocess.Popen[str]) -> None:
        """Kill a process that shows no life: what it holds, such as a lock on the database, stops the others, too."""
        allowed = self._silent_seconds if self._beats else max(_FIRST_BEAT_SECONDS, self._silent_seconds)
        if self._silence.seconds(self._beats) >= allowed:
            self._view.say("part shows no life and is killed", level="warning", part=self.name, pid=process.pid)
            self._silence = _Silence()
            process.kill()  # its end is seen by the next look, or a later one

    def _forget_process(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def _read_answers(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                said = _message(line)
                if BEAT in said:
                    if process is self._process:
                        self._beats += 1
                elif READY in said:
                    self.address = str(said[READY])
                    self.ready.set()
                else:
                    self._view.line(self.name, line.rstrip())

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                text = line.rstrip()
                if text.startswith(_ERROR):
                    self.last_error = text.removeprefix(_ERROR)
                if text:
                    self._view.line(self.name, text)


class _Silence:
    """How long a part has been silent. Time in which nobody looked, because this process was stopped, hardly counts."""

    def __init__(self) -> None:
        self._beats = 0
        self._silence = 0.0
        self._looked = time.monotonic()

    def seconds(self, beats: int) -> float:
        """Take the number of beats heard so far; return the seconds since it last grew."""
        moment = time.monotonic()
        self._silence += min(moment - self._looked, 2 * _LOOK_SECONDS)
        self._looked = moment
        if beats != self._beats:
            self._beats, self._silence = beats, 0.0
        return self._silence


class Supervisor:
    """Keeps parts running until `stop` is set; then one part stops first, and the others together."""

    def __init__(self, view: LogView, stop: threading.Event) -> None:
        self._view = view
        self._stop = stop
        self._parts: list[Part] = []
        self.force = threading.Event()

    def add(self, part: Part, *, stops_first: bool = False) -> Part:
        """Start a part and look after it from now on."""
        part.start()
        self._parts.insert(0 if stops_first else len(self._parts), part)
        return part

    def wait(self, reached: Callable[[], bool], seconds: float, what: str) -> bool:
        """Wait for something at start-up; False when told to stop meanwhile.

        Raises SetupError with a part's own words when one ends, and when it takes longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not reached():
            if self._stop.wait(_LOOK_SECONDS / 2):
                return False
            for part in self._parts:
                code = part.look()
                # One that was killed is simply started again.
                if code is not None and code >= 0 and not part.ready.is_set():
                    time.sleep(_LOOK_SECONDS)  # its last words are still on their way
                    raise SetupError(part.last_error or f"The {part.name} does not start: it ended by {_how(code)}.")
            if time.monotonic() > deadline:
                raise SetupError(f"{what} within {seconds:.0f} seconds: see the log lines above.")
        return True

    def watch(self) -> None:
        """Start again what dies, until told to stop."""
        while not self._stop.wait(_LOOK_SECONDS):
            for part in self._parts:
                try:
                    part.look()
                except OSError as error:  # no process can be made now
                    self._view.say("part cannot be started", level="error", part=part.name, cause=str(error))

    def stop(self) -> None:
        """Stop all parts, one after the other; at once when `force` is set meanwhile."""
        watcher = threading.Thread(target=self._kill_when_forced, daemon=True)
        watcher.start()
        if self._parts:
            self._parts[0].stop()
        for part in self._parts[1:]:
            part.stop(wait=False)
        for part in self._parts[1:]:
            part.stop()

    def _kill_when_forced(self) -> None:
        self.force.wait()
        for part in self._parts:
            part.kill()


def inherited(names: Sequence[str]) -> dict[str, str]:
    """Return the allowed part of this process's environment."""
    return {
        name: value for name, value in os.environ.items() if name in names or name.upper().startswith(("LC_", "PYTHON"))
    }


def _message(line: str) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
