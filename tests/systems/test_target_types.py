"""Kinds of targets beyond numbers and classes, on real servers of other makers and in DRUM's folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scoreline import models, scorers
from scoreline.models.drum import SETTING
from scoreline.types import ErrorPlan, ExtraOutput, Feature, FeatureType, ScoringPlan, ServerAddress, TargetType
from tests.systems.conftest import SYSTEMS, free_port
from tests.systems.scoring import run

TEXT_HOOKS = """
import os
import pandas as pd

def load_model(code_dir):
    return True

def score(data, model, **kwargs):
    if (data["age"] < 0).any():
        raise ValueError("age is negative")
    told = [f"{city} is {age:g},\\nthey say" for city, age in zip(data["city"], data["age"])]
    columns = {os.environ["TARGET_NAME"]: told, "tokens": [len(text) for text in told], "doubt": data["age"] / 100}
    return pd.DataFrame(columns)
"""
LABEL_HOOKS = """
import pandas as pd

def load_model(code_dir):
    return True

def score(data, model, **kwargs):
    return pd.DataFrame({"big": data["age"] / 100, "red": 0.5 + 0 * data["age"]})
"""
SCORE_HOOKS = """
import pandas as pd

def load_model(code_dir):
    return True

def score(data, model, **kwargs):
    return pd.DataFrame({"Predictions": data["age"] * -2.5})
"""
RAW_HOOKS = """
def load_model(code_dir):
    return True

def score_unstructured(model, data, **kwargs):
    return data
