"""`datarobot-predict`, the client of the Prediction API: real-time requests from DataFrames."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from datarobot_predict.deployment import clear_context, predict, predict_unstructured

from tests.support.boosters import COLUMNS, as_csv, sample


@pytest.fixture
def deployment(dr, models):
    clear_context()  # it keeps the address of an earlier client
    yield dr.Deployment.get(models.binary.deployment_id)
    clear_context()


@pytest.fixture
def frame():
    text = as_csv(sample(40), [f"{number:03d}" for number in range(40)]).decode()
    return pd.read_csv(io.StringIO(text), dtype={"id": str})


def expected(models, frame):
    positive = models.binary.predict(frame[list(COLUMNS)].to_numpy())
    return pd.DataFrame(
        {
            "late_yes_PREDICTION": positive,
            "late_no_PREDICTION": 1 - positive,
            "late_PREDICTION": np.where(positive > 0.5, "yes", "no"),
            "THRESHOLD": 0.5,
            "POSITIVE_CLASS": "yes",
        }
    )


def test_values_and_types(deployment, models, frame):
    result = predict(deployment, frame)
    wanted = expected(models, frame)
    pd.testing.assert_frame_equal(result.dataframe, wanted, rtol=0, atol=1e-15)
    assert result.dataframe["late_yes_PREDICTION"].tolist() == wanted["late_yes_PREDICTION"].tolist()
    assert int(result.response_headers["X-DataRobot-Execution-Time"]) >= 0
    assert len(result.response_headers["X-Scoreline-Model"]) == 64


def test_other_kinds_of_target(dr, deployment, models, frame):
    rows = frame[list(COLUMNS)].to_numpy()
    number = predict(dr.Deployment.get(models.regression.deployment_id), frame).dataframe
    assert number["late_PREDICTION"].tolist() == models.regression.predict(rows).tolist()
    several = predict(dr.Deployment.get(models.multiclass.deployment_id), frame).dataframe
    names = [f"late_{label}_PREDICTION" for label in models.multiclass.labels]
    assert several[names].to_numpy() == pytest.approx(models.multiclass.predict(rows), abs=1e-15)
    assert several["late_PREDICTION"].tolist() == [
        models.multiclass.labels[place] for place in models.multiclass.predict(rows).argmax(axis=1)
    ]


def test_passthrough(deployment, models, frame):
    """Read back as a reader of CSV reads it: the texts are those that were sent."""
    result = predict(deployment, frame, passthrough_columns={"id"}).dataframe
    assert list(result) == [*expected(models, frame), "id"]
    assert result["id"].tolist() == list(range(40))
    everything = predict(deployment, frame, passthrough_columns="all", timeout=60).dataframe
    pd.testing.assert_frame_equal(everything[list(COLUMNS)], frame[list(COLUMNS)])


def test_the_same_as_a_batch(deployment, frame):
    batch = deployment.predict_batch(frame)
    single = predict(deployment, frame).dataframe
    pd.testing.assert_frame_equal(batch[list(single)], single)


def test_an_address_by_hand(dr, deployment, models, frame):
    address = f"{deployment.default_prediction_server['url']}/predApi/v1.0"
    result = predict(deployment.id, frame, prediction_endpoint=address)
    assert len(result.dataframe) == 40


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("Passthrough columns not found: nope", {"passthrough_columns": {"nope"}}),
        ("maxExplanations=3", {"max_explanations": 3}),
        ("explanationAlgorithm=shap", {"explanation_algorithm": "shap"}),
    ],
)
def test_what_is_refused(dr, deployment, frame, words, options):
    with pytest.raises(dr.errors.ClientError, match=words):
        predict(deployment, frame, **options)


def test_rows_at_fault_and_unstructured_models(dr, deployment, frame):
    with pytest.raises(dr.errors.ClientError, match="'age'"):
        predict(deployment, frame.assign(age="abc"))
    with pytest.raises(dr.errors.ClientError, match="Unstructured models"):
        predict_unstructured(deployment, "any text")
