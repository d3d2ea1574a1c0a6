"""Custom models of the official client against a whole installation: from a folder of files to predictions."""

from __future__ import annotations

import io
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support import tiny

LABELS = {"positive_class_label": "yes", "negative_class_label": "no"}


@pytest.fixture
def model(dr):
    made = dr.CustomInferenceModel.create(
        "churn model", dr.TARGET_TYPE.BINARY, target_name=tiny.TARGET, description="who leaves", **LABELS
    )
    yield made
    for deployment in dr.Deployment.list(search="custom "):
        deployment.delete()
    made.delete()


@pytest.fixture
def folder(tmp_path):
    """A LightGBM model with the files that people keep beside one."""
    where = tmp_path / "model"
    where.mkdir()
    tiny.save(where / "model.txt")
    (where / "requirements.txt").write_text("lightgbm\n")
    (where / "README.md").write_text("# Churn\n")
    return where


def test_a_custom_model(dr, model):
    assert (model.target_type, model.target_name) == ("Binary", tiny.TARGET)
    assert (model.positive_class_label, model.negative_class_label) == ("yes", "no")
    assert model.latest_version is None
    assert model.deployments_count == 0
    model.update(name="renamed", prediction_threshold=0.25, language="Python")
    again = dr.CustomInferenceModel.get(model.id)
    assert (again.name, again.prediction_threshold, again.language) == ("renamed", 0.25, "Python")
    assert again.description == "who leaves"
    assert model.id in [each.id for each in dr.CustomInferenceModel.list(search_for="RENAM")]
    assert dr.CustomInferenceModel.list(search_for="nothing like it") == []
    assert model.id in [each.id for each in dr.CustomInferenceModel.list(is_deployed=False, order_by="-updated")]
    assert model.id not in [each.id for each in dr.CustomInferenceModel.list(is_deployed=True)]


def test_other_target_types(dr):
    several = dr.CustomInferenceModel.create(
        "pets", "Multiclass", target_name="pet", class_labels=["cat", "dog", "hen"]
    )
    assert several.class_labels == ["cat", "dog", "hen"]
    number = dr.CustomInferenceModel.create(
        "rent", "Regression", target_name="rent", maximum_memory=2 << 30, replicas=2
    )
    assert (number.maximum_memory, number.replicas) == (2 << 30, 2)
    for made in (several, number):
        made.delete()
        with pytest.raises(dr.errors.ClientError, match="no custom model"):
            dr.CustomInferenceModel.get(made.id)


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("take no tables", {"target_type": "Unstructured"}),
        ("together", {"target_type": "Binary", "target_name": "y", "positive_class_label": "a"}),
        ("no classes", {"target_type": "Regression", "target_name": "y", "class_labels": ["a", "b"]}),
        ("network", {"target_type": "Regression", "target_name": "y", "network_egress_policy": "NONE"}),
    ],
)
def test_what_cannot_be_is_told(dr, words, fields):
    with pytest.raises(dr.errors.ClientError, match=words) as refused:
        dr.CustomInferenceModel.create("odd", **fields)
    assert refused.value.status_code == 422


def test_the_environment(dr):
    environment = dr.ExecutionEnvironment.list()[0]
    assert "DRUM" in environment.description
    assert dr.ExecutionEnvironment.get(environment.id).latest_version.build_status == "success"
    version = dr.ExecutionEnvironmentVersion.list(environment.id)[0]
    assert dr.ExecutionEnvironmentVersion.get(environment.id, version.id).id == environment.latest_version.id
    assert dr.ExecutionEnvironment.list(search_for="no such thing") == []
    with pytest.raises(dr.errors.ClientError, match="SCORELINE_DRUM"):
        dr.ExecutionEnvironment.create("mine")


def test_versions_of_a_folder(dr, model, folder, tmp_path):
    environment = dr.ExecutionEnvironment.list()[0]
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "köln.json").write_text('{"a": 1}')
    first = dr.CustomModelVersion.create_clean(
        model.id, environment.id, folder_path=str(folder), maximum_memory=1 << 30
    )
    assert (first.version_major, first.version_minor, first.label) == (1, 0, "1.0")
    assert first.base_environment_id == environment.id
    assert first.maximum_memory == 1 << 30
    paths = {item.file_path: item for item in first.items}
    assert set(paths) == {"model.txt", "requirements.txt", "README.md", "deep/er/köln.json"}
    assert paths["deep/er/köln.json"].file_name == "köln.json"

    (tmp_path / "notes.txt").write_text("changed")
    second = dr.CustomModelVersion.create_from_previous(
        model.id,
        is_major_update=False,
        files=[(str(tmp_path / "notes.txt"), "README.md"), (str(tmp_path / "notes.txt"), "notes.txt")],
        files_to_delete=[paths["requirements.txt"].id],
    )
    assert second.label == "1.1"
    assert {item.file_path for item in second.items} == {"model.txt", "README.md", "deep/er/köln.json", "notes.txt"}
    assert next(item.id for item in second.items if item.file_path == "model.txt") == paths["model.txt"].id
    assert second.maximum_memory == 1 << 30  # as before
    assert [each.label for each in dr.CustomModelVersion.list(model.id)] == ["1.1", "1.0"]
    second.update(description="without requirements")
    second.refresh()
    assert dr.CustomModelVersion.get(model.id, second.id).description == "without requirements"

    first.download(str(tmp_path / "first.zip"))
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
    model.refresh()
    assert model.latest_version.id == second.id
    model.download_latest_version(str(tmp_path / "latest.zip"))
    with zipfile.ZipFile(tmp_path / "latest.zip") as archive:
        assert archive.read("README.md") == archive.read("notes.txt") == b"changed"

    third = dr.CustomModelVersion.create_clean(model.id, files=[str(folder / "model.txt")])
    assert (third.label, [item.file_path for item in third.items]) == ("2.0", ["model.txt"])
    copied = dr.CustomInferenceModel.copy_custom_model(model.id)
    assert copied.latest_version.label == "1.0"
    assert [item.file_path for item in copied.latest_version.items] == ["model.txt"]
    copied.delete()


