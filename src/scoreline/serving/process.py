"""The front's side of one model process: start it, hand it messages, get its answers in order, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scoreline.errors import ModelCrashed, ScoringError, ServerUnavailable
from scoreline.models.environment import child_environment
from scoreline.serving import frozen, wire
from scoreline.types import JsonObject

_READ = 1 << 18
_LAST_READS = 64  # of what a child said before its end
_LEAVE_SECONDS = 2.0  # for a child that is told to go
_ABANDONED_SECONDS = 10.0  # for work that nobody waits for any more
_LATE_SECONDS = 2.0


class NotStarted(Exception):
    """The process went away before it took the message up: another process can have it."""


@dataclass(slots=True)
class _Pending:
    """A message that waits for its answer; `done` is called once, whatever becomes of it."""

    answer: asyncio.Future[JsonObject]
    seconds: float
    done: Callable[[], None]


class ModelProcess:
    """One child. It answers in order, so messages may be handed over while it still works on earlier ones."""

    def __init__(self, *, keep: int, folder: Path) -> None:
        self._keep = keep
        self._models: OrderedDict[str, None] = OrderedDict()  # as on the child's shelf, which sees messages in order
        self._stopped = False
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Pending] = deque()
        self._unpacker = wire.Unpacker()
        self._clock: asyncio.TimerHandle | None = None
        self._since = 0.0  # when the child began with the first of the messages
        self._reason: str | None = None
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module and interpreter
                [sys.executable, "-P", "-m", "scoreline.serving.modelproc", str(theirs.fileno()), str(keep)],
                env=child_environment(os.environ, folder),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # so that what a model has started goes with it
            )
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._readable)
        # The socket alone does not tell the child's end: a process that a model has forked may hold it, too.
        threading.Thread(target=self._watch, name=f"end of {self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """True while the child has started and is not known to have ended."""
        return self.ready.done() and self._reason is None and self._socket.fileno() >= 0

    @property
    def in_flight(self) -> int:
        """Messages handed over and not answered."""
        return len(self._pending)

    @property
    def late(self) -> bool:
        """True when the child has worked for long on one message: others would wait behind it."""
        return bool(self._pending) and self._loop.time() - self._since > _LATE_SECONDS

    def has(self, key: str) -> bool:
        """Return whether the child keeps this model loaded, or will when it has worked off its messages."""
        return key in self._models

    def note(self, key: str) -> None:
        """Remember that a message handed over has the child load or use this model."""
        self._models[key] = None
        self._models.move_to_end(key)
        while len(self._models) > self._keep:
            self._models.popitem(last=False)

    def forget(self, key: str) -> None:
        """Remember that the child could not load this model."""
        self._models.pop(key, None)

    def submit(
        self,
        message: JsonObject,
        descriptor: int | None,
        *,
        seconds: float,
        done: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[JsonObject]:
        """Hand a message over. The future raises ModelCrashed when the process ends over it, or NotStarted.

        seconds: how long the process may work on it before it is killed, counted from when the messages before it are
        answered. Work that nobody waits for any more, because the future was cancelled, gets a few seconds.
        done: called when the process is finished with it, also then.
        Raises nothing itself; after `close` the future raises ServerUnavailable.
        """
        pending = _Pending(self._loop.create_future(), seconds, done)
        if self._socket.fileno() < 0:
            pending.answer.set_exception(NotStarted())
            done()
            return pending.answer
        self._pending.append(pending)
        pending.answer.add_done_callback(lambda answer: self._set_clock() if answer.cancelled() else None)
        try:
            data = wire.pack(message)
            sent = (
                self._socket.send(data) if descriptor is None else socket.send_fds(self._socket, [data], [descriptor])
            )
            if sent < len(data):
                raise BlockingIOError("the socket took only part of a message")
        except OSError as error:
            self._kill(f"did not take a request ({error})")
        if len(self._pending) == 1:
            self._start_clock()
        return pending.answer

    async def close(self) -> None:
        """End the child: at once when it is idle, by force when it is not gone within two seconds."""
        self._stopped = self._reason is None
        self._reason = self._reason or "was stopped"
        if self._pending:
            self._end_group()
        self._hang_up()
        await self.ended()

    async def ended(self) -> str:
        """Wait for the child's end; says how it ended, as in "ended by exit code 1"."""
        return await asyncio.shield(self._ended)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._read()

    def _read(self) -> None:
        """Take a piece of what the child says. Raises BlockingIOError when it says nothing."""
        try:
            data = self._socket.recv(_READ)
        except ConnectionError:
            data = b""
        try:
            for message in self._unpacker.feed(data):
                self._answered(message)
        except ValueError as error:
            self._kill(f"answered nonsense ({error})")
            data = b""  # nothing after that means anything
        if not data:
            self._hang_up()

    def _answered(self, message: JsonObject) -> None:
        if "ready" in message:
            if not self.ready.done():
                self.ready.set_result(None)
            return
        if not self._pending:
            self._kill("answered without being asked")
            return
        pending = self._pending.popleft()
        self._start_clock()
        if not pending.answer.done():
            pending.answer.set_result(message)
        pending.done()

    def _start_clock(self) -> None:
        """The child begins with the first of its messages."""
        self._since = self._loop.time()
        self._set_clock()

    def _set_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if not self._pending:
            return
        first = self._pending[0]
        due, reason = self._since + first.seconds, f"did not answer within {first.seconds:g} s"
        last = self._loop.time() + _ABANDONED_SECONDS
        if first.answer.cancelled() and last < due:
            due, reason = last, "worked on what nobody waits for any more"
        self._clock = self._loop.call_at(due, self._kill, reason)

    def _kill(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._end_group()

    def _end_group(self) -> None:
        """End the child and what it has started; its number stays its own until `_exited`."""
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # Darwin says the latter of a group of dead
                os.killpg(self.pid, signal.SIGKILL)

    def _hang_up(self) -> None:
        """Stop listening; the child goes by itself, or is ended soon."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._loop.call_later(_LEAVE_SECONDS, self._end_group)

    def _watch(self) -> None:
        """Wait for the child's end, in a thread."""
        with contextlib.suppress(ChildProcessError):
            frozen.wait_for_end(self.pid, lambda: self._soon(self._frozen))
        self._soon(self._exited)

    def _soon(self, work: Callable[[], None]) -> None:
        """Have something done by the loop's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work)

    def _frozen(self) -> None:
        self._kill(f"stood still for {frozen.SECONDS:g} s")

    def _exited(self) -> None:
        """Take the child's last words, then fail what is still unanswered."""
        self._end_group()
        with contextlib.suppress(BlockingIOError):
            for _ in range(_LAST_READS):
                if self._socket.fileno() < 0:
                    break
                self._read()
        self._hang_up()
        if self._clock is not None:
            self._clock.cancel()
        code = self._process.wait()
        reason = self._reason or f"ended by {_exit_text(code)}"
        self._ended.set_result(reason)
        if not self.ready.done():
            self.ready.set_exception(ServerUnavailable(f"A model process {reason} while it started."))
            self.ready.exception()  # nobody need wait for it
        first = True
        while self._pending:
            pending = self._pending.popleft()
            if not pending.answer.done():
                pending.answer.set_exception(self._end_over_a_message(reason) if first else NotStarted())
            pending.done()
            first = False

    def _end_over_a_message(self, reason: str) -> ScoringError:
        if self._stopped:
            return ServerUnavailable(f"The model process {reason}; try again in a moment.")
        return ModelCrashed(f"The model's process {reason}.")


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        return f"signal {-code}"
