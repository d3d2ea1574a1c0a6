"""Answers of models that return whatever they like: told apart once, then read the same way, or refused in words."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from scoreline.errors import DataRefused, ModelBroken
from scoreline.models.answers import layout
from scoreline.types import FeatureType, TargetType

N, I, B, T = FeatureType.NUMERIC, FeatureType.INTEGER, FeatureType.BOOLEAN, FeatureType.TEXT  # noqa: E741 -- a row of the table below


def told(answer):
    found = layout(answer, len(next(iter(answer.values()))) if isinstance(answer, dict) else len(answer), "m")
    return found.outputs, found.target_type, found.labels, [(each.name, each.type) for each in found.extra]


REGRESSION, BINARY, MULTI = TargetType.REGRESSION, TargetType.BINARY, TargetType.MULTICLASS


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([1.5], (1, REGRESSION, None, [])),
        ([None, 1.5], (1, REGRESSION, None, [])),
        ([3], (1, None, None, [])),
        (pd.Series([1.5]), (1, REGRESSION, None, [])),
        (np.array([[1.5]]), (1, REGRESSION, None, [])),
        (["text"], (0, None, None, [])),
        ([None, "text"], (0, None, None, [])),
        (np.array(["text"]), (0, None, None, [])),
        (pd.Series(["text"]), (0, None, None, [])),
        (pd.DataFrame({"answer": ["text"]}), (0, None, None, [])),
        ([{"answer": "text"}], (0, None, None, [])),
        (np.array([[0.25, 0.75]]), (2, BINARY, None, [])),
        ([[0.25, 0.75]], (2, BINARY, None, [])),
        ({"no": [0.25], "yes": [0.75]}, (2, BINARY, ("no", "yes"), [])),
        ({"probabilities": np.array([[0.2, 0.3, 0.5]])}, (3, MULTI, None, [])),
        ([{"no": 0.25, "yes": 0.75}], (2, BINARY, ("no", "yes"), [])),
        (pd.DataFrame({"red": [0.9], "big": [0.2]}), (2, None, ("red", "big"), [])),
        (pd.DataFrame({"no": [0.25], "why": ["x"], "yes": [0.75]}), (2, BINARY, ("no", "yes"), [("why", T)])),
        (pd.DataFrame({"low": [7.0], "PREDICTION": [8.0]}), (1, REGRESSION, None, [("low", N)])),
        (
            pd.DataFrame({"predictions": ["text"], "tokens": [3], "sure": [True]}),
            (0, None, None, [("tokens", I), ("sure", B)]),
        ),
        (pd.DataFrame({"prediction": [1.5], "odd": [{"a": 1}]}), (1, REGRESSION, None, [("odd", T)])),
    ],
)
def test_what_a_first_answer_tells(answer, expected):
    assert told(answer) == expected


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.array([[2.0, 3.0]]), "no probabilities.*sum is 5"),
        ([True], "true or false only"),
        (pd.DataFrame({"label": ["x"], "score": [0.7]}), r"cannot be told \('label' \(text\), 'score' \(numeric\)\)"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "cannot be told"),
        (np.zeros((1, 2, 2)), "shape"),
        ([[1.0, 2.0], [3.0]], "different lengths"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "shape"),
        (pd.DataFrame([[0.5, 0.5]], columns=["a", "a"]), "same name"),
    ],
)
def test_first_answers_that_tell_nothing_are_refused_in_words(answer, words):
    with pytest.raises(ModelBroken, match=words):
        told(answer)


def test_later_answers_are_read_by_name_whatever_their_types():
    found = layout(pd.DataFrame({"n": [1], "prediction": [1.0], "t": ["x"]}), 1, "m")
    later = pd.DataFrame({"t": [None, 5], "prediction": [2, 3], "n": [0.5, math.nan], "more": [0, 0]})
    scores = found.read(later, 2)
    assert scores.values.tolist() == [[2.0], [3.0]]  # noqa: PD011 -- no DataFrame
    n, t = (column.to_pylist() for column in scores.extra)
    assert (n[0], math.isnan(n[1])) == (0.5, True)
    assert t == [None, "5.0"]
    for wrong in (pd.DataFrame({"prediction": [1.0], "n": [1]}), np.ones((1, 3)), [1.0]):
        with pytest.raises(ModelBroken, match="other columns"):
            found.read(wrong, 1)


def test_later_answers_of_another_number_of_rows_or_columns():
    found = layout([[0.25, 0.75]], 1, "m")
    with pytest.raises(ModelBroken, match="for 2 rows"):
        found.read([[0.25, 0.75]], 2)
    with pytest.raises(ModelBroken, match="other columns"):
        found.read([[0.2, 0.3, 0.5]], 1)
    with pytest.raises(ModelBroken, match="not numbers"):
        found.read([["a", "b"]], 1)


def test_texts_that_are_none():
    found = layout(["x"], 1, "m")
    scores = found.read(["a\n", None, "", math.nan, pd.NA, 7], 6)
    assert scores.text.to_pylist() == ["a\n", None, "", None, None, "7"]
    with pytest.raises(DataRefused, match="surrogate") as refused:
        found.read(["fine", "half \ud800"], 2)
    assert refused.value.row == 1


@pytest.mark.parametrize("make", [pd.Series, lambda values, index: pd.DataFrame({"prediction": values}, index=index)])
def test_rows_that_a_model_moved_are_put_back_by_their_index(make):
    read = layout([1.5], 1, "m") if make is pd.Series else layout(pd.DataFrame({"prediction": [1.5]}), 1, "m")
    for index, expected in [
        ([2, 0, 1], [20.5, 30.5, 10.5]),
        (range(3), [10.5, 20.5, 30.5]),
        ([2, 0, 0], [10.5, 20.5, 30.5]),  # none that says where a row was
        ([1, 2, 3], [10.5, 20.5, 30.5]),
        ([2.5, 0, 1], [10.5, 20.5, 30.5]),
        (["c", "a", "b"], [10.5, 20.5, 30.5]),
        (pd.MultiIndex.from_tuples([(2, 0), (0, 0), (1, 0)]), [10.5, 20.5, 30.5]),
    ]:
        found = read.read(make([10.5, 20.5, 30.5], index=index), 3)
        assert found.values.ravel().tolist() == expected  # noqa: PD011 -- no DataFrame
