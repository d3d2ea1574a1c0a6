"""The error tree. Callers catch the branch they can handle; `api/` alone maps a branch to an HTTP status.

    ScorelineError
    +-- UserError                 the caller's doing: never retried
    |   +-- InvalidRequest        a field is wrong or not supported            (field)
    |   +-- NotAuthenticated      no token, or a wrong one
    |   +-- Forbidden             known caller, no right
    |   +-- NotFound              no such object, or not visible to the caller
    |   +-- Conflict              the object is in a state that forbids it
    +-- SourceError               the intake: gone, broken, undecodable, no header
    +-- ScoringError              a prediction server
    |   +-- DataRefused           the rows themselves: bisect                   (row)
    |   +-- TooLarge              the request: split
    |   +-- Overloaded            try again later                               (retry_after)
    |   +-- ServerUnavailable     connection, time-out: try again
    |   +-- ModelCrashed          the model's process ended over the rows: once more, then bisect
    |   +-- AccessRefused         token or address: give up
    |   +-- WrongAnswer           reply that is not one prediction per row: try again, then give up
    |   +-- ModelBroken           the model cannot be loaded or does not fit: give up
    |       +-- ModelChanged      the server has another model than when the job began
    +-- OutputError               the target: refused, gone, full
    +-- SpoolError                staged bytes: full disk, damaged segment
    |   +-- SpoolFull
    |   +-- SpoolReadOnly
    |   +-- SpoolAway           the store of staged bytes does not answer
    +-- StoreError                the database: gone, full, no free connection
    |   +-- StoreBusy             lost against another transaction; nothing was changed
    |   +-- StoreAway             nobody answers, or not any more
    |   +-- StoreFull             there is no space for a change, or its disk takes none
    +-- LedgerDamaged             the record of a job's finished chunks is not what was written
    +-- TooManyBadRows            the thresholds of abortOnError
    +-- TimeLimit                 the job has run for as long as it may
    +-- RunStopped                the run was asked to end
    |   +-- Cancelled             by a user
    |   +-- LostLease             another worker has the job
    |   |   +-- Paused            nobody has it: it rests until a user resumes it
    |   +-- ShuttingDown          this process is going down; the job goes on elsewhere
    +-- SetupError                the installation: a missing extra, a bad setting

Each message is one sentence for the job log: stage, object, cause, next step; never a secret.
"""

from __future__ import annotations

import re

from scoreline import redact

_NO_SIGN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ScorelineError(Exception):
    """Root of all errors that Scoreline raises on purpose."""

    retry = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UserError(ScorelineError):
    """The request cannot be done as it was made."""


class InvalidRequest(UserError):
    """A field is wrong, unknown or not supported; `field` is its name on the wire."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotAuthenticated(UserError):
    """No token, or one that is unknown, expired or revoked."""


class Forbidden(UserError):
    """The caller is known and lacks the right."""


class NotFound(UserError):
    """No such object, or the caller may not see it."""


class Conflict(UserError):
    """The object's state forbids the request."""


class SourceError(ScorelineError):
    """The intake is gone, broken, empty or not readable as what it claims to be."""


class ScoringError(ScorelineError):
    """A prediction server did not give a usable answer."""


class DataRefused(ScoringError):
    """The server or model refused the rows sent; `row` is the batch row at fault when the server says so."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class TooLarge(ScoringError):
    """The request exceeds the server's size limit."""


class Overloaded(ScoringError):
    """The server asks to wait; `retry_after` in seconds when it says how long."""

    retry = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerUnavailable(ScoringError):
    """No connection, a time-out, or the server failed while it worked."""

    retry = True


class ModelCrashed(ScoringError):
    """The process that ran the model ended, hung or had no memory left over the rows sent; the server goes on."""


class AccessRefused(ScoringError):
    """The server refuses this caller."""


class WrongAnswer(ScoringError):
    """The reply is not one prediction for each row sent."""

    retry = True


class ModelBroken(ScoringError):
    """The model cannot be loaded, or what it says contradicts its registration."""


class ModelChanged(ModelBroken):
    """The server answers with another model than the one that the job began with."""


class OutputError(ScorelineError):
    """The target refused the rows, is gone or is full."""


class SpoolError(ScorelineError):
    """Staged bytes cannot be written or read back as they were written."""


class SpoolFull(SpoolError):
    """There is no space for staged bytes.

    size: bytes that did not fit. wanted: bytes that there should be room for before it is tried again. capacity: all
    that could be staged if nothing else was, None where that is not known.
    """

    def __init__(self, message: str, *, size: int = 0, wanted: int = 0, capacity: int | None = None) -> None:
        super().__init__(message)
        self.size = size
        self.wanted = wanted
        self.capacity = capacity


class SpoolReadOnly(SpoolError):
    """The disk of the staged bytes takes no changes, as it does after a fault of its own."""


class SpoolAway(SpoolError):
    """The object store of the staged bytes has not answered for as long as it is waited for."""


class StoreError(ScorelineError):
    """The database does not do its work now; whether a change under way was stored is not known."""

    retry = True


class StoreBusy(StoreError):
    """The transaction lost against another one: nothing was changed, do it again."""


class StoreFull(StoreError):
    """The database has no space left, or lies on a disk that is read-only; it can be read."""


class StoreAway(StoreError):
    """The database server does not answer, or stopped in the middle: it may be back in a moment."""


class LedgerDamaged(ScorelineError):
    """The record of a job's finished chunks is not what was written: nothing can be built on it."""


class TooManyBadRows(ScorelineError):
    """More rows failed than abortOnError allows."""


class TimeLimit(ScorelineError):
    """The job has run for as long as jobs of this installation may."""


class RunStopped(ScorelineError):
    """The run was asked to end."""


class Cancelled(RunStopped):
    """A user aborted the job."""


class LostLease(RunStopped):
    """Another worker has taken the job over; nothing more may be written for it."""


class Paused(LostLease):
    """A user paused the job; another run goes on with it when it is resumed."""


class ShuttingDown(RunStopped):
    """This process is going down; the job stays and is taken up again."""


class SetupError(ScorelineError):
    """The installation lacks something: an extra to install, a setting to mend."""


def one_line(text: str, limit: int = 500) -> str:
    """Fold white space to single blanks and cut to `limit` characters, for row status and job log.

    Secrets are masked first: of one that is cut, what is left could not be told any more. Signs that steer terminals,
    NUL and half characters, which a model may put in its messages, become U+FFFD.
    """
    folded = _NO_SIGN.sub("\ufffd", " ".join(redact.mask(text).split()))
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
