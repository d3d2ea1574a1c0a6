"""Places that hold files: what reading and writing asks of each one, be it a folder or an object store.

A store's own module says how its library is called and what its errors mean (`Trouble`); what follows from that, trying
again, going on in the middle, and the words that people read, is the same for all and stands here.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import structlog

from scoreline.errors import OutputError, RunStopped, SourceError, one_line
from scoreline.types import JsonObject

T = TypeVar("T")

BLOCK_BYTES = 1 << 20
BUCKET = re.compile(r"[\w.-]+")
"""What may stand before the key in the URL of an object; which of these are names, the store knows."""
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 15.0
_TOLD_AFTER = 3  # tries; one that helps at once is no news
_ASK_SECONDS = 0.25  # between two looks whether to go on waiting

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file: its name in its place, its bytes, and what tells its content from any other that had this name."""

    key: str
    size: int
    version: str


class Files(Protocol):
    """A place to read files from; used by several threads at once. Every method raises SourceError in words."""

    def shown(self, key: str) -> str:
        """Return how messages call a file."""
        ...

    def stat(self, key: str) -> FileInfo:
        """Return what is there now. Raises SourceError when there is no such file."""
        ...

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield all files whose keys begin with `prefix`, sorted by key."""
        ...

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`, the file's end by default, in blocks of any size.

        Goes on where it was when a connection is cut. Raises SourceError also when the file is not the one of `info`
        any more, RunStopped once the place is closed.
        """
        ...

    def close(self) -> None:
        """End reading, in whatever thread; calling it again is harmless."""
        ...


class Why(StrEnum):
    """What a store's refusal means."""

    AWAY = "away"  # no answer, or one that says: later
    CUT = "cut"  # an answer that ended in the middle
    DENIED = "denied"
    EXPIRED = "expired"
    MISSING = "missing"
    CHANGED = "changed"  # it is there, and not what was asked for
    GONE = "gone"  # an upload that the store does not know any more
    EXISTS = "exists"  # an object that was not to be there
    OTHER = "other"


_AGAIN = (Why.AWAY, Why.CUT)


class Trouble(Exception):
    """A store's refusal; `said` is the store's own word for it, without secrets. wait: seconds that it asks to wait."""

    who = "store"

    def __init__(self, why: Why, said: str, *, wait: float = 0.0, most: int = 200) -> None:
        """Keep at most `most` characters of what was said."""
        super().__init__(f"{why}: {said}")
        self.why = why
        self.said = one_line(said, most)
        self.wait = wait

    def of_nobody(self) -> Trouble:
        """Return it for a job that gave no credential."""
        return Trouble(self.why, f"{self.said}; the job names no credential") if self.why is Why.DENIED else self

    def source_error(self, shown: str) -> SourceError:
        """Return what it means for a file that is read."""
        return SourceError(f"Reading the intake failed: {self._sentence(shown)}")

    def output_error(self, shown: str) -> OutputError:
        """Return what it means for a file that is written."""
        return OutputError(f"Writing the output failed: {self._sentence(shown)}")

    def _sentence(self, shown: str) -> str:
        return _SENTENCES[self.why].format(what=shown, said=self.said, who=self.who)


_SENTENCES = {
    Why.AWAY: "the {who} of {what} does not answer ({said}); is it reachable from the worker? Run the job again.",
    Why.CUT: "the connection to the {who} of {what} breaks again and again ({said}); run the job again.",
    Why.DENIED: "access to {what} was refused ({said}); check the credential and its rights.",
    Why.EXPIRED: "the credentials for {what} have expired ({said}); renew the credential and run the job again.",
    Why.MISSING: "there is no {what} ({said}); check the url.",
    Why.CHANGED: "{what} has changed since the job began ({said}); leave it as it is while a job uses it, and run the "
    "job again.",
    Why.GONE: "the {who} has dropped the unfinished upload of {what} ({said}); run the job again.",
    Why.EXISTS: "there is {what} already ({said}); name another object, or set ifExists to 'overwrite' or 'newName'.",
    Why.OTHER: "the {who} refused {what} ({said}); check the url and the settings.",
}


@contextmanager
def suppress_trouble(*whys: Why) -> Iterator[None]:
    """End the block at trouble of these kinds."""
    try:
        yield
    except Trouble as trouble:
        if trouble.why not in whys:
            raise


_stopping: ContextVar[Callable[[], None]] = ContextVar("stopping", default=lambda: None)


