"""Runs of the pipeline against a server, without an installation around them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from scoreline.engines.local import MemoryLedger, run_ticket
from scoreline.types import (
    CsvDialect,
    ErrorPlan,
    Feature,
    FeatureType,
    PacePlan,
    Range,
    RunTicket,
    ScoringPlan,
    ServerAddress,
    TargetType,
)

FEATURES = (
    Feature("age", FeatureType.NUMERIC),
    Feature("visits", FeatureType.INTEGER),
    Feature("city", FeatureType.TEXT),
)
BINARY = ScoringPlan(TargetType.BINARY, "left", FEATURES, ("no", "yes"), positive_class="yes", include_status=True)


class Quiet:
    """Progress that keeps the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, snapshot) -> None:
        pass

    def log(self, message: str) -> None:
        self.lines.append(message)

    def stop_requested(self) -> bool:
        return False


def run(folder: Path, server: ServerAddress, source: Path, *, plan=BINARY, chunk_size=2048, ledger=None, **more):
    """Score a file; return its rows, the summary and the log. `more`: what else the ticket says."""
    target = folder / "scored.csv"
    ticket = RunTicket(
        job_id="j" * 24,
        fence=1,
        part=Range(),
        intake={"type": "filesystem", "path": str(source)},
        output={"type": "filesystem", "path": str(target)},
        dialect=CsvDialect(),
        plan=plan,
        pace=PacePlan(chunk_size, 2),
        server=server,
        spool=str(folder / "spool"),
        package_hash="",
        **{"errors": ErrorPlan(), **more},
    )
    progress = Quiet()
    done = run_ticket(ticket, ledger or MemoryLedger(), progress)
    return list(csv.DictReader(io.StringIO(target.read_text()))), done, progress.lines
