"""The built-in prediction server: an HTTP front and the processes that run models.

The front (`app`) knows callers and deployments by asking the API; the model processes (`modelproc`) know nothing but
artefact folders and record batches, and are started with a scrubbed environment. This module stays light because the
model processes import it, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path


def run_predictor(
    *,
    host: str,
    port: int,
    processes: int,
    api_url: str,
    token: str,
    cache_dir: Path,
    public_url: str | None = None,
    name: str = "default",
    models: int = 8,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve predictions until SIGTERM, SIGINT or `stop`; blocks.

    api_url: address of the API without `/api/v2`; token: the server's own, with the right to introspect callers.
    processes: model processes; models: how many each keeps loaded. port 0 takes a free one. public_url: where others
    reach this server, by default the address it listens on. ready: called with that address once connections are
    accepted. Raises SetupError when the address cannot be listened on or the cache folder cannot be made.
    """
    from scoreline.serving.config import PredictorConfig  # noqa: PLC0415 -- keeps HTTP out of model processes
    from scoreline.serving.server import serve  # noqa: PLC0415 -- as above

    config = PredictorConfig(
        host=host,
        port=port,
        processes=processes,
        api_url=api_url,
        token=token,
        cache_dir=cache_dir,
        public_url=public_url,
        name=name,
        models=models,
    )
    serve(config, ready=ready, stop=stop)
