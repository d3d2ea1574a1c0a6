from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest
from scoreline.registry import agreement
from scoreline.registry.request import parse
from scoreline.types import ExtraOutput, Feature, FeatureType, ModelInfo, TargetType

B, M, R = TargetType.BINARY, TargetType.MULTICLASS, TargetType.REGRESSION
SILENT = ModelInfo("sklearn", None, ())
BINARY = ModelInfo("lightgbm", B, (Feature("a", FeatureType.NUMERIC), Feature("b", FeatureType.TEXT)), outputs=2)
THREE = ModelInfo("lightgbm", M, (), ("a", "b", "c"), outputs=3)
TEXTS = ModelInfo("mlflow", None, (), outputs=0)
LABELS = ModelInfo("sklearn", TargetType.MULTILABEL, (), outputs=2)
CLUSTERS = ModelInfo("sklearn", TargetType.CLUSTERING, (), ("Cluster 1", "Cluster 2", "Cluster 3"), outputs=3)


def asked(features=None, positive=None, **target):
    body = {"name": "m", "target": target}
    return parse(body | {"features": features, "positiveClass": positive})


@pytest.mark.parametrize(
    ("wanted", "info", "expected"),
    [
        (None, BINARY, B),
        ("Binary", BINARY, B),
        ("Binary", None, B),
        ("TextGeneration", None, TargetType.TEXT_GENERATION),
        ("Regression", SILENT, R),
        ("Multiclass", replace(SILENT, outputs=3), M),
        ("Binary", replace(SILENT, outputs=2), B),
        ("textgeneration", TEXTS, TargetType.TEXT_GENERATION),
        ("anomaly", SILENT, TargetType.ANOMALY),
        ("Anomaly", replace(SILENT, target_type=R), TargetType.ANOMALY),
        ("Regression", replace(SILENT, target_type=TargetType.ANOMALY), R),
        ("Multilabel", replace(SILENT, outputs=3), TargetType.MULTILABEL),
        ("Multilabel", replace(THREE, format="mlflow"), TargetType.MULTILABEL),
        (None, LABELS, TargetType.MULTILABEL),
        (None, CLUSTERS, TargetType.CLUSTERING),
        ("Multiclass", CLUSTERS, TargetType.CLUSTERING),
        ("clustering", THREE, TargetType.CLUSTERING),
    ],
)
def test_target_type(wanted, info, expected):
    assert agreement.target_type(asked(type=wanted), info) is expected


@pytest.mark.parametrize(
    ("wanted", "info", "words"),
    [
        ("Regression", BINARY, "model predicts Binary"),
        ("Binary", THREE, "model predicts Multiclass"),
        (None, SILENT, "does not say"),
        (None, None, "does not say"),
        ("Unstructured", SILENT, "cannot be scored"),
        ("AgenticWorkflow", SILENT, "cannot be scored"),
        (None, TEXTS, "gives texts.*TextGeneration.*probability"),
        ("Binary", TEXTS, "gives a text"),
        ("TextGeneration", SILENT, "1 outputs"),
        ("Anomaly", replace(SILENT, outputs=2), "2 outputs"),
        ("Multilabel", THREE, "predicts Multiclass"),
        ("Clustering", replace(SILENT, target_type=R), "predicts Regression"),
        ("Binary", replace(CLUSTERS, outputs=2), "predicts Clustering"),
        ("Binary", SILENT, "1 outputs"),
        ("Regression", replace(SILENT, outputs=2), "2 outputs"),
        ("Multiclass", SILENT, "1 outputs"),
    ],
)
def test_contradicting_target_types(wanted, info, words):
    with pytest.raises(InvalidRequest, match=words) as caught:
        agreement.target_type(asked(type=wanted), info)
    assert caught.value.field == "target.type"