@contextmanager
def stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """Let all patience that begins in the block end, in whatever thread it is used, when `check` raises.

    Not an argument of each adapter, since all of them would only hand it through to what waits.
    """
    token = _stopping.set(check)
    try:
        yield
    finally:
        _stopping.reset(token)


class Patience:
    """Tries again what a store refuses for the moment, for up to `seconds` without any success."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._closed = threading.Event()
        self._stopping = _stopping.get()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """End all waiting: calls raise RunStopped."""
        self._closed.set()

    def call(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. Raises Trouble that does not pass, and RunStopped."""
        spell = _Spell()
        while True:
            self.check()
            try:
                return work()
            except Trouble as trouble:
                self._wait(spell, trouble)

    def read(self, opened: Callable[[int], Iterator[bytes]], start: int, end: int | None) -> Iterator[bytes]:
        """Yield the bytes from `start` to `end` of what `opened` yields from any position on.

        A cut is no end: it is opened again where it broke, for as long as that brings something. `end` is None where
        `opened` itself tells its end from a cut.
        """
        spell = _Spell()
        while end is None or start < end:
            self.check()
            trouble = Trouble(Why.CUT, "the answer was too short")
            try:
                for block in opened(start):
                    self.check()
                    start += len(block)
                    spell = _Spell()
                    yield block
                if end is None:
                    return
            except Trouble as met:
                trouble = met
            if end is None or start < end:
                self._wait(spell, trouble)

    def check(self) -> None:
        """Raise RunStopped once it is closed, and what `stopped_by` was given to ask raises."""
        if self.closed:
            raise RunStopped("The transfer was stopped.")
        self._stopping()

    def _wait(self, spell: _Spell, trouble: Trouble) -> None:
        if trouble.why not in _AGAIN or time.monotonic() - spell.began > self._seconds:
            self.check()  # a connection that was cut on purpose is no trouble of the store's
            raise trouble
        if spell.tries == _TOLD_AFTER:
            _log.warning("a place of files is tried again and again", cause=trouble.said)
        # What asks for more time than there is, is asked once more at the end of it.
        until = time.monotonic() + max(spell.delay(), min(trouble.wait, self._seconds))
        while (left := until - time.monotonic()) > 0 and not self._closed.wait(min(left, _ASK_SECONDS)):
            self._stopping()


class _Spell:
    """A time without success."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tries = 0

    def delay(self) -> float:
        """Return the seconds to wait before the next try."""
        spread = random.uniform(0.5, 1.5)  # noqa: S311 -- keeps callers apart, guards nothing
        self.tries += 1
        return float(min(_FIRST_DELAY * 2.0 ** min(self.tries - 1, 20), _LONGEST_DELAY) * spread)


class Part(Protocol):
    """Bytes of one part: a file to be read from its start, as often as it takes."""

    def __len__(self) -> int: ...

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, all that are left by default."""
        ...

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Go to a place and return it."""
        ...

    def tell(self) -> int:
        """Return the place."""
        ...


class Uploads(Protocol):
    """A place to write objects to in parts; nothing is visible before `complete`. Every method raises Trouble.

    most_part: bytes of the largest part. Parts but the last are of 8 MiB or a multiple.
    """

    most_part: int

    def shown(self, key: str) -> str:
        """Return how messages call an object."""
        ...

    def exists(self, key: str) -> bool:
        """Say whether there is an object of that name."""
        ...

    def begin(self, key: str, mark: str, *, again: bool) -> JsonObject:
        """Begin an upload and return what is needed to go on with it. The object will bear `mark`.

        again: an earlier run may have begun one and died before it could tell.
        """
        ...

    def part(self, upload: JsonObject, number: int, start: int, body: bytes | Part, *, last: bool) -> JsonObject:
        """Store part `number`, from 1, whose first byte is `start` of the object; the same part again replaces it.

        last: `complete` follows, and the object may be there before it. Returns what that needs to know of the part,
        beside its number.
        """
        ...

    def complete(self, upload: JsonObject, parts: Sequence[JsonObject], size: int, *, new: bool) -> None:
        """Make these parts, in order, the object. new: raise Why.EXISTS when there is one by now."""
        ...

    def finished(self, upload: JsonObject, size: int) -> bool:
        """Say whether the object is the one of this upload, with so many bytes. Raises Why.DENIED if that is hidden."""
        ...

    def abort(self, upload: JsonObject) -> None:
        """Leave no part behind; an upload that is over or unknown is fine."""
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...
