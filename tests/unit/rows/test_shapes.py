"""The generated columns of each target type, and what a deployment or a model adds to them."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest, SourceError
from scoreline.rows import csvout
from scoreline.rows.columns import OutputColumns
from scoreline.types import Boundaries, CsvDialect, ExtraOutput, FeatureType, Scores, ScoringPlan, TargetType

RENT = ScoringPlan(TargetType.REGRESSION, "rent", ())
TAGS = ScoringPlan(TargetType.MULTILABEL, "tags", (), ("red", "big"))
CLUSTERS = ScoringPlan(TargetType.MULTICLASS, "", (), ("Cluster 1", "Cluster 2"))
TEXT = ScoringPlan(TargetType.TEXT_GENERATION, "resultText", ())
EXTREMES = [
    5e-324,
    1e16,
    1e22,
    -0.0,
    0.1 + 0.2,
    1e-5,
    1.7976931348623157e308,
    9007199254740993.0,
    1 / 3,
    -1e-7,
    123456.0,
]


def cells(plan, values, *, text=None, extra=(), passthrough=None, errors=None, n=None):
    """The output's rows, by name, as a reader of the CSV sees them."""
    source = passthrough or {}
    columns = OutputColumns(plan, list(source))
    scores = Scores(np.array(values, np.float64), text if text is None else pa.array(text, pa.string()), tuple(extra))
    rows = len(scores.values) if n is None else n
    arrays = columns.build(scores, {name: pa.array(texts) for name, texts in source.items()}, errors or {}, rows)
    body = csvout.header(columns.names, CsvDialect()) + csvout.records(arrays, CsvDialect())
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def test_multilabel_has_three_columns_a_label_and_decides_above_the_threshold():
    assert cells(TAGS, [[0.9, 0.2], [0.5, 0.50000001]]) == [
        [f"tags_{label}_{what}" for label in ("red", "big") for what in ("PROBABILITY", "THRESHOLD", "DECISION")],
        ["0.9", "0.5", "True", "0.2", "0.5", "False"],
        ["0.5", "0.5", "False", "0.50000001", "0.5", "True"],
    ]


def test_multilabel_thresholds_of_each_label_and_no_target_name():
    plan = replace(TAGS, target_name="", label_thresholds=(1.0, 0.0), include_probabilities=False)
    assert cells(plan, [[1.0, 0.0], [0.3, 5e-324]]) == [
        [f"target_{label}_{what}" for label in ("red", "big") for what in ("PROBABILITY", "THRESHOLD", "DECISION")],
        ["1.0", "1.0", "False", "0.0", "0.0", "False"],
        ["0.3", "1.0", "False", "5e-324", "0.0", "True"],
    ]


def test_anomaly_scores_are_neither_scaled_nor_judged():
    plan = ScoringPlan(TargetType.ANOMALY, "", (), include_status=True)
    assert cells(plan, [[0.93], [-1234.5]]) == [
        ["ANOMALY_SCORE", "prediction_status"],
        ["0.93", "OK"],
        ["-1234.5", "OK"],
    ]
    assert cells(replace(plan, target_name="fraud"), [[1.0]])[0][0] == "ANOMALY_SCORE"


def test_clusters_stand_without_a_target_name():
    assert cells(CLUSTERS, [[0.15, 0.85], [0.5, 0.5]]) == [
        ["Cluster 1_PREDICTION", "Cluster 2_PREDICTION", "PREDICTION"],
        ["0.15", "0.85", "Cluster 2"],
        ["0.5", "0.5", "Cluster 1"],
    ]
    some = replace(CLUSTERS, include_classes=("Cluster 2",))
    assert cells(some, [[0.15, 0.85]]) == [["Cluster 2_PREDICTION", "PREDICTION"], ["0.85", "Cluster 2"]]


def test_text_is_one_column_as_it_stands():
    texts = ["a\nb", 'say "hi", then', "", "é\u2028\t ", "=1+1"]
    assert cells(TEXT, np.empty((5, 0)), text=texts) == [["resultText_PREDICTION"], *([text] for text in texts)]


def test_text_of_rows_that_failed_is_empty():
    rows = cells(replace(TEXT, include_status=True), np.empty((2, 0)), text=["x", "y"], errors={1: "no"}, n=3)
    assert rows[1:] == [["x", "OK"], ["", "ERROR: no"], ["y", "OK"]]


