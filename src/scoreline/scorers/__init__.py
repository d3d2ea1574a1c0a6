"""How to ask a prediction server; one file a protocol, imported when a run needs it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scoreline.errors import InvalidRequest, SetupError
from scoreline.protocols import Scorer
from scoreline.types import Feature, ScoringPlan, ServerAddress

if TYPE_CHECKING:
    from scoreline.scorers.foreign import ForeignScorer, Learned

OWN = "scoreline"

# Kind of server -> module with a function `open_scorer(server, plan)`, and its class for servers of other makers.
_KINDS = {
    OWN: ("scoreline.scorers.scoreline", ""),
    "drum": ("scoreline.scorers.drum", "DrumScorer"),
    "mlflow": ("scoreline.scorers.mlflow", "MlflowScorer"),
    "v2": ("scoreline.scorers.v2", "V2Scorer"),
    "datarobot": ("scoreline.scorers.datarobot", "DataRobotScorer"),
}
FOREIGN = tuple(kind for kind in _KINDS if kind != OWN)
"""The kinds of servers that are not our own."""


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> Scorer:
    """Return a scorer for the prediction server of a run; nothing is sent yet.

    Raises SetupError for a kind of server that is not known.
    """
    entry = _KINDS.get(server.kind)
    if entry is None:
        raise SetupError(
            f"Opening the prediction server failed: the kind {server.kind!r} is not known; use {', '.join(_KINDS)}."
        )
    scorer: Scorer = importlib.import_module(entry[0]).open_scorer(server, plan)
    return scorer


def check(kind: str, options: Mapping[str, str]) -> None:
    """Raise InvalidRequest for a kind of foreign server that is not known, or options that it does not have."""
    if kind not in FOREIGN:
        raise InvalidRequest(f"`server.kind` is one of {', '.join(FOREIGN)}, not {kind!r}.", "server.kind")
    from scoreline.scorers.foreign import check_options  # noqa: PLC0415 -- only those who register need it

    check_options(_foreign(kind), options)


def concurrency(kind: str, options: Mapping[str, str]) -> int:
    """Return how many requests such a server takes at once, unless it was told otherwise."""
    return int(options.get("concurrency", _foreign(kind).concurrency))


def learn(server: ServerAddress, labels: tuple[str, ...] | None, features: tuple[Feature, ...]) -> Learned:
    """Ask a foreign server about its model; labels and features as they are asked for by whoever registers it.

    Raises a ScoringError when it cannot be asked, InvalidRequest when something has to be given that it does not tell.
    """
    from scoreline.scorers.foreign import open_plain  # noqa: PLC0415 -- as above

    scorer = open_plain(_foreign(server.kind), server)
    try:
        return scorer.learn(labels, features)
    finally:
        scorer.close()


def _foreign(kind: str) -> type[ForeignScorer]:
    module, name = _KINDS[kind]
    found: type[ForeignScorer] = getattr(importlib.import_module(module), name)
    return found
