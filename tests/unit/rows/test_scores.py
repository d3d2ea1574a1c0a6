"""Answers put together from parts, cut down, checked, and sent between processes."""

import math

import numpy as np
import pyarrow as pa
import pytest

from scoreline.errors import WrongAnswer
from scoreline.rows import exchange, scores
from scoreline.types import ExtraOutput, FeatureType, Scores, ScoringPlan, TargetType

EXTRA = (ExtraOutput("n", FeatureType.NUMERIC), ExtraOutput("t", FeatureType.TEXT))
NUMBER = ScoringPlan(TargetType.REGRESSION, "y", (), extra=EXTRA)
TEXT = ScoringPlan(TargetType.TEXT_GENERATION, "y", ())


def numbers(values, n=None, t=None):
    n = pa.array(values, pa.float64()) if n is None else pa.array(n)
    t = pa.array([f"t{value:g}" for value in values] if t is None else t, pa.string())
    return Scores(np.array(values, float).reshape(-1, 1), None, (n, t))


def texts(values):
    return Scores(np.empty((len(values), 0)), pa.array(values, pa.string()))


def test_parts_come_together_in_the_order_of_their_rows():
    whole = scores.joined([(2, numbers([2.0, 3.0])), (0, numbers([0.0, 1.0]))], 4, NUMBER)
    assert whole.values[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert [column.to_pylist() for column in whole.extra] == [[0.0, 1.0, 2.0, 3.0], ["t0", "t1", "t2", "t3"]]
    assert whole.row_index is None
    some = scores.joined([(3, texts(["d"])), (0, texts(["a", "b"]))], 4, TEXT)
    assert some.text.to_pylist() == ["a", "b", "d"]
    assert some.row_index.tolist() == [0, 1, 3]
    none = scores.joined([], 2, TEXT)
    assert (none.values.shape, len(none.text), none.row_index.tolist()) == ((0, 0), 0, [])


def test_one_part_of_all_rows_is_not_copied():
    part = numbers([1.0, 2.0])
    assert scores.joined([(0, part)], 2, NUMBER) is part


def test_parts_with_numbers_of_different_types():
    whole = scores.joined(
        [(0, numbers([0.0], n=[7])), (1, numbers([1.0], n=[math.nan])), (2, numbers([2.0], n=["x"]))], 3, NUMBER
    )
    assert whole.extra[0].to_pylist() == ["7", None, "x"]
    whole = scores.joined([(0, numbers([0.0], n=[7])), (1, numbers([1.0], n=[0.5]))], 2, NUMBER)
    assert whole.extra[0].to_pylist() == [7.0, 0.5]


def test_rows_without_a_usable_prediction():
    assert scores.unusable(Scores(np.array([[1.0, 2.0]]))) == {}
    assert list(scores.unusable(Scores(np.array([[1.0, 2.0], [math.nan, 1.0], [1.0, math.inf]])))) == [1, 2]
    assert scores.unusable(texts(["a", ""])) == {}
    assert scores.unusable(texts(["a", None, "c"])) == {1: "the model gave no text"}


def test_some_rows_only():
    kept = scores.chosen(numbers([1.0, 2.0, 3.0]), np.array([True, False, True]))
    assert (kept.values[:, 0].tolist(), kept.extra[1].to_pylist()) == ([1.0, 3.0], ["t1", "t3"])
    assert scores.chosen(texts(["a", "b"]), np.array([False, True])).text.to_pylist() == ["b"]


@pytest.mark.parametrize(
    ("answer", "plan"),
    [
        (numbers([1.0, 2.0]), NUMBER),
        (numbers([1.0], t=["a", "b"]), NUMBER),
        (Scores(np.ones((1, 1))), NUMBER),
        (Scores(np.ones((1, 2)), None, numbers([1.0]).extra), NUMBER),
        (texts(["a", "b"]), TEXT),
        (Scores(np.ones((1, 1))), TEXT),
        (Scores(np.empty((1, 0)), pa.array(["a", "b"])), TEXT),
        (Scores(np.ones((1, 1)), pa.array(["a"]), numbers([1.0]).extra), NUMBER),
        (Scores(np.ones((1, 1)), None, numbers([1.0]).extra, row_index=np.array([1])), NUMBER),
    ],
)
def test_answers_of_another_shape_are_refused(answer, plan):
    with pytest.raises(WrongAnswer):
        scores.checked(answer, 1, plan)


def test_a_probability_alone_is_completed():
    plan = ScoringPlan(TargetType.BINARY, "y", (), ("a", "b"))
    assert scores.checked(Scores(np.array([[0.25]])), 1, plan).values.tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize("answer", [numbers([1.5, math.nan]), numbers([]), texts(["a\n", None, ""]), texts([])])
def test_exchange_of_scores(answer):
    names = ["n", "t"] if answer.extra else []
    back = exchange.decode_scores(exchange.encode_scores(answer, names), names)
    np.testing.assert_array_equal(back.values, answer.values)
    assert (back.text is None) is (answer.text is None)
    assert back.text is None or back.text.equals(answer.text)
    assert [column.to_pylist()[:1] for column in back.extra] == [column.to_pylist()[:1] for column in answer.extra]


def test_columns_beside_the_predictions_are_found_by_name():
    body = exchange.encode_scores(numbers([1.0]), ["n", "t"])
    assert [column.to_pylist() for column in exchange.decode_scores(body, ["t"]).extra] == [["t1"]]
    with pytest.raises(ValueError, match="'other'"):
        exchange.decode_scores(body, ["n", "other"])
    with pytest.raises(ValueError, match="'n'"):
        exchange.decode_scores(exchange.encode(pa.record_batch({"0": [1.0], "extra:n": [b"x"]})), ["n"])


@pytest.mark.parametrize(
    "columns", [{"0": [1]}, {"0": ["x"]}, {"text": [1.0]}, {"extra:a": [1.0]}], ids=["int", "text", "number", "only"]
)
def test_what_is_no_table_of_scores_is_refused(columns):
    with pytest.raises(ValueError, match="column"):
        exchange.decode_scores(exchange.encode(pa.record_batch(columns)))
