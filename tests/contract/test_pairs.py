"""Each type of intake with each type of output: one whole run, whose bytes are those that LightGBM gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoreline import models
from scoreline.credentials import RunKeys
from scoreline.engines import MemoryLedger, run_ticket
from scoreline.scorers.inprocess import InProcessScorer
from scoreline.spool import open_spool
from scoreline.types import Counts, ScoringPlan, TargetType
from tests.contract.matrix import INTAKES, OUTPUTS, IntakeRow, OutputRow, ticket
from tests.support import tiny

pytestmark = pytest.mark.slow

ROWS = 300


class Progress:
    """Nobody watches."""

    def report(self, snapshot: Any) -> None:
        pass

    def log(self, message: str) -> None:
        pass

    def stop_requested(self) -> bool:
        return False


@pytest.mark.parametrize("target", OUTPUTS, ids=lambda row: row.name)
@pytest.mark.parametrize("source", INTAKES, ids=lambda row: row.name)
def test_every_intake_to_every_output(source: IntakeRow, target: OutputRow, tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    model = models.load(tiny.save(tmp_path / "model.txt"), trusted=False)
    data, scored = tiny.scored(ROWS)
    cut = data.index(b"\n", len(data) // 2) + 1
    plan = ScoringPlan(
        TargetType.BINARY,
        tiny.TARGET,
        model.info.features,
        class_labels=tiny.LABELS,
        positive_class=tiny.LABELS[1],
        passthrough=("id",),
    )
    run = ticket(source.lay(spool, tmp_path, [data[:cut], data[cut:]]), target.settings(tmp_path), spool)
    keys = RunKeys(source.keys, target.keys)
    done = run_ticket(replace(run, plan=plan), MemoryLedger(), Progress(), keys, scorer=InProcessScorer(model))
    assert done.counts == Counts(ROWS, ROWS)
    assert target.content(spool, tmp_path) == scored
