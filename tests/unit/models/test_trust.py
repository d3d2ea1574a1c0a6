"""What runs code when it is loaded is not loaded without trust, under whatever name it comes."""

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from scoreline import models
from scoreline.errors import ModelBroken


class Bomb:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "code-ran"


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.skops", "model.onnx", "model.txt", "model.cbm"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pickles_do_not_run_without_trust(tmp_path, mark, name, pack):
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / name).write_bytes(pack(pickle.dumps(Bomb(mark))))
    assert models.detect(folder).runs_code
    with pytest.raises(ModelBroken, match=r"runs code when it is loaded.*`--trust`"):
        models.load(folder, trusted=False)
    assert not mark.exists()
    with pytest.raises(ModelBroken, match="holds an object of the type 'NoneType'"):
        models.load(folder, trusted=True)
    assert mark.exists()


def test_mlflow_folders_do_not_run_without_trust(tmp_path, mark):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    serialization_format: skops\n"
        "  python_function:\n    loader_module: mlflow.sklearn\n"
    )
    assert models.detect(tmp_path) == models.Detected("mlflow", runs_code=True)
    with pytest.raises(ModelBroken, match="`--trust`"):
        models.load(tmp_path, trusted=False)
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n    python_model: model.pkl\n"
    )
    assert models.detect(tmp_path).runs_code
    with pytest.raises(ModelBroken, match="`--trust`"):
        models.load(tmp_path, trusted=False)
    assert not mark.exists()


def test_yaml_in_a_model_folder_makes_no_objects(tmp_path, mark):
    (tmp_path / "MLmodel").write_text(f"flavors: !!python/object/apply:pathlib.Path.touch ['{mark}']\n")
    with pytest.raises(ModelBroken, match="'MLmodel' cannot be read"):
        models.detect(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("target", ["../outside.txt", "/etc/hostname", "..", "inner/../../outside.txt"])
def test_model_folders_name_only_their_own_files(tmp_path, target):
    (tmp_path / "outside.txt").write_text("tree\nversion=v4\n")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(f"flavors:\n  lightgbm:\n    data: {target}\n")
    with pytest.raises(ModelBroken, match="outside the folder"):
        models.detect(folder)


def test_skops_types_that_skops_does_not_know(tmp_path):
    skops.io.dump(make_pipeline(FunctionTransformer(print), LinearRegression()), tmp_path / "model.skops")
    assert models.detect(tmp_path / "model.skops").runs_code
    with pytest.raises(ModelBroken, match="`--trust`"):
        models.load(tmp_path / "model.skops", trusted=False)


def test_skops_type_that_the_quick_look_takes_for_an_estimator(tmp_path):
    """The quick look is no guard: when the file is loaded, skops itself checks every type."""
    schema = {"__class__": "Surprise", "__module__": "sklearn.base", "__loader__": "ObjectNode", "protocol": 2}
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    assert not models.detect(tmp_path / "model.skops").runs_code
    with pytest.raises(ModelBroken, match=r"does not know to be harmless \(sklearn.base.Surprise\).*`--trust`"):
        models.load(tmp_path / "model.skops", trusted=False)


def test_pickle_whose_code_is_not_installed(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04cno_such_module\nThing\n.")
    with pytest.raises(ModelBroken, match="needs the Python module 'no_such_module', which is not installed"):
        models.load(tmp_path / "model.pkl", trusted=True)


def test_truncated_pickle(tmp_path):
    whole = pickle.dumps(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]))
    (tmp_path / "model.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelBroken, match=r"'model.pkl' cannot be used: joblib cannot read it"):
        models.load(tmp_path / "model.pkl", trusted=True)
