"""Good rows and bad ones on real servers; values are the models' own predictions, made in their own environments."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from scoreline import scorers
from scoreline.errors import AccessRefused, ModelBroken
from scoreline.types import ErrorPlan, Feature, FeatureType, ScoringPlan, ServerAddress, TargetType
from tests.systems.conftest import drum_server
from tests.systems.scoring import BINARY, FEATURES, run

PATIENT = ErrorPlan(abort_on_error=False)
V2 = {"model": "binary", "output": "predict_proba"}


def address(url: str, kind: str, **options: str) -> ServerAddress:
    return ServerAddress(url, "", "", kind, options)


def check_binary(rows, own, close=1e-12):
    assert len(rows) == len(own)
    for row, (no, yes) in zip(rows, own, strict=True):
        assert float(row["left_no_PREDICTION"]) == pytest.approx(no, abs=close)
        assert float(row["left_yes_PREDICTION"]) == pytest.approx(yes, abs=close)
        assert row["left_PREDICTION"] == ("yes" if yes > 0.5 else "no")


@pytest.fixture
def bad_rows(tmp_path):
    """Rows 1, 3 and 6 cannot be scored by these models: a missing number, a word, a missing number."""
    file = tmp_path / "bad.csv"
    rows = [
        ("30", 1, "Köln"),
        ("", 2, "007"),
        ("40", 3, "x"),
        ("abc", 4, "y"),
        ("50", 5, "w"),
        ("60", 6, "z"),
        ("", 7, "v"),
    ]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("age", "visits", "city"), *rows])
    return file


def check_bad(rows, done):
    assert done.counts.scored == 4
    assert done.counts.failed == 3
    for place, row in enumerate(rows):
        failed = place in {1, 3, 6}
        assert (row["left_PREDICTION"] == "") is failed
        assert row["prediction_status"].startswith("ERROR:" if failed else "OK")
        assert "Traceback" not in row["prediction_status"]
        assert "\n" not in row["prediction_status"]


def test_drum(tmp_path, drum, drum_binary, bad_rows):
    rows, done, _ = run(tmp_path, address(drum_binary, "drum"), drum.rows)
    check_binary(rows, drum.own(), 1e-9)  # its answers have ten decimals
    assert done.counts.failed == 0
    check_bad(*run(tmp_path, address(drum_binary, "drum"), bad_rows, errors=PATIENT)[:2])


def test_drum_without_known_columns_gets_every_column_as_it_stands(tmp_path, drum, drum_binary, bad_rows):
    plan = dataclasses.replace(BINARY, features=())
    rows, _, _ = run(tmp_path, address(drum_binary, "drum"), drum.rows, plan=plan)
    check_binary(rows, drum.own(), 1e-9)
    check_bad(*run(tmp_path, address(drum_binary, "drum"), bad_rows, plan=plan, errors=PATIENT)[:2])


def test_drum_regression_and_its_form_of_a_portable_prediction_server(tmp_path, drum):
    plan = ScoringPlan(TargetType.REGRESSION, "left", FEATURES)
    with drum_server(drum, "regression") as url:
        rows, _, _ = run(tmp_path, address(url, "drum"), drum.rows, plan=plan)
        assert scorers.learn(address(url, "drum"), None, ()).info.target_type is TargetType.REGRESSION
    own = drum.own("regression")
    assert [float(row["left_PREDICTION"]) for row in rows] == pytest.approx(own, abs=1e-9)
    config = tmp_path / "deployment.json"
    config.write_text(json.dumps({
        "target": {"name": "left", "prediction_threshold": 0.5, "class_mapping": [["no", 0], ["yes", 1]]},
    }))  # fmt: skip
    with drum_server(drum, "binary", "--deployment-config", str(config)) as url:
        rows, _, _ = run(tmp_path, address(url, "drum"), drum.rows)
        check_binary(rows, drum.own())  # all digits
        rows, _, _ = run(tmp_path, address(f"{url}", "drum", maxRows="20"), drum.rows)
        check_binary(rows, drum.own())


def test_drum_tells_its_target_and_labels(drum_binary):
    learned = scorers.learn(address(drum_binary, "drum"), None, ())
    assert learned.info.target_type is TargetType.BINARY
    assert learned.info.class_labels == ("no", "yes")


def test_mlflow(tmp_path, mlflow, mlflow_binary, bad_rows):
    rows, _, _ = run(tmp_path, address(mlflow_binary, "mlflow"), mlflow.rows)
    check_binary(rows, mlflow.own())
    check_bad(*run(tmp_path, address(mlflow_binary, "mlflow"), bad_rows, errors=PATIENT)[:2])


def test_mlflow_as_csv_when_no_columns_are_known(tmp_path, mlflow, mlflow_binary, bad_rows):
    plan = dataclasses.replace(BINARY, features=())
    rows, _, _ = run(tmp_path, address(mlflow_binary, "mlflow"), mlflow.rows, plan=plan)
    check_binary(rows, mlflow.own())
    check_bad(*run(tmp_path, address(mlflow_binary, "mlflow"), bad_rows, plan=plan, errors=PATIENT)[:2])


def test_mlserver_with_a_tensor_for_each_column(tmp_path, mlserver, mlserver_url, bad_rows):
    rows, _, _ = run(tmp_path, address(mlserver_url, "v2", **V2), mlserver.rows)
    check_binary(rows, mlserver.own())
    check_bad(*run(tmp_path, address(mlserver_url, "v2", **V2), bad_rows, errors=PATIENT)[:2])


def test_mlserver_with_one_matrix(tmp_path, mlserver, mlserver_url):
    features = (Feature("age", FeatureType.NUMERIC), Feature("visits", FeatureType.NUMERIC))
    plan = dataclasses.replace(BINARY, features=features)
    server = address(mlserver_url, "v2", model="matrix", output="predict_proba", layout="matrix")
    rows, _, _ = run(tmp_path, server, mlserver.rows, plan=plan)
    check_binary(rows, mlserver.own("matrix"))


def test_labels_instead_of_probabilities_end_the_job_with_advice(tmp_path, mlserver, mlserver_url):
    with pytest.raises(ModelBroken, match="--server-option output="):
        run(tmp_path, address(mlserver_url, "v2", model="binary"), mlserver.rows)


@pytest.mark.parametrize(("kind", "options"), [("drum", {}), ("v2", {"model": "other"})])
def test_the_wrong_kind_or_model_is_told_at_registration(mlserver_url, kind, options):
    with pytest.raises(AccessRefused, match="check the address"):
        scorers.learn(address(mlserver_url, kind, **options), None, FEATURES)
