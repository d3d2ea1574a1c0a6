"""One partition's run: fetch, frame, parse, score, write. Knows no database and no HTTP server."""

from scoreline.pipeline.run import Summary, run

__all__ = ["Summary", "run"]
