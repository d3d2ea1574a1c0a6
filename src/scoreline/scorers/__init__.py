"""How to ask a prediction server; one file a protocol, imported when a run needs it."""

from __future__ import annotations

import importlib

from scoreline.errors import SetupError
from scoreline.types import Scorer, ScoringPlan, ServerAddress

# Kind of server -> module with a function `open_scorer(server, plan)`.
_KINDS = {"scoreline": "scoreline.scorers.scoreline"}


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> Scorer:
    """Return a scorer for the prediction server of a run; nothing is sent yet.

    Raises SetupError for a kind of server that is not known.
    """
    module = _KINDS.get(server.kind)
    if module is None:
        raise SetupError(
            f"Opening the prediction server failed: the kind {server.kind!r} is not known; use {', '.join(_KINDS)}."
        )
    scorer: Scorer = importlib.import_module(module).open_scorer(server, plan)
    return scorer
