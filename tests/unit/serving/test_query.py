from __future__ import annotations

import pytest

from scoreline.errors import InvalidRequest
from scoreline.serving.query import read


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
    assert read(given).passthrough == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxExplanations", "3"),
        ("maxExplanations", "all"),
        ("thresholdHigh", "0.5"),
        ("explanationAlgorithm", "shap"),
        ("forecastPoint", "2020-01-01"),
        ("excludeAdjustedPredictions", "false"),
        ("decimalsNumber", "3"),
    ],
)
def test_what_is_not_built_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest, match=f"{name}={value} is not supported yet"):
        read([(name, value)])


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, None), ("", None), ("true", True), ("True", True), ("1", True), ("false", False)]
)
def test_warnings(value, wanted):
    assert read([] if value is None else [("predictionWarningEnabled", value)]).warnings is wanted
    with pytest.raises(InvalidRequest, match="only true and false"):
        read([("predictionWarningEnabled", "perhaps")])


def test_unknown_names_are_refused_as_the_documents_say():
    with pytest.raises(InvalidRequest) as refused:
        read([("wd", "1")])
    assert refused.value.message == "'wd': wd is not allowed key"
    with pytest.raises(InvalidRequest, match="only 'all'"):
        read([("passthroughColumnsSet", "some")])