"""
FEATURES = (Feature("age", FeatureType.NUMERIC), Feature("city", FeatureType.TEXT))
EXTRA = (ExtraOutput("doubt", FeatureType.NUMERIC), ExtraOutput("tokens", FeatureType.INTEGER))
PLANS = {
    "textgeneration": ScoringPlan(
        TargetType.TEXT_GENERATION, "resultText", FEATURES, include_status=True, passthrough=("city",), extra=EXTRA
    ),
    "multilabel": ScoringPlan(TargetType.MULTILABEL, "tags", FEATURES, ("red", "big"), include_status=True),
    "anomaly": ScoringPlan(TargetType.ANOMALY, "", FEATURES, include_status=True),
}
HOOKS = {"textgeneration": TEXT_HOOKS, "multilabel": LABEL_HOOKS, "anomaly": SCORE_HOOKS}
CITIES = [("30", "Köln"), ("7.5", 'Say "hi", all'), ("66", "New\nYork")]
TOLD = [f"{city} is {age},\nthey say" for age, city in CITIES]


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("age", "city"), *CITIES])
    return file


def told(scored):
    """What the hooks above say, worked out by hand."""
    assert [row["resultText_PREDICTION"] for row in scored] == TOLD
    assert [row["tokens"] for row in scored] == [str(len(text)) for text in TOLD]
    assert [row["doubt"] for row in scored] == ["0.3", "0.075", "0.66"]


def checked(kind, scored):
    assert [row["prediction_status"] for row in scored] == ["OK"] * len(CITIES)
    if kind == "textgeneration":
        told(scored)
    elif kind == "anomaly":
        assert [row["ANOMALY_SCORE"] for row in scored] == ["-75.0", "-18.75", "-165.0"]
    else:
        assert [row["tags_big_PROBABILITY"] for row in scored] == ["0.3", "0.075", "0.66"]
        assert [row["tags_big_DECISION"] for row in scored] == ["False", "False", "True"]
        assert {row["tags_red_PROBABILITY"] for row in scored} == {"0.5"}


def drum_words(kind, folder: Path) -> list[str]:
    if kind != "multilabel":
        return []
    (folder / "labels.txt").write_text("red\nbig")
    return ["--class-labels-file", str(folder / "labels.txt")]


@pytest.mark.parametrize("portable", [False, True], ids=["plain", "portable"])
@pytest.mark.parametrize("kind", HOOKS)
def test_drum_servers(tmp_path, drum, rows, kind, portable):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "custom.py").write_text(HOOKS[kind])
    words = drum_words(kind, tmp_path)
    if portable:
        mapping = [["red", 0], ["big", 1]] if kind == "multilabel" else None
        target = {"name": "resultText", "prediction_threshold": 0.5, "class_mapping": mapping}
        (tmp_path / "deployment.json").write_text(json.dumps({"target": target}))
        words += ["--deployment-config", str(tmp_path / "deployment.json")]
    address = f"127.0.0.1:{free_port()}"
    command = ["drum", "server", "--code-dir", str(folder), "--target-type", kind, "--address", address, *words]
    with drum.started(command, f"http://{address}/info/", TARGET_NAME="resultText"):
        server = ServerAddress(f"http://{address}", "", "", "drum")
        learned = scorers.learn(server, None, ())
        assert learned.info.target_type is PLANS[kind].target_type
        scored, done, _ = run(tmp_path, server, rows, plan=PLANS[kind])
        checked(kind, scored)
        assert done.counts.failed == 0
        if kind == "textgeneration" and not portable:
            rows.write_text("age,city\n30,A\n-1,B\n40,C\n")
            patient = ErrorPlan(abort_on_error=False)
            scored, done, _ = run(tmp_path, server, rows, plan=PLANS[kind], errors=patient)
            assert [row["resultText_PREDICTION"][:4] for row in scored] == ["A is", "", "C is"]
            assert "age is negative" in scored[1]["prediction_status"]


@pytest.mark.parametrize("kind", HOOKS)
def test_drum_folders(monkeypatch, tmp_path, kind):
    import pyarrow as pa

    monkeypatch.setenv(SETTING, str(Path(str(SYSTEMS)).resolve() / "drum"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "custom.py").write_text(HOOKS[kind])
    target = {"name": "resultText", "type": PLANS[kind].target_type}
    if kind == "multilabel":
        target["classNames"] = ["red", "big"]
    features = [{"name": "age", "type": "numeric"}, {"name": "city", "type": "text"}]
    beside = {"tokens": "integer", "doubt": "numeric"} if kind == "textgeneration" else {}
    said = {"target": target, "features": features, "extraOutputs": beside}
    (folder / "scoreline.json").write_text(json.dumps(said))
    model = models.load(folder, trusted=True)
    assert model.info.target_type is PLANS[kind].target_type
    ages = [float(age) for age, _ in CITIES]
    found = models.scores(model, pa.RecordBatch.from_pydict({"age": ages, "city": [city for _, city in CITIES]}))
    if kind == "textgeneration":
        assert (model.info.outputs, found.text.to_pylist()) == (0, TOLD)
        assert [(each.name, each.type) for each in model.info.extra] == [("tokens", "integer"), ("doubt", "numeric")]
        assert [column.to_pylist() for column in found.extra] == [list(map(len, TOLD)), [0.3, 0.075, 0.66]]
    elif kind == "anomaly":
        assert found.values[:, 0].tolist() == [-75.0, -18.75, -165.0]
    else:
        assert found.values.tolist() == [[0.5, 0.3], [0.5, 0.075], [0.5, 0.66]]


def test_drum_models_without_rows_and_columns(tmp_path, drum):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "custom.py").write_text(RAW_HOOKS)
    address = f"127.0.0.1:{free_port()}"
    command = ["drum", "server", "--code-dir", str(folder), "--target-type", "unstructured", "--address", address]
    with drum.started(command, f"http://{address}/info/"):
        assert scorers.learn(ServerAddress(f"http://{address}", "", "", "drum"), None, ()).info.target_type is (
            TargetType.UNSTRUCTURED
        )


def test_mlflow_servers_of_texts_and_of_tables(tmp_path, mlflow, rows):
    for name, extra in (("text", ()), ("table", EXTRA)):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = ["mlflow", "models", "serve", "-m", str(mlflow.folder / name), "--env-manager", "local"]
        with mlflow.started([*command, "-h", "127.0.0.1", "-p", str(port), "-w", "1"], f"{url}/ping"):
            plan = ScoringPlan(TargetType.TEXT_GENERATION, "resultText", FEATURES, extra=extra)
            scored, _, _ = run(tmp_path, ServerAddress(url, "", "", "mlflow"), rows, plan=plan)
        if extra:
            told(scored)
        else:
            assert [row["resultText_PREDICTION"] for row in scored] == TOLD