@pytest.mark.parametrize(
    ("names", "own", "expected"),
    [
        (None, ("0", "1"), ("0", "1")),
        (["no", "yes"], None, ("no", "yes")),
        (["no", "yes"], ("0", "1"), ("no", "yes")),
        (["1", "0"], ("0", "1"), ("0", "1")),  # the same in another order: the model knows better
        (["1.0", "0.0"], ("0", "1"), ("0.0", "1.0")),  # as well when spelt otherwise, and then spelt as asked for
        (["1.0", "1"], ("1", "1.0"), ("1", "1.0")),
        (["no", "maybe"], ("no", "yes"), ("no", "maybe")),
        (["nan", "x"], ("nan", "y"), ("nan", "x")),
    ],
)
def test_class_labels(names, own, expected):
    info = replace(BINARY, class_labels=own)
    assert agreement.class_labels(asked(classNames=names), info, B) == expected


@pytest.mark.parametrize(
    ("names", "info", "kind", "words"),
    [
        (None, BINARY, B, "does not name its classes"),
        (None, None, M, "does not name its classes"),
        (["a", "b", "c"], BINARY, B, "3 classes, but the model has 2"),
        (["a", "b"], THREE, M, "2 classes, but the model has 3"),
        (["a", "b"], replace(THREE, class_labels=None), M, "2 classes, but the model has 3"),
        (["a"], None, M, "two or more"),
        (["a", "b", "c"], None, B, "has 2"),
        (["c", "x", "y"], THREE, M, "'c' to another class"),
        (["b", "a", "x"], THREE, M, "to another class"),
        (["a", "b"], SILENT, R, "has no classes"),
    ],
)
def test_contradicting_class_labels(names, info, kind, words):
    with pytest.raises(InvalidRequest, match=words) as caught:
        agreement.class_labels(asked(classNames=names), info, kind)
    assert caught.value.field == "target.classNames"


@given(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=3, unique=True))
def test_a_class_never_gets_the_name_of_another(names):
    try:
        labels = agreement.class_labels(asked(classNames=names), THREE, M)
    except InvalidRequest:
        return
    for own, label in zip("abc", labels, strict=True):
        assert label == own or label not in "abc"
    assert set(labels) == set(names)


@pytest.mark.parametrize("names", list(permutations("abc")))
def test_any_order_of_the_models_own_labels_is_the_models_order(names):
    assert agreement.class_labels(asked(classNames=list(names)), THREE, M) == ("a", "b", "c")


def test_clusters_are_classes_without_a_target_name():
    kind = agreement.target_type(asked(type="Multiclass"), CLUSTERS)
    assert agreement.stored_type(kind) is M
    assert agreement.target_name(asked(), CLUSTERS, kind) == ""
    assert agreement.class_labels(asked(), CLUSTERS, kind) == ("Cluster 1", "Cluster 2", "Cluster 3")
    assert agreement.class_labels(asked(classNames=["a", "b", "c"]), CLUSTERS, kind) == ("a", "b", "c")
    one = replace(CLUSTERS, class_labels=("Cluster 1",), outputs=1)
    assert agreement.class_labels(asked(), one, kind) == ("Cluster 1",)
    named = asked(name="segment")
    assert agreement.target_type(named, CLUSTERS) is M
    assert agreement.target_name(named, CLUSTERS, M) == "segment"
    with pytest.raises(InvalidRequest, match=r"no `target.name`"):
        agreement.target_type(asked(type="Clustering", name="segment"), CLUSTERS)


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        (R, True),
        (B, True),
        (M, True),
        (TargetType.TEXT_GENERATION, True),
        (TargetType.ANOMALY, False),
        (TargetType.MULTILABEL, False),
        (TargetType.CLUSTERING, False),
    ],
)
def test_which_targets_need_a_name(kind, needed):
    assert agreement.target_name(asked(name="y"), None, kind) == "y"
    if not needed:
        assert agreement.target_name(asked(), None, kind) == ""
        return
    with pytest.raises(InvalidRequest, match="--target"):
        agreement.target_name(asked(), None, kind)


