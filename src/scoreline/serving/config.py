"""The settings of one prediction server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """All that decides how a prediction server behaves; sizes in bytes, times in seconds.

    max_request is the Prediction API's limit of 50 MB, max_batch that of an Arrow body. max_wait bounds how long a
    request waits for a model process before it is told to come back later. score_seconds: what hangs for so long is
    ended; less than clients wait for an answer, so that they are told.
    """

    host: str
    port: int
    processes: int
    api_url: str
    token: str = field(repr=False)
    cache_dir: Path
    public_url: str | None = None
    name: str = "default"
    models: int = 8
    max_request: int = 50 * MEGABYTE
    max_batch: int = 256 * MEGABYTE
    max_wait: float = 30.0
    load_seconds: float = 300.0
    score_seconds: float = 500.0
    inspect_seconds: float = 60.0
    body_idle_seconds: float = 60.0
    kept_artifacts: int = 64
