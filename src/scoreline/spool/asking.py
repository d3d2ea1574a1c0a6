"""Asking an object store: what its answers mean, and trying again what may pass."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from scoreline.errors import SpoolAway, SpoolError, SpoolFull

T = TypeVar("T")

_FIRST_DELAY = 0.05  # seconds
_LONGEST_DELAY = 2.0
_TOLD_AFTER = 5  # tries

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>|\"reason\": ?\"([A-Za-z ]+)\"")
_KEYS = re.compile(r"169\.254\.|metadata\.google|token request")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_AGAIN = ("RequestTimeout", "SlowDown", "ConditionalRequestConflict", "OperationAborted")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired")
_DENIED = (401, 403)
_BUSY = (408, 409, 425, 429)
_FULL = 507

_log = structlog.get_logger(__name__)


class StoreMissing(SpoolError):
    """There is no bucket, or no container, of that name."""


class StoreDenied(SpoolError):
    """The store refuses what this process is, or is not told who it is."""


class Asking:
    """Asks one store again and again, for up to `seconds` without any success. Safe for threads."""

    def __init__(self, shown: str, seconds: float) -> None:
        """`shown`: the store's URL, for messages. It must have no secret in it."""
        self._shown = shown
        self._seconds = seconds
        self._closed = threading.Event()

    def close(self) -> None:
        """End all waiting: what is tried again now fails."""
        self._closed.set()

    def __call__(self, doing: str, work: Callable[[], T], *, write: bool = False) -> T | None:
        """Return what `work` returns, None when the object is not there.

        doing: what it is, for messages. write: no object has to be there for it. Raises SpoolAway, SpoolFull,
        StoreDenied, StoreMissing, SpoolError; FileExistsError when it was not to be there and is.
        """
        began = time.monotonic()
        tries = 0
        while True:
            try:
                return work()
            except Exception as error:
                passes = self._meaning(doing, error, write=write)
                if passes is None:
                    return None
                if time.monotonic() - began > self._seconds or self._closed.is_set():
                    raise passes from error
                tries += 1
                if tries == _TOLD_AFTER:
                    _log.warning("the spool's store is asked again and again", cause=passes.message)
            spread = random.uniform(0.5, 1.5)  # noqa: S311 -- keeps callers apart, guards nothing
            self._closed.wait(min(_FIRST_DELAY * 2.0 ** min(tries - 1, 20), _LONGEST_DELAY) * spread)

    def _meaning(self, doing: str, error: Exception, *, write: bool) -> SpoolAway | None:
        """Return what to raise if it does not pass, None for an object that is not there; raise what never passes.

        The library's text is long, and shows what was signed: nothing of it but status and code gets out.
        """
        from obstore import exceptions  # noqa: PLC0415 -- optional

        text = str(error).partition("\n\nDebug source:")[0]
        status = int(found[1]) if (found := _STATUS.search(text)) else 0
        code = next((one for one in found.groups() if one), "") if (found := _CODE.search(text)) else ""
        said = ", ".join(part for part in (code, f"status {status}" if status else "") if part) or "no answer"
        if _KEYS.search(text):
            said += ", asked for credentials"
        if isinstance(error, exceptions.AlreadyExistsError) and code not in _AGAIN:
            raise FileExistsError(self._shown) from error
        if code in _NO_BUCKET or (write and isinstance(error, FileNotFoundError)):
            raise StoreMissing(
                f"Spool: cannot {doing}: there is no {self._shown} ({said}); make the bucket, or mend "
                "SCORELINE_SPOOL_URL."
            ) from error
        if isinstance(error, FileNotFoundError):
            return None
        if status == _FULL:
            raise SpoolFull(f"Spool: cannot {doing}: {self._shown} is full ({said}); make space in it.") from error
        if code not in _AGAIN and (status in _DENIED or code in _EXPIRED):
            raise StoreDenied(
                f"Spool: cannot {doing}: {self._shown} refuses this process, or has no credentials of it ({said}); "
                "check the environment's credentials for SCORELINE_SPOOL_URL and their rights."
            ) from error
        passes = not status or status in _BUSY or status >= 500 or code in _AGAIN
        if passes and not isinstance(error, (exceptions.NotSupportedError, TypeError, ValueError)):
            return SpoolAway(
                f"Spool: cannot {doing}: {self._shown} does not answer as it should ({said}), for {self._seconds:.0f} "
                "s now; look after it, and run the job again."
            )
        raise SpoolError(f"Spool: cannot {doing}: {self._shown} refused it ({said}).") from error