@pytest.mark.parametrize("kind", [TargetType.UNSTRUCTURED, TargetType.AGENTIC_WORKFLOW])
def test_other_target_types_are_refused_by_name(kind):
    with pytest.raises(InvalidRequest, match=kind):
        OutputColumns(ScoringPlan(kind, "t", ()), [])


@pytest.mark.parametrize(
    ("usual", "expected"),
    [
        (Boundaries(1.0, 2.0), ["True", "False", "False", "False", "True"]),
        (Boundaries(None, 2.0), ["False", "False", "False", "False", "True"]),
        (Boundaries(1.0, None), ["True", "False", "False", "False", "False"]),
        (Boundaries(1.5, 1.5), ["True", "True", "False", "True", "True"]),
    ],
)
def test_outliers_are_strictly_beyond_the_boundaries(usual, expected):
    values = [math.nextafter(1.0, 0), 1.0, 1.5, 2.0, math.nextafter(2.0, 3)]
    rows = cells(replace(RENT, outliers=usual), [[value] for value in values])
    assert rows[0] == ["rent_PREDICTION", "IS_OUTLIER_PREDICTION"]
    assert [row[1] for row in rows[1:]] == expected


def test_every_addition_in_its_place():
    plan = replace(
        RENT,
        outliers=Boundaries(0.0, 1.0),
        include_status=True,
        association_id=("key",),
        passthrough=("id",),
        approval="PENDING",
        extra=(ExtraOutput("note", FeatureType.TEXT),),
    )
    source = {"id": ["1", "2"], "key": ["a", "b"]}
    extra = [pa.array(["seen"])]
    assert cells(plan, [[0.5]], extra=extra, passthrough=source, errors={1: "bad"}, n=2) == [
        [
            "rent_PREDICTION",
            "note",
            "IS_OUTLIER_PREDICTION",
            "prediction_status",
            "key",
            "id",
            "DEPLOYMENT_APPROVAL_STATUS",
        ],
        ["0.5", "seen", "False", "OK", "a", "1", "PENDING"],
        ["", "", "", "ERROR: bad", "b", "2", ""],
    ]


def test_an_association_id_that_is_required_must_be_there():
    plan = replace(RENT, association_id=("key",), association_required=True)
    assert OutputColumns(plan, ["key"]).names == ("rent_PREDICTION", "key")
    with pytest.raises(SourceError, match=r"'key'.*requires"):
        OutputColumns(plan, ["Key", "id"])


def test_extra_outputs_of_every_type():
    types = (FeatureType.NUMERIC, FeatureType.INTEGER, FeatureType.BOOLEAN, FeatureType.TEXT)
    plan = replace(RENT, extra=tuple(ExtraOutput(kind, kind) for kind in types))
    some = [pa.array([1.0, math.nan]), pa.array([7, 2**60]), pa.array([True, None]), pa.array(["a,b", None])]
    assert cells(plan, [[0.0], [0.0]], extra=some)[1:] == [
        ["0.0", "1.0", "7", "True", "a,b"],
        ["0.0", "", str(2**60), "", ""],
    ]


def test_numbers_of_extra_outputs_are_written_by_their_registered_type_whatever_they_come_in():
    plan = replace(RENT, extra=(ExtraOutput("n", FeatureType.NUMERIC), ExtraOutput("i", FeatureType.INTEGER)))
    for numbers in (pa.array([5, -3]), pa.array([5.0, -3.0])):
        assert [row[1:] for row in cells(plan, [[0.0]] * 2, extra=[numbers, numbers])[1:]] == [
            ["5.0", "5"],
            ["-3.0", "-3"],
        ]
    gaps = pa.array([None, 2.5, 1e300, -0.0])
    assert [row[2] for row in cells(plan, [[0.0]] * 4, extra=[gaps, gaps])[1:]] == ["", "2.5", "1e+300", "0"]


def test_extra_outputs_get_another_name_only_where_theirs_is_taken():
    names = ("rent_PREDICTION", "EXTRA_rent_PREDICTION", "prediction_status", "low")
    plan = replace(RENT, extra=tuple(ExtraOutput(name, FeatureType.TEXT) for name in names))
    assert OutputColumns(plan, []).names == ("rent_PREDICTION", "EXTRA_2_rent_PREDICTION", *names[1:])
    with_status = OutputColumns(replace(plan, include_status=True), [])
    assert with_status.names[3:] == ("EXTRA_prediction_status", "low", "prediction_status")


