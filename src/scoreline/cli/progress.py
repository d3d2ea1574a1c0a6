"""How far a run is, shown to a person at a terminal: rows, rows a second, time left. Silent for everyone else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from scoreline.cli.output import is_terminal, show_note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY_SECONDS = 0.1


class View(Protocol):
    """What a run tells whoever watches it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def update(self, rows: int, share: float | None) -> None:
        """Show the rows done and the share of the work, 0 to 1, or None while that is not known."""
        ...

    def state(self, text: str) -> None:
        """Show in a word or two what the run does now."""
        ...


def open_view(*, quiet: bool) -> View:
    """Return the view for this process: a bar on a terminal, nothing elsewhere."""
    return Bar() if is_terminal() and not quiet else Silent()


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, rows: int, share: float | None) -> None:
        """Do nothing."""

    def state(self, text: str) -> None:
        """Do nothing."""


class Bar:
    """A progress bar on standard error."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._shown = 0.0
        self._progress, self._task = _bar()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, rows: int, share: float | None) -> None:
        """Move the bar; reports that come too fast are dropped."""
        now = time.monotonic()
        if now - self._shown < _EVERY_SECONDS and share != 1:
            return
        self._shown = now
        rate = rows / max(now - self._begun, 1e-9)
        done = None if share is None else 1000 * share
        self._progress.update(
            self._task,
            total=None if share is None else 1000,
            completed=done,
            rows=f"{rows:,} rows",
            rate=f"{rate:,.0f} rows/s" if rows else "",
        )

    def state(self, text: str) -> None:
        """Set the words before the bar."""
        self._progress.update(self._task, description=text)


def show_result(rows: int, failed: int, seconds: float, target: str, *, quiet: bool, rows_explained: bool) -> None:
    """Say at the end what was done; bad rows are told even where no bar is shown."""
    if is_terminal() and not quiet:
        rate = rows / max(seconds, 1e-9)
        show_note(f"{rows:,} rows scored to {target} in {seconds:.1f} s ({rate:,.0f} rows/s)")
    if failed:
        hint = "prediction_status says why" if rows_explained else "--include-status adds a column that says why"
        show_note(f"{failed:,} of {rows:,} rows could not be scored and have empty predictions; {hint}.")


def _bar() -> tuple[Progress, TaskID]:
    from rich.console import Console  # noqa: PLC0415 -- start-up time
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
    return progress, progress.add_task("starting", total=None, rows="", rate="")
