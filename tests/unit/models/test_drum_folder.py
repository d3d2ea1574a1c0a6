"""What tells a custom model's folder, and what it says; DRUM itself is not needed for this."""

from __future__ import annotations

import json

import pytest

from scoreline.errors import ModelBroken, SetupError
from scoreline.models import Detected, detect, drum, drum_folder, load
from scoreline.types import Feature, FeatureType, TargetType

LIGHTGBM = b"tree\nversion=v4\nnum_class=1\n"
BINARY = {"name": "churn", "type": "binary", "classNames": ["no", "yes"]}


def describe(folder, **said):
    (folder / "scoreline.json").write_text(json.dumps(said))


@pytest.mark.parametrize("name", ["custom.py", "deep/custom.py", "helpers.py", "model.h5", "weights.pth"])
def test_code_and_what_only_drum_loads(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    assert detect(tmp_path) == Detected("drum", runs_code=True)


def test_a_lone_model_with_its_papers_is_scored_directly(tmp_path):
    (tmp_path / "model.txt").write_bytes(LIGHTGBM)
    for name in ("model-metadata.yaml", "requirements.txt", "README.md", ".git.py", "scoreline.json"):
        (tmp_path / name).write_text("a: b")
    assert detect(tmp_path) == Detected("lightgbm", runs_code=False)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.py").touch()
    assert detect(tmp_path).format == "lightgbm"


def test_code_in_a_folder_of_mlflow_is_mlflows(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: a\n")
    (tmp_path / "code.py").touch()
    assert detect(tmp_path) == Detected("mlflow", runs_code=True)


@pytest.mark.parametrize(("name", "language"), [("custom.R", "R"), ("model.rds", "R"), ("model.jar", "Java")])
def test_other_languages_are_told(tmp_path, name, language):
    (tmp_path / name).touch()
    with pytest.raises(ModelBroken, match=f"custom model in {language}.*drum server"):
        detect(tmp_path)


def test_the_description(tmp_path):
    (tmp_path / "custom.py").touch()
    features = [{"name": "age", "type": "numeric"}, {"name": "n", "type": "integer", "nullable": False}]
    describe(tmp_path, target=BINARY, positiveClass="no", features=features)
    said = drum_folder.read(tmp_path)
    assert (said.target_type, said.target_name) == (TargetType.BINARY, "churn")
    assert said.class_labels == ("yes", "no")  # the positive class is the last
    assert said.features == (Feature("age", FeatureType.NUMERIC), Feature("n", FeatureType.INTEGER, nullable=False))


def test_drums_own_file_and_the_description_over_it(tmp_path):
    (tmp_path / "custom.py").touch()
    (tmp_path / "model-metadata.yaml").write_text(
        "targetType: binary\ninferenceModel:\n  targetName: left\n  positiveClassLabel: yes\n  negativeClassLabel: 0\n"
        "runtimeParameterDefinitions:\n"
        "- {fieldName: A, type: numeric, defaultValue: 1.5}\n- {fieldName: B, type: boolean, defaultValue: true}\n"
        "- {fieldName: C, type: string, defaultValue: 007}\n- {fieldName: D, type: credential}\n"
    )
    said = drum_folder.read(tmp_path)
    assert said.class_labels == ("0", "yes")  # words stay words
    assert {name: json.loads(value)["payload"] for name, value in said.environment.items()} == {
        "MLOPS_RUNTIME_PARAM_A": 1.5,
        "MLOPS_RUNTIME_PARAM_B": True,
        "MLOPS_RUNTIME_PARAM_C": "007",
    }
    describe(tmp_path, target={"name": "gone"}, runtimeParameters={"A": 2})
    said = drum_folder.read(tmp_path)
    assert said.target_name == "gone"
    assert json.loads(said.environment["MLOPS_RUNTIME_PARAM_A"]) == {"type": "numeric", "payload": 2}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "does not say what it predicts"),
        ({"target": {"type": "Binary"}}, "does not name its classes"),
        ({"target": {"type": "Multiclass", "classNames": ["a", "a"]}}, "cannot be right"),
        ({"target": {"type": "Binary", "classNames": ["a", "b", "c"]}}, "cannot be right"),
        ({"target": {"type": "Magic"}}, "not one of"),
        ({"target": {"type": "Unstructured"}}, "take no tables"),
        ({"target": {"type": "Regression"}, "features": {"a": "word"}}, "`features`"),
        ({"target": {"type": "Regression"}, "features": 3}, "`features`"),
    ],
)
def test_what_does_not_say_enough_is_refused(tmp_path, said, words):
    (tmp_path / "custom.py").touch()
    describe(tmp_path, **said)
    with pytest.raises(ModelBroken, match=words):
        drum_folder.read(tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "custom.py").touch()
    (tmp_path / "scoreline.json").write_text("{")
    with pytest.raises(ModelBroken, match=r"scoreline\.json"):
        drum_folder.read(tmp_path)
    describe(tmp_path, target=BINARY)
    (tmp_path / "model-metadata.yaml").write_text("a: [")
    with pytest.raises(ModelBroken, match="model-metadata"):
        drum_folder.read(tmp_path)
    (tmp_path / "model-metadata.yaml").unlink()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "custom.py").touch()
    with pytest.raises(ModelBroken, match="several files"):
        drum_folder.read(tmp_path)


def test_a_missing_environment_is_told(tmp_path, monkeypatch):
    (tmp_path / "custom.py").touch()
    describe(tmp_path, target=BINARY)
    monkeypatch.delenv(drum.SETTING, raising=False)
    with pytest.raises(SetupError, match=r"pip install datarobot-drum.*SCORELINE_DRUM="):
        load(tmp_path, trusted=True)
    monkeypatch.setenv(drum.SETTING, str(tmp_path / "nothing"))
    with pytest.raises(SetupError, match="no Python environment"):
        load(tmp_path, trusted=True)
