from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from scoreline.rows.columns import OutputColumns
from scoreline.serving.answers import csv_body, json_body
from scoreline.types import Scores, ScoringPlan, TargetType

BINARY = ScoringPlan(TargetType.BINARY, "churn", (), ("no", "yes"), positive_class="yes", threshold=0.5)
NOTHING: dict[str, pa.Array] = {}


def records(plan, values, passthrough=NOTHING):
    return json.loads(json_body(plan, Scores(np.array(values)), passthrough))["data"]


def test_binary_json():
    assert records(BINARY, [[0.19, 0.81], [0.5, 0.5]]) == [
        {
            "rowId": 0,
            "prediction": "yes",
            "predictionThreshold": 0.5,
            "predictionValues": [
                {"label": "yes", "value": 0.81, "threshold": 0.5},
                {"label": "no", "value": 1 - 0.81, "threshold": 0.5},
            ],
            "deploymentApprovalStatus": "APPROVED",
        },
        {
            "rowId": 1,
            "prediction": "no",  # a tie is not above the threshold
            "predictionThreshold": 0.5,
            "predictionValues": [
                {"label": "yes", "value": 0.5, "threshold": 0.5},
                {"label": "no", "value": 0.5, "threshold": 0.5},
            ],
            "deploymentApprovalStatus": "APPROVED",
        },
    ]


def test_binary_without_a_positive_class_takes_the_last_label():
    plan = ScoringPlan(TargetType.BINARY, "churn", (), ("no", "yes"), threshold=0.1)
    assert [record["prediction"] for record in records(plan, [[0.8, 0.2], [0.95, 0.05]])] == ["yes", "no"]


def test_regression_json_with_passthrough():
    plan = ScoringPlan(TargetType.REGRESSION, "rent", ())
    found = records(plan, [[1184.25], [np.nan]], {"id": pa.array(["007", None])})
    assert [record["prediction"] for record in found] == [1184.25, None]
    assert found[0]["predictionValues"] == [{"label": "rent", "value": 1184.25}]
    assert [record["passthroughValues"] for record in found] == [{"id": "007"}, {"id": None}]


def test_multiclass_json_takes_the_first_of_equals():
    plan = ScoringPlan(TargetType.MULTICLASS, "pet", (), ("cat", "dog", "hen"))
    found = records(plan, [[0.2, 0.7, 0.1], [0.4, 0.4, 0.2], [0.4, np.inf, 0.2]])
    assert [record["prediction"] for record in found] == ["dog", "cat", None]
    assert [value["label"] for value in found[0]["predictionValues"]] == ["cat", "dog", "hen"]


def test_json_of_many_rows_counts_on():
    plan = ScoringPlan(TargetType.REGRESSION, "rent", ())
    ids = pa.array([f"#{i}" for i in range(10_000)])
    found = records(plan, np.arange(10_000.0).reshape(-1, 1), {"id": ids})
    assert [(r["rowId"], r["prediction"], r["passthroughValues"]["id"]) for r in found] == [
        (i, float(i), f"#{i}") for i in range(10_000)
    ]
    assert records(plan, np.empty((0, 1))) == []


def test_json_is_ascii():
    plan = ScoringPlan(TargetType.REGRESSION, "größe", ())
    assert json_body(plan, Scores(np.ones((1, 1))), NOTHING).isascii()


def test_csv_has_the_columns_of_a_batch_job():
    columns = OutputColumns(BINARY, ["id"])
    assert csv_body(columns, Scores(np.array([[0.19, 0.81]])), NOTHING) == (
        b"churn_yes_PREDICTION,churn_no_PREDICTION,churn_PREDICTION,THRESHOLD,POSITIVE_CLASS\n"
        b"0.81,0.18999999999999995,yes,0.5,yes\n"
    )
    assert csv_body(columns, Scores(np.empty((0, 2))), NOTHING).count(b"\n") == 1
