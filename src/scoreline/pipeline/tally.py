"""Count bad rows, tell the job log about the first of them, and end the run when there are too many."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scoreline.errors import TooManyBadRows, one_line
from scoreline.types import Counts, ErrorPlan

LOGGED_ROWS = 100


class Tally:
    """The rows of a run so far; `before` are those of a run that is taken up again."""

    def __init__(self, plan: ErrorPlan, log: Callable[[str], None], before: Counts) -> None:
        self._plan = plan
        self._log = log
        self.counts = before
        self._first: str | None = None
        self._called = "one of them" if before.failed else "the first"
        self._none_scored_yet = before.failed == before.read
        self._leading = before.read if self._none_scored_yet else 0  # rows at the start that all failed

    def add(self, counts: Counts, errors: Mapping[int, str]) -> None:
        """Add a chunk; `errors` by row within it. Raises TooManyBadRows as `ErrorPlan` says."""
        base = self.counts.read
        logged = self.counts.failed
        self.counts += counts
        rows = sorted(errors)
        for row in rows[: max(0, LOGGED_ROWS - logged)]:
            self._log(self._line(base + row, errors[row]))
        if logged < LOGGED_ROWS <= self.counts.failed and self.counts.failed > LOGGED_ROWS:
            self._log(f"More than {LOGGED_ROWS} rows failed; further ones are counted, and stand in the errors file.")
        if rows and self._first is None:
            self._first = self._line(base + rows[0], errors[rows[0]])
        if self._none_scored_yet:
            self._leading = base + next((i for i, row in enumerate(rows) if row != i), len(rows))
            self._none_scored_yet = len(rows) == counts.read
        self._check()

    def end(self) -> None:
        """Say that there are no more rows. Raises TooManyBadRows when all failed, or a run before had too many."""
        self._check()
        if self._plan.abort_on_error and self.counts.read and self.counts.failed == self.counts.read:
            self._refuse()

    def _check(self) -> None:
        plan, counts = self._plan, self.counts
        if not plan.abort_on_error or not counts.failed:
            return
        many = counts.failed >= plan.max_failed_rows and counts.failed > plan.max_failed_share * counts.read
        if many or self._leading >= plan.all_failed_rows or not plan.row_level:
            self._refuse()

    def _refuse(self) -> None:
        share = 100 * self.counts.failed / self.counts.read
        first = f"; {self._called}: {self._first}" if self._first else ""
        raise TooManyBadRows(
            f"Scoring was stopped: {self.counts.failed} of {self.counts.read} rows ({share:.1f} %) failed, more than "
            f"abortOnError allows{first.rstrip('.')}; correct the data, or set abortOnError to false to score the rest."
        )

    @staticmethod
    def _line(row: int, message: str) -> str:
        return one_line(f"Row {row + 1} failed: {message}")
