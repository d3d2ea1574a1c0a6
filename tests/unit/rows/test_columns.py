"""Output columns against the examples of the specification."""

import numpy as np
import pyarrow as pa
import pytest

from scoreline.errors import InvalidRequest, SourceError, WrongAnswer
from scoreline.rows.columns import OutputColumns
from scoreline.types import Scores, ScoringPlan, TargetType

BINARY = ScoringPlan(TargetType.BINARY, "churn", (), ("no", "yes"), "yes")
MULTI = ScoringPlan(TargetType.MULTICLASS, "pet", (), ("cat", "dog", "hen"))
RENT = ScoringPlan(TargetType.REGRESSION, "rent", ())


def plan(base: ScoringPlan, **changes) -> ScoringPlan:
    from dataclasses import replace

    return replace(base, **changes)


def cells(columns: OutputColumns, values, passthrough=None, errors=None, *, n=None, row_index=None):
    scores = Scores(np.array(values, np.float64), row_index=row_index)
    arrays = columns.build(scores, passthrough or {}, errors or {}, n if n is not None else len(values))
    assert [len(a) for a in arrays] == [n if n is not None else len(values)] * len(columns.names)
    assert all(a.type == pa.string() for a in arrays)
    return [tuple(row) for row in zip(*[a.to_pylist() for a in arrays], strict=True)]


def test_regression():
    columns = OutputColumns(plan(RENT, include_status=True), [])
    assert columns.names == ("rent_PREDICTION", "prediction_status")
    assert cells(columns, [[1184.25]]) == [("1184.25", "OK")]


def test_binary_and_tie():
    columns = OutputColumns(BINARY, [])
    assert columns.names == (
        "churn_yes_PREDICTION",
        "churn_no_PREDICTION",
        "churn_PREDICTION",
        "THRESHOLD",
        "POSITIVE_CLASS",
    )
    assert cells(columns, [[0.19, 0.81], [0.5, 0.5]]) == [
        ("0.81", repr(1 - 0.81), "yes", "0.5", "yes"),
        ("0.5", "0.5", "no", "0.5", "yes"),
    ]


def test_binary_with_the_first_label_positive():
    columns = OutputColumns(plan(BINARY, positive_class="no", threshold=1), [])
    assert cells(columns, [[0.75, 0.25]]) == [("0.75", "0.25", "yes", "1.0", "no")]
    assert cells(columns, [[0.25]]) == [("0.75", "0.25", "yes", "1.0", "no")]


def test_positive_class_defaults_to_the_last_label():
    assert OutputColumns(plan(BINARY, positive_class=None), []).names[0] == "churn_yes_PREDICTION"


def test_multiclass_first_wins_a_tie():
    columns = OutputColumns(MULTI, [])
    assert columns.names == ("pet_cat_PREDICTION", "pet_dog_PREDICTION", "pet_hen_PREDICTION", "pet_PREDICTION")
    assert cells(columns, [[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]]) == [
        ("0.2", "0.7", "0.1", "dog"),
        ("0.4", "0.4", "0.2", "cat"),
    ]


def test_probabilities_left_out():
    assert OutputColumns(plan(MULTI, include_probabilities=False), []).names == ("pet_PREDICTION",)
    some = OutputColumns(plan(MULTI, include_probabilities=False, include_classes=("hen",)), [])
    assert some.names == ("pet_hen_PREDICTION", "pet_PREDICTION")
    assert OutputColumns(plan(BINARY, include_probabilities=False), []).names == (
        "churn_PREDICTION",
        "THRESHOLD",
        "POSITIVE_CLASS",
    )
    with pytest.raises(InvalidRequest, match="'cow'"):
        OutputColumns(plan(MULTI, include_classes=("cow",)), [])


def test_failed_row_of_the_specification():
    columns = OutputColumns(plan(BINARY, include_status=True, passthrough=("id",)), ["id", "income"])
    rows = cells(
        columns,
        [[0.19, 0.81]],
        {"id": pa.array(["1", "2"])},
        {1: "column 'income': 'abc' is not a number"},
        n=2,
    )
    assert rows[1] == (None, None, None, None, None, "ERROR: column 'income': 'abc' is not a number", "2")
    assert rows[0][-2:] == ("OK", "1")


def test_scores_find_their_rows():
    columns = OutputColumns(plan(RENT, include_status=True), [])
    by_index = cells(columns, [[1.0], [2.0]], errors={0: "a", 2: "b"}, n=4, row_index=np.array([3, 1]))
    assert by_index == [(None, "ERROR: a"), ("2.0", "OK"), (None, "ERROR: b"), ("1.0", "OK")]
    for_all = cells(columns, [[9.0], [1.0], [9.0]], errors={0: "a", 2: "b"}, n=3)
    assert for_all == [(None, "ERROR: a"), ("1.0", "OK"), (None, "ERROR: b")]
    both = cells(columns, [[9.0], [1.0]], errors={0: "a"}, n=2, row_index=np.array([0, 1]))
    assert both == [(None, "ERROR: a"), ("1.0", "OK")]  # a message counts for more than a score
    with pytest.raises(WrongAnswer):
        cells(columns, [[9.0]], n=3)
    nothing = OutputColumns(RENT, []).build(Scores(np.empty((0, 1))), {}, {0: "x"}, 1)
    assert nothing[0].to_pylist() == [None]


