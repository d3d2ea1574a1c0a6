"""The query parameters of the Prediction API: what is built, and what is refused in words."""

from __future__ import annotations

from collections.abc import Iterable

from scoreline.errors import InvalidRequest

_NONE = ("", "0", "false")

NOTHING: dict[str, tuple[str, ...]] = {
    "maxExplanations": _NONE,
    "maxNgramExplanations": _NONE,
    "explanationAlgorithm": (),
    "thresholdHigh": (),
    "thresholdLow": (),
    "explanationNumTopClasses": _NONE,
    "explanationClassNames": (),
    "predictionWarningEnabled": _NONE,
    "excludeAdjustedPredictions": ("", "true"),
    "decimalsNumber": (),
    "forecastPoint": (),
    "predictionsStartDate": (),
    "predictionsEndDate": (),
    "relaxKnownInAdvanceFeaturesCheck": _NONE,
}
"""Parameters of features that are not built, each with the values that ask for nothing and are therefore fine."""


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
        elif name not in NOTHING:
            raise InvalidRequest(f"'{name}': {name} is not allowed key", name)
        elif value.lower() not in NOTHING[name]:
            raise InvalidRequest(f"{name}={value} is not supported yet; leave the parameter out.", name)
    return "all" if everything else tuple(columns)
