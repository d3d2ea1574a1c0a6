"""One run with all its surroundings in memory, and the rows it is to give."""

import threading
import time

from scoreline.pipeline import run
from tests.unit.pipeline.stand_ins import (
    DoublingScorer,
    MemoryIntake,
    MemoryLedger,
    MemoryOutput,
    SeenProgress,
    ticket,
)

HEADER = "y_PREDICTION,prediction_status,id\n"


class Setting:
    """One run with all its surroundings."""

    def __init__(self, text, *, scorer=None, encoding="utf-8", block=1000, **options):
        data = text.encode(encoding) if isinstance(text, str) else text
        blocks = [data[i : i + block] for i in range(0, len(data), block)] if isinstance(data, bytes) else data
        self.intake = MemoryIntake(blocks)
        self.scorer = scorer or DoublingScorer()
        self.output = MemoryOutput()
        self.ledger = MemoryLedger()
        self.progress = SeenProgress()
        self.ticket = ticket(**options)

    def run(self):
        before = threading.active_count()
        try:
            return run(self.ticket, self.intake, self.scorer, self.output, self.ledger, self.progress)
        finally:
            self.intake.close()
            deadline = time.monotonic() + 5
            while threading.active_count() > before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert threading.active_count() <= before

    @property
    def lines(self):
        return self.output.text.decode().splitlines()


def source(rows: int) -> str:
    return "id,x\n" + "".join(f"r{i:05d},{i}.5\n" for i in range(rows))


def expected(rows: int) -> str:
    return HEADER + "".join(f"{2 * i + 1}.0,OK,r{i:05d}\n" for i in range(rows))