def test_status_is_one_line_of_500_characters():
    columns = OutputColumns(plan(RENT, include_status=True), [])
    (row,) = cells(columns, np.empty((0, 1)), errors={0: "a\nb " + "x" * 600}, n=1)
    assert row[1].startswith("ERROR: a b xxx")
    assert len(row[1]) == 500


def test_a_message_with_signs_that_no_log_or_file_can_hold():
    """Half characters have no UTF-8, NUL stays out of PostgreSQL, and an escape would drive a terminal."""
    columns = OutputColumns(plan(RENT, include_status=True), [])
    (row,) = cells(columns, np.empty((0, 1)), errors={0: "odd \udcff\ud83d\x00\x1b[31m\x07\x7f\x9b é字\U0001f600"}, n=1)
    assert row[1] == "ERROR: odd \ufffd\ufffd\ufffd\ufffd[31m\ufffd\ufffd\ufffd é字\U0001f600"


def test_passthrough_lists_and_all():
    source = ["b", "a", "c"]
    assert OutputColumns(plan(RENT, passthrough=("c", "a", "c")), source).names == ("rent_PREDICTION", "c", "a")
    assert OutputColumns(plan(RENT, passthrough="all"), source).names == ("rent_PREDICTION", "b", "a", "c")
    with pytest.raises(SourceError, match="'x', 'y'"):
        OutputColumns(plan(RENT, passthrough=("x", "a", "y")), source)


def test_association_id_is_there_once():
    source = ["id", "key"]
    assert OutputColumns(plan(RENT, association_id=("key",)), source).names == ("rent_PREDICTION", "key")
    first = OutputColumns(plan(RENT, association_id=("key",), passthrough=("id",)), source)
    assert first.names == ("rent_PREDICTION", "key", "id")
    assert OutputColumns(plan(RENT, association_id=("key",), passthrough="all"), source).names[1:] == ("id", "key")
    assert OutputColumns(plan(RENT, association_id=("none",)), source).names == ("rent_PREDICTION",)


def test_scoring_a_scored_file_again():
    source = ["rent_PREDICTION", "rent_PREDICTION_INPUT", "prediction_status"]
    columns = OutputColumns(plan(RENT, include_status=True, passthrough="all"), source)
    assert columns.names == (
        "rent_PREDICTION",
        "prediction_status",
        "rent_PREDICTION_INPUT_2",
        "rent_PREDICTION_INPUT",
        "prediction_status_INPUT",
    )
    assert len(columns.warnings) == 2
    assert columns.passthrough == tuple(source)


def test_remapping():
    remap = (("rent_PREDICTION", "rent_hat"), ("junk", None), ("nothing", "x"))
    columns = OutputColumns(plan(RENT, passthrough=("id", "junk"), remap=remap), ["id", "junk"])
    assert columns.names == ("rent_hat", "id")
    assert columns.passthrough == ("id",)
    assert ["'nothing'" in line for line in columns.warnings] == [True]
    assert cells(columns, [[1184.25]], {"id": pa.array(["77"])}) == [("1184.25", "77")]
    swapped = OutputColumns(plan(RENT, passthrough="all", remap=(("a", "b"), ("b", "a"))), ["a", "b"])
    assert cells(swapped, [[1.0]], {"a": pa.array(["A"]), "b": pa.array(["B"])}) == [("1.0", "A", "B")]
    assert swapped.names == ("rent_PREDICTION", "b", "a")


def test_remapping_of_names_that_a_client_put_in_camel_case():
    from datarobot.utils import camelize

    source = ["my_col", "a__b", "x_1", "col_2_name", "MY_COL", "two_ways", "twoWays", "_led"]
    remap = tuple((camelize(name), f"new {number}") for number, name in enumerate(source) if name != "twoWays")
    columns = OutputColumns(plan(RENT, passthrough="all", remap=remap), source)
    assert columns.names[1:] == ("new 0", "new 1", "new 2", "new 3", "new 4", "two_ways", "new 5", "new 7")
    assert "columnNamesRemapping names 'myCol', which is taken for 'my_col'." in columns.warnings
    unclear = OutputColumns(plan(RENT, passthrough="all", remap=(("aB_cD", "x"), ("aBC", "y"))), ["a_bC", "aB_c"])
    assert unclear.names[1:] == ("a_bC", "aB_c"), "two columns may be meant by 'aBC'"
    given = OutputColumns(plan(RENT, passthrough="all", remap=(("a_b", "x"), ("aB", "y"))), ["a_b"])
    assert given.names[1:] == ("x",), "a column that is named has its name"


def test_remapping_that_cannot_be_done():
    with pytest.raises(InvalidRequest, match="'id'") as caught:
        OutputColumns(plan(RENT, passthrough=("id",), remap=(("rent_PREDICTION", "id"),)), ["id"])
    assert caught.value.field == "columnNamesRemapping"
    with pytest.raises(InvalidRequest, match="every column"):
        OutputColumns(plan(RENT, remap=(("rent_PREDICTION", None),)), [])


def test_header_with_a_name_twice():
    with pytest.raises(SourceError, match="'a' more than once"):
        OutputColumns(RENT, ["a", "b", "a"])
