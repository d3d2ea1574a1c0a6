from __future__ import annotations

import pytest

from scoreline.errors import InvalidRequest
from scoreline.serving.query import passthrough


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], ()),
        ([("passthroughColumns", "b"), ("passthroughColumns", "a"), ("passthroughColumns", "b")], ("b", "a")),
        ([("passthroughColumns", "b"), ("passthroughColumnsSet", "all")], "all"),
        ([("maxExplanations", "0")], ()),
        ([("maxExplanations", "0"), ("predictionWarningEnabled", "False"), ("excludeAdjustedPredictions", "true")], ()),
    ],
)
def test_passthrough(given, wanted):
    assert passthrough(given) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxExplanations", "3"),
        ("maxExplanations", "all"),
        ("thresholdHigh", "0.5"),
        ("explanationAlgorithm", "shap"),
        ("predictionWarningEnabled", "true"),
        ("forecastPoint", "2020-01-01"),
        ("excludeAdjustedPredictions", "false"),
        ("decimalsNumber", "3"),
    ],
)
def test_what_is_not_built_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest, match=f"{name}={value} is not supported yet"):
        passthrough([(name, value)])


def test_unknown_names_are_refused_as_the_documents_say():
    with pytest.raises(InvalidRequest) as refused:
        passthrough([("wd", "1")])
    assert refused.value.message == "'wd': wd is not allowed key"
    with pytest.raises(InvalidRequest, match="only 'all'"):
        passthrough([("passthroughColumnsSet", "some")])