def test_from_a_folder_to_predictions(dr, model, folder):
    """Registered twice: both are versions of one registered model; each deployment scores with what it was made of."""
    version = dr.CustomModelVersion.create_clean(model.id, folder_path=str(folder))
    assert not version.is_frozen
    registered = dr.RegisteredModelVersion.create_for_custom_model_version(
        version.id, description="first", registered_model_name="churn by files", tags=[{"name": "a", "value": "b"}]
    )
    assert registered.model_execution_type == "custom_inference_model"
    assert registered.source_meta["custom_model_details"]["id"] == model.id
    assert registered.target["class_names"] == ["no", "yes"]
    deployment = dr.Deployment.create_from_registered_model_version(registered.id, "custom one")
    source, positive = tiny.rows(50)
    frame = pd.read_csv(io.StringIO(source))
    scored = deployment.predict_batch(frame)
    assert scored[f"{tiny.TARGET}_yes_PREDICTION"].to_numpy() == pytest.approx(positive, abs=1e-12)

    again = dr.RegisteredModelVersion.create_for_custom_model_version(
        version.id, registered_model_id=registered.registered_model_id
    )
    assert again.registered_model_version == 2
    assert dr.CustomModelVersion.get(model.id, version.id).is_frozen
    assert dr.CustomInferenceModel.get(model.id).deployments_count == 1
    with pytest.raises(dr.errors.ClientError, match="is deployed") as refused:
        model.delete()
    assert refused.value.status_code == 409


def test_deployed_by_its_version_alone(dr, model, tmp_path):
    """A pickle runs code when it is loaded: the administrator, who asks here, has the right to that."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    fitted = LogisticRegression().fit(frame, np.where(frame.a + frame.b > 0, "yes", "no"))
    joblib.dump(fitted, tmp_path / "model.joblib")
    version = dr.CustomModelVersion.create_clean(model.id, files=[(str(tmp_path / "model.joblib"), "model.joblib")])
    first = dr.Deployment.create_from_custom_model_version(version.id, "custom two", importance="LOW")
    second = dr.Deployment.create_from_custom_model_version(version.id, "custom three")
    assert first.model_package["id"] == second.model_package["id"]
    scored = second.predict_batch(frame)
    positive = fitted.predict_proba(frame)[:, 1]
    assert scored[f"{tiny.TARGET}_yes_PREDICTION"].to_numpy() == pytest.approx(positive, abs=1e-12)


def test_what_other_tools_send_for_what_is_not_given(dr, model, folder):
    """Airflow's operator says nothing of the kind of update, which the client then sends as a word."""
    version = dr.CustomModelVersion.create_clean(model.id, folder_path=str(folder), is_major_update=None)
    again = dr.CustomModelVersion.create_from_previous(model.id, is_major_update=None, keep_training_holdout_data=False)
    assert (version.label, again.label) == ("1.0", "2.0")
    assert dr.CustomModelTest.list(model.id) == []
    with pytest.raises(dr.errors.ClientError, match="registering a version loads and tries it"):
        dr.CustomModelTest.create(model.id, version.id)


def test_what_is_no_model_is_told_when_it_is_registered(dr, model, tmp_path):
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(dr.errors.ClientError, match=r"'churn model' has no files: give `files`, or a `folder_path`"):
        dr.CustomModelVersion.create_clean(model.id, folder_path=str(tmp_path / "empty"))
    version = dr.CustomModelVersion.create_clean(model.id, files=[str(tmp_path / "notes.txt")])
    with pytest.raises(dr.errors.ClientError, match="'churn model' has no files"):
        dr.CustomModelVersion.create_from_previous(model.id, files_to_delete=[version.items[0].id])
    refused = (
        "Version 1.0 of custom model 'churn model' cannot be registered: the model 'notes.txt' cannot be used: its"
    )
    with pytest.raises(dr.errors.ClientError, match=refused):
        dr.RegisteredModelVersion.create_for_custom_model_version(version.id)
    (tmp_path / "custom.R").write_text("score <- function() 1")
    version = dr.CustomModelVersion.create_clean(model.id, files=[str(tmp_path / "custom.R")])
    with pytest.raises(dr.errors.ClientError, match=r"Version 2\.0 of .*custom model in R"):
        dr.RegisteredModelVersion.create_for_custom_model_version(version.id)
    (tmp_path / "model.txt").write_text("tree\nversion=v4\nand no more\n")
    version = dr.CustomModelVersion.create_clean(model.id, files=[str(tmp_path / "model.txt")])
    with pytest.raises(dr.errors.ClientError, match=r"Version 3\.0 of .*the model 'model.txt' cannot be used"):
        dr.RegisteredModelVersion.create_for_custom_model_version(version.id)


def test_without_an_environment_for_code_it_is_told_how_to_make_one(dr, model, tmp_path):
    (tmp_path / "custom.py").write_text("def score(data, model, **kwargs):\n    return data\n")
    version = dr.CustomModelVersion.create_clean(model.id, files=[str(tmp_path / "custom.py")])
    with pytest.raises(dr.errors.ClientError, match="SCORELINE_DRUM") as refused:
        dr.RegisteredModelVersion.create_for_custom_model_version(version.id)
    assert "pip install datarobot-drum" in str(refused.value)
