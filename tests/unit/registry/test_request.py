import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest
from scoreline.registry.request import parse
from scoreline.types import Feature, FeatureType, TargetType

SHA = "0123456789abcdef" * 4
FULL = {
    "name": "v1",
    "target": {
        "name": "late",
        "type": "Binary",
        "classNames": ["no", "yes"],
        "classCount": 2,
        "predictionThreshold": 0.25,
        "predictionProbabilitiesColumn": "p",
    },
    "modelDescription": {"description": "d", "modelName": "m", "location": f"artifact:{SHA}"},
    "modelId": "m1",
    "registeredModelName": "flights",
    "registeredModelDescription": "rd",
    "registeredModelTags": [{"name": "a", "value": "b"}],
    "tags": [{"name": "c", "value": "d"}],
    "features": {"age": "integer"},
    "positiveClass": "no",
}


def test_every_field_is_read():
    request = parse(FULL)
    assert (request.name, request.artifact, request.model_id) == ("v1", SHA, "m1")
    assert (request.target_name, request.target_type, request.class_names) == ("late", TargetType.BINARY, ("no", "yes"))
    assert (request.threshold, request.positive_class) == (0.25, "no")
    assert request.features == {"age": Feature("age", FeatureType.INTEGER)}
    assert (request.registered_model_name, request.registered_model_description) == ("flights", "rd")
    assert (request.tags, request.registered_model_tags) == (
        ({"name": "c", "value": "d"},),
        ({"name": "a", "value": "b"},),
    )
    assert request.description == FULL["modelDescription"]


def test_what_the_client_sends_at_least():
    request = parse({"name": "m v1", "target": {"name": "target", "type": "Regression"}, "registeredModelName": "m"})
    assert (request.artifact, request.class_names, request.threshold, request.features) == (None, None, None, {})


def test_a_location_elsewhere_is_only_a_description():
    assert parse(FULL | {"modelDescription": {"location": "s3://bucket/model"}}).artifact is None


def test_features_may_be_a_list_with_an_order():
    listed = [{"name": "b", "type": "text", "nullable": False}, {"name": "a", "type": "numeric"}]
    assert list(parse(FULL | {"features": listed}).features.values()) == [
        Feature("b", FeatureType.TEXT, nullable=False),
        Feature("a", FeatureType.NUMERIC),
    ]


def test_target_types_are_spelt_in_any_case():
    assert parse(FULL | {"target": {"type": "multiCLASS"}}).target_type is TargetType.MULTICLASS


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5])
def test_thresholds_within_bounds(value):
    assert parse(FULL | {"target": {"predictionThreshold": value}}).threshold == value


BAD = [
    ({"name": None}, "name", "missing"),
    ({"name": " "}, "name", "1 to 512"),
    ({"name": 5}, "name", "text"),
    ({"nmae": "x"}, "nmae", "did you mean `name`"),
    ({"target": "late"}, "target", "object"),
    ({"target": {"naem": "late"}}, "target.naem", "did you mean `target.name`"),
    ({"target": {"type": "GeoPoint"}}, "target.type", "Regression"),
    ({"target": {"type": 5}}, "target.type", "5"),
    ({"target": {"name": ""}}, "target.name", "text"),
    ({"target": {"classNames": "yes"}}, "target.classNames", "list of texts"),
    ({"target": {"classNames": ["a", 1]}}, "target.classNames", "list of texts"),
    ({"target": {"classNames": ["a", "a"]}}, "target.classNames", "twice"),
    ({"target": {"classNames": ["a", "b"], "classCount": 3}}, "target.classCount", "there are 2"),
    ({"target": {"predictionThreshold": 1.5}}, "target.predictionThreshold", "0 to 1"),
    ({"target": {"predictionThreshold": 10**400}}, "target.predictionThreshold", "0 to 1"),
    ({"target": {"predictionThreshold": -0.01}}, "target.predictionThreshold", "0 to 1"),
    ({"target": {"predictionThreshold": float("nan")}}, "target.predictionThreshold", "0 to 1"),
    ({"target": {"predictionThreshold": True}}, "target.predictionThreshold", "0 to 1"),
    ({"target": {"predictionThreshold": "0.5"}}, "target.predictionThreshold", "0 to 1"),
    ({"modelDescription": {"location": "artifact:123"}}, "modelDescription.location", "64 lower-case"),
    ({"modelDescription": {"locaton": "x"}}, "modelDescription.locaton", "did you mean"),
    ({"modelDescription": {"location": 5}}, "modelDescription.location", "text"),
    ({"registeredModelId": "x"}, "registeredModelId", "not both"),
    ({"tags": [{"name": "x"}]}, "tags", "`name` and `value`"),
    ({"tags": {"name": "x"}}, "tags", "list"),
    ({"features": {"age": "float"}}, "features", "numeric, integer, boolean, text"),
    ({"features": [{"name": "a"}]}, "features", "`name`, `type`"),
    ({"features": [{"name": "a", "type": "text"}] * 2}, "features", "once"),
    ({"features": [{"name": "a", "type": "text", "nullable": "no"}]}, "features", "wrong"),
    ({"features": ["a"]}, "features", "objects"),
    ({"datasets": {"trainingDataCatalogId": "x"}}, "datasets", "not built"),
    ({"timeseries": {"datetimeColumnName": "x"}}, "timeseries", "not built"),
    ({"geospatialMonitoring": {"primaryLocationColumn": "x"}}, "geospatialMonitoring", "not built"),
]


@pytest.mark.parametrize(("change", "field", "words"), BAD)
def test_wrong_fields_are_named(change, field, words):
    with pytest.raises(InvalidRequest, match=re.escape(words)) as caught:
        parse(FULL | change)
    assert caught.value.field == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(FULL)), JSON, max_size=4), st.data())
def test_no_body_makes_anything_but_a_refusal(change, data):
    if "target" in change and data.draw(st.booleans()):
        change["target"] = data.draw(st.dictionaries(st.sampled_from(sorted(FULL["target"])), JSON))
    with suppress(InvalidRequest):
        parse(FULL | change)
