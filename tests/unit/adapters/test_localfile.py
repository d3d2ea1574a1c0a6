"""Results of jobs in the spool, beyond what the contract asks of every adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scoreline.adapters.localfile import LocalFileOutput
from scoreline.errors import LostLease
from scoreline.spool import open_spool
from scoreline.types import ScoredChunk
from tests.unit.pipeline.stand_ins import ticket


def test_a_run_that_wakes_after_the_end_of_its_job_leaves_nothing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    frozen, later = (LocalFileOutput(replace(ticket(), fence=fence), spool) for fence in (1, 2))
    head = frozen.write(ScoredChunk(0, 0, b"y,id\n", 0))
    later.commit([head, later.write(ScoredChunk(1, 4, b"1.0,a\n", 1))])
    whole = spool.blobs.list("results")
    with pytest.raises(LostLease):
        frozen.write(ScoredChunk(1, 2, b"1.0,a\n", 1))
    assert spool.blobs.list("results") == whole
