"""One job's run: fetch, frame, parse, score, write; and runs that score ahead of it. Knows no database and no web."""

from scoreline.pipeline.ahead import run_ahead
from scoreline.pipeline.preview import Preview, preview
from scoreline.pipeline.run import Summary, run
from scoreline.pipeline.shared import Shared
from scoreline.pipeline.staged import Stage
from scoreline.pipeline.watch import check_stop

__all__ = ["Preview", "Shared", "Stage", "Summary", "check_stop", "preview", "run", "run_ahead"]
