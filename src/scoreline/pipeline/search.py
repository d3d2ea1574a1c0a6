"""Which rows of a batch to ask for next, so that every row that is refused is found in few calls and no other is lost.

A refused part is halved until the row is found; of two halves the second needs no call of its own when the first was
taken. What comes after is asked for in groups that hold a refused row about every second time, as far as can be told
from the rows so far: with one refused row in a chunk that is all of it, with every row refused it is one row.

The answers say yes or no, so k refused rows among n cost at least log2 of (n over k) calls; this takes up to a third
more, and never much more than one for each row.
"""

from __future__ import annotations

from enum import Enum

from scoreline.errors import one_line

Part = tuple[int, int]  # rows from, to

# Calls that a chunk is always granted; and so many rows, spread over it, are tried when until then none was taken.
LEAST_CALLS = 200
PROBES = 32
_EVEN_ODDS = 0.7  # about ln 2: of groups so long, in rows from one refused row to the next, half hold one
_FEW = 8  # so many rows that are named cost less when all the rest is asked for each time
_MEMORY = 0.8  # weight of earlier distances; refused rows may lie together


class _Known(Enum):
    NOTHING = 0
    HEIR = 1  # it holds a refused row if the part asked for just now holds none
    REFUSED = 2  # it holds a refused row
    ASKED = 3  # it is asked for once more as it is


class Search:
    """The parts of a batch of `rows` rows that are still to be asked for, and why others failed.

    Take a part with `next`, ask, and say what came of it with `good`, `refused` or `too_large`. After the first refusal
    at most `calls` parts (or LEAST_CALLS) are given out; what is left then fails. So does the rest of a batch of which
    no row was taken, neither the first LEAST_CALLS nor some that are spread over it.

    errors: the message of each failed row.
    """

    def __init__(self, rows: int, calls: int) -> None:
        self.errors: dict[int, str] = {}
        self._todo: list[tuple[int, int, _Known]] = [(0, rows, _Known.NOTHING)]
        self._rows = rows
        self._most = rows  # of one part
        self._grows = False  # it was a row, not the number of rows, that made the last part too large
        self._calls = max(calls, LEAST_CALLS)
        self._spent = 0
        self._refusal = ""
        self._good = 0
        self._named = False  # the server says which row it is
        self._run = 0  # good rows since the last refused one
        self._distance: float | None = None  # the mean of such runs
        self._probes: list[int] = []
        self._probed = False

    def next(self) -> Part | None:
        """Return the part to ask for, None when there is no more."""
        if self._spent >= self._calls:
            self._give_up(
                f"{self._calls} calls were spent on the refused rows of the same chunk, and no more are made "
                "(SCORELINE_REFUSAL_CALLS)"
            )
        if self._spent >= LEAST_CALLS and not self._good and not self._probed:
            self._probed = True
            self._probes = self._spread()
        if self._probes:
            return self._given(self._probes[-1], self._probes[-1] + 1)
        if not self._todo:
            return None
        start, stop, known = self._todo.pop()
        size = (stop - start) // 2 if known is _Known.REFUSED else self._group()
        if size == self._most < stop - start:
            size = _even(stop - start, size)
        if 0 < size < stop - start and known is not _Known.ASKED:
            self._todo.append((start + size, stop, _Known.HEIR if known is _Known.REFUSED else _Known.NOTHING))
            stop = start + size
        return self._given(start, stop)

    def good(self, part: Part) -> None:
        """Every row of the part has its answer."""
        self._good += part[1] - part[0]
        self._run += part[1] - part[0]
        self._probes = []
        if self._grows:
            self._most = min(2 * self._most, self._rows)
        if (heir := self._heir()) is not None:
            self._todo.append((*heir, _Known.REFUSED))

    def refused(self, part: Part, message: str, row: int | None = None) -> None:
        """The part was refused; `row` counts within it, when the server named one."""
        self._refusal = one_line(message, 200)
        start, stop = part
        if self._probes:
            self.errors[self._probes.pop()] = message
            if not self._probes:
                self._give_up("none of the rows of the same chunk that were tried was taken")
            return
        self._forget_heir()
        if row is not None and 0 <= row < stop - start:
            self._named = True
            self._one_refused(start + row, message)
            self._open(start + row + 1, stop)
            self._open(start, start + row)
        elif stop - start == 1:
            self._one_refused(start, message)
        else:
            self._todo.append((start, stop, _Known.REFUSED))

    def too_large(self, part: Part, message: str) -> None:
        """The part is more than the server takes at once: from here on parts are at most half of it.

        Where a single row was too large, they grow again with each part that is taken.
        """
        start, stop = part
        self._spent -= bool(self._refusal)
        self._probes = []
        self._forget_heir()
        self._grows = stop - start == 1
        if self._grows:
            self.errors[start] = message
            return
        self._most = min(self._most, (stop - start) // 2)
        self._open(start, stop)

    def again(self, part: Part) -> None:
        """Ask for the part once more, as it is."""
        self._todo.append((*part, _Known.ASKED))

    def fail(self, part: Part, message: str) -> None:
        """Give up all rows of the part; what follows is asked for in parts as large as at first."""
        self._forget_heir()
        self._distance = None
        self.errors.update(dict.fromkeys(range(*part), message))

    def _given(self, start: int, stop: int) -> Part:
        self._spent += bool(self._refusal)
        return start, stop

    def _one_refused(self, row: int, message: str) -> None:
        self.errors[row] = message
        run = float(self._run)
        self._distance = run if self._distance is None else _MEMORY * self._distance + (1 - _MEMORY) * run
        self._run = 0

    def _group(self) -> int:
        if self._distance is None or (self._named and len(self.errors) < _FEW):
            return self._most
        return max(1, min(self._most, int(_EVEN_ODDS * (1 + max(self._distance, self._run)))))

    def _heir(self) -> Part | None:
        if self._todo and self._todo[-1][2] is _Known.HEIR:
            return self._todo.pop()[:2]
        return None

    def _forget_heir(self) -> None:
        if (heir := self._heir()) is not None:
            self._open(*heir)

    def _open(self, start: int, stop: int) -> None:
        """Put back rows of which nothing is known, together with those that follow on them."""
        if start == stop:
            return
        if self._todo and self._todo[-1][0] == stop and self._todo[-1][2] is _Known.NOTHING:
            stop = self._todo.pop()[1]
        self._todo.append((start, stop, _Known.NOTHING))

    def _spread(self) -> list[int]:
        rows = [row for start, stop, _ in reversed(self._todo) for row in range(start, stop)]
        return rows[:: max(1, len(rows) // PROBES)][:PROBES]

    def _give_up(self, why: str) -> None:
        message = f"not scored: {why}; the last refusal was: {self._refusal}"
        for start, stop, _ in self._todo:
            for row in range(start, stop):
                self.errors.setdefault(row, message)
        self._todo = []
        self._probes = []


def _even(rows: int, most: int) -> int:
    """Return the size of equal parts of at most `most` rows: readers that guess types do badly on a last one of few."""
    parts = -(-rows // most)
    return -(-rows // parts)