@pytest.mark.parametrize(
    "plan",
    [
        replace(RENT, outliers=Boundaries(0.0, 1.0), include_status=True, approval="APPROVED"),
        replace(TAGS, extra=(ExtraOutput("more", FeatureType.TEXT),)),
        CLUSTERS,
        TEXT,
        ScoringPlan(TargetType.ANOMALY, "", ()),
        ScoringPlan(TargetType.BINARY, "y", (), ("n", "y"), "y"),
    ],
    ids=lambda plan: plan.target_type.value,
)
def test_a_scored_file_can_be_scored_again(plan):
    first = OutputColumns(plan, ["id"]).names
    second = OutputColumns(replace(plan, passthrough="all"), [*first, "id"])
    last = [plan.approval and "DEPLOYMENT_APPROVAL_STATUS"] if plan.approval else []
    generated = [name for name in first if name not in last]
    carried = [f"{name}_INPUT" for name in first]
    assert list(second.names) == [*generated, *carried, "id", *last]
    third = OutputColumns(replace(plan, passthrough="all"), list(second.names))
    assert len(set(third.names)) == len(third.names) == len(first) + len(second.names)
    assert f"{first[0]}_INPUT_2" in third.names


def test_names_differ_by_case():
    plan = replace(RENT, passthrough="all")
    assert OutputColumns(plan, ["RENT_prediction", "rent_prediction"]).names == (
        "rent_PREDICTION",
        "RENT_prediction",
        "rent_prediction",
    )


def test_two_generated_columns_of_one_name_are_refused():
    plan = ScoringPlan(TargetType.REGRESSION, "IS_OUTLIER", (), outliers=Boundaries(0.0, 1.0))
    with pytest.raises(InvalidRequest, match="IS_OUTLIER_PREDICTION"):
        OutputColumns(plan, [])


def test_everything_dropped_is_refused():
    names = OutputColumns(replace(TAGS, approval="APPROVED"), []).names
    plan = replace(TAGS, approval="APPROVED", remap=tuple((name, None) for name in names))
    with pytest.raises(InvalidRequest, match="drops every column"):
        OutputColumns(plan, [])


LABELS = ["1.0", "007", 'say "hi"', "a,b", "line\nbreak", "Zürich", "", " ", "日本", "NULL", "-1e5"]


@pytest.mark.parametrize("label", LABELS)
def test_labels_are_written_as_they_are(label):
    other = "x"
    binary = ScoringPlan(TargetType.BINARY, "y", (), (other, label), label)
    rows = cells(binary, [[0.25, 0.75]])
    assert rows[0][:3] == [f"y_{label}_PREDICTION", f"y_{other}_PREDICTION", "y_PREDICTION"]
    assert rows[1] == ["0.75", "0.25", label, "0.5", label]
    classes = ScoringPlan(TargetType.MULTICLASS, "y", (), (label, other))
    assert cells(classes, [[0.5, 0.5]]) == [
        [f"y_{label}_PREDICTION", f"y_{other}_PREDICTION", "y_PREDICTION"],
        ["0.5", "0.5", label],
    ]
    tags = ScoringPlan(TargetType.MULTILABEL, "y", (), (label,))
    assert cells(tags, [[0.5]])[0] == [f"y_{label}_{what}" for what in ("PROBABILITY", "THRESHOLD", "DECISION")]


@pytest.mark.parametrize(
    ("threshold", "probability", "label"),
    [(0.0, 0.0, "no"), (0.0, 5e-324, "yes"), (1.0, 1.0, "no"), (0.5, 0.5, "no"), (0.3, 0.1 + 0.2, "yes")],
)
def test_binary_ties_are_negative(threshold, probability, label):
    plan = ScoringPlan(TargetType.BINARY, "y", (), ("no", "yes"), "yes", threshold)
    row = cells(plan, [[1 - probability, probability]])[1]
    assert row[2:4] == [label, repr(threshold)]


@given(st.lists(st.one_of(st.sampled_from(EXTREMES), st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_numbers_read_back_as_they_were(numbers):
    rows = cells(RENT, [[number] for number in numbers])[1:]
    assert [row[0] for row in rows] == [repr(number) for number in numbers]


@given(st.floats(0, 1))
def test_thresholds_and_both_probabilities_are_written_as_python_does(number):
    plan = ScoringPlan(TargetType.BINARY, "y", (), ("no", "yes"), "yes", number)
    row = cells(plan, [[1 - number, number]])[1]
    assert row[:2] == [repr(number), repr(1 - number)]
    assert row[3] == repr(number)