def test_labels_need_names_and_may_have_thresholds_of_their_own():
    with pytest.raises(InvalidRequest, match="does not name its labels"):
        agreement.class_labels(asked(), LABELS, TargetType.MULTILABEL)
    labels = agreement.class_labels(asked(classNames=["red", ""]), LABELS, TargetType.MULTILABEL)
    assert labels == ("red", "")

    def thresholds(kind=TargetType.MULTILABEL, **given):
        return agreement.label_thresholds(parse({"name": "m", "labelThresholds": given}), labels, kind, 0.4)

    assert thresholds() is None
    assert thresholds(red=0.9) == [0.9, 0.4]
    assert thresholds(red=0, **{"": 1}) == [0.0, 1.0]
    for chosen, kind, words in (
        ({"blue": 0.5}, TargetType.MULTILABEL, "'blue'.*'red', ''"),
        ({"red": 0.5}, M, "has no labels"),
        ({"red": 1.5}, TargetType.MULTILABEL, "from 0 to 1"),
    ):
        with pytest.raises(InvalidRequest, match=words) as caught:
            thresholds(kind, **chosen)
        assert caught.value.field == "labelThresholds"


def test_columns_beside_the_predictions():
    note, count = ExtraOutput("note", FeatureType.TEXT), ExtraOutput("count", FeatureType.NUMERIC)
    info = replace(SILENT, extra=(note, count))
    whole = ExtraOutput("count", FeatureType.INTEGER)
    server = {"kind": "drum", "url": "http://127.0.0.1:1"}

    def extra(found, given=None, **more):
        return agreement.extra_outputs(parse({"name": "m", "extraOutputs": given, **more}), found)

    assert extra(info) == (note, count)
    assert extra(info, {"count": "integer"}) == (note, whole)
    assert extra(info, [{"name": "count", "type": "integer"}]) == (note, whole)
    assert extra(SILENT, {"count": "integer", "note": "text"}, server=server) == (whole, note)
    with pytest.raises(InvalidRequest, match=r"'other'.*'note', 'count'"):
        extra(info, {"other": "text"})
    with pytest.raises(InvalidRequest, match="gives none"):
        extra(SILENT, {"note": "text"})
    for wrong in ({"note": "words"}, [{"name": "note"}], [{"name": "a", "type": "text", "nullable": True}], "note"):
        with pytest.raises(InvalidRequest) as caught:
            extra(info, wrong)
        assert caught.value.field == "extraOutputs"


def test_positive_class():
    assert agreement.positive_class(asked(), ("no", "yes"), B) == "yes"
    assert agreement.positive_class(asked(positive="no"), ("no", "yes"), B) == "no"
    assert agreement.positive_class(asked(), ("a", "b", "c"), M) is None
    assert agreement.positive_class(asked(), None, R) is None
    with pytest.raises(InvalidRequest, match="'maybe', but the classes are 'no', 'yes'"):
        agreement.positive_class(asked(positive="maybe"), ("no", "yes"), B)
    for labels, kind in ((("a", "b", "c"), M), (None, R)):
        with pytest.raises(InvalidRequest, match="has none"):
            agreement.positive_class(asked(positive="a"), labels, kind)


def test_features_keep_the_models_order_and_take_the_types_asked_for():
    info = replace(BINARY, format="sklearn")
    assert agreement.features(asked(), info) == info.features
    assert agreement.features(asked(features={"b": "numeric", "a": "integer"}), info) == (
        Feature("a", FeatureType.INTEGER),
        Feature("b", FeatureType.NUMERIC),
    )


def test_features_of_a_model_that_names_none_are_those_asked_for():
    expected = (Feature("z", FeatureType.TEXT), Feature("a", FeatureType.NUMERIC))
    assert agreement.features(asked(features={"z": "text", "a": "numeric"}), SILENT) == expected
    assert agreement.features(asked(features={"z": "text", "a": "numeric"}), None) == expected
    assert agreement.features(asked(), None) == ()


@pytest.mark.parametrize(
    ("features", "info", "words"),
    [
        ({"c": "text"}, BINARY, "'c', which is not an input.*'a', 'b'"),
        ({"a": "text"}, BINARY, "'a' text, but the model says numeric"),
        ({"b": "integer"}, BINARY, "'b' integer, but the model says text"),
        (None, SILENT, "does not name its input columns"),
    ],
)
def test_contradicting_features(features, info, words):
    with pytest.raises(InvalidRequest, match=words) as caught:
        agreement.features(asked(features=features), info)
    assert caught.value.field == "features"
