"""The query parameters of the Prediction API: what is built, and what is refused in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scoreline.errors import InvalidRequest

_NONE = ("", "0", "false")
FLAGS = {"": None, "true": True, "1": True, "false": False, "0": False}

NOTHING: dict[str, tuple[str, ...]] = {
    "maxExplanations": _NONE,
    "maxNgramExplanations": _NONE,
    "explanationAlgorithm": (),
    "thresholdHigh": (),
    "thresholdLow": (),
    "explanationNumTopClasses": _NONE,
    "explanationClassNames": (),
    "excludeAdjustedPredictions": ("", "true"),
    "decimalsNumber": (),
    "forecastPoint": (),
    "predictionsStartDate": (),
    "predictionsEndDate": (),
    "relaxKnownInAdvanceFeaturesCheck": _NONE,
}
"""Parameters of features that are not built, each with the values that ask for nothing and are therefore fine."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks for: passthrough columns, or "all"; whether to mark outliers, None where it does not say."""

    passthrough: tuple[str, ...] | str
    warnings: bool | None


def read(parameters: Iterable[tuple[str, str]]) -> Asked:
    """Read the parameters. Of passthrough columns, "all" wins.

    Raises InvalidRequest for a parameter that is unknown, or that asks for something that is not built.
    """
    columns: dict[str, None] = {}
    everything = False
    warnings = None
    for name, value in parameters:
        if name == "passthroughColumns":
            columns[value] = None
        elif name == "passthroughColumnsSet":
            if value != "all":
                raise InvalidRequest(f"passthroughColumnsSet: {value!r} is not allowed, only 'all' is.", name)
            everything = True
        elif name == "predictionWarningEnabled":
            if value.lower() not in FLAGS:
                raise InvalidRequest(f"{name}: {value!r} is not allowed, only true and false are.", name)
            warnings = FLAGS[value.lower()]
        elif name not in NOTHING:
            raise InvalidRequest(f"'{name}': {name} is not allowed key", name)
        elif value.lower() not in NOTHING[name]:
            raise InvalidRequest(f"{name}={value} is not supported yet; leave the parameter out.", name)
    return Asked("all" if everything else tuple(columns), warnings)
