"""The query parameters of the Prediction API: what is built, and what is refused in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scoreline.errors import InvalidRequest

_NOTHING = frozenset({"", "0", "false"})


def _never(_value: str) -> bool:
    return False


def _nothing(value: str) -> bool:
    return value.lower() in _NOTHING


def _true(value: str) -> bool:
    return value.lower() in {"", "true"}


# Parameters of features that are not built, each with what asks for nothing and is therefore fine.
_NOT_BUILT: dict[str, Callable[[str], bool]] = {
    "maxExplanations": _nothing,
    "maxNgramExplanations": _nothing,
    "explanationAlgorithm": _never,
    "thresholdHigh": _never,
    "thresholdLow": _never,
    "explanationNumTopClasses": _nothing,
    "explanationClassNames": _never,
    "predictionWarningEnabled": _nothing,
    "excludeAdjustedPredictions": _true,
    "decimalsNumber": _never,
    "forecastPoint": _never,
    "predictionsStartDate": _never,
    "predictionsEndDate": _never,
    "relaxKnownInAdvanceFeaturesCheck": _nothing,
}


def passthrough(parameters: Iterable[tuple[str, str]]) -> tuple[str, ...] | str:
    """The passthrough columns that the query asks for, or "all", which wins.

    Raises InvalidRequest for a parameter that is unknown, or that asks for something that is not built.
    """
    columns: dict[str, None] = {}
    everything = False
    for name, value in parameters:
        if name == "passthroughColumns":
            columns[value] = None
        elif name == "passthroughColumnsSet":
            if value != "all":
                raise InvalidRequest(f"passthroughColumnsSet: {value!r} is not allowed, only 'all' is.", name)
            everything = True
        elif name not in _NOT_BUILT:
            raise InvalidRequest(f"'{name}': {name} is not allowed key", name)
        elif not _NOT_BUILT[name](value):
            raise InvalidRequest(f"{name}={value} is not supported yet; leave the parameter out.", name)
    return "all" if everything else tuple(columns)
