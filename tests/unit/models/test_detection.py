"""Formats are told by content; names only help where content says nothing. Nothing heavy is imported for it."""

import bz2
import gzip
import json
import lzma
import pickle
import subprocess
import sys
import zipfile
import zlib

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, TweedieRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from scoreline.errors import ModelBroken
from scoreline.models import Detected, detect
from scoreline.models.detection import TRUSTED_TYPES

LIGHTGBM = b"tree\nversion=v4\nnum_class=1\n"
UBJ = b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\nattributes{}"
ONNX = bytes([0x08, 10, 0x12, 2]) + b"me" + bytes([0x3A, 2, 0x12, 0])  # ir_version 10, producer "me", graph {name: ""}
PICKLE = pickle.dumps({"a": 1})


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("model.txt", LIGHTGBM, Detected("lightgbm", runs_code=False)),
        ("model.pkl", LIGHTGBM, Detected("lightgbm", runs_code=False)),
        ("model.json", b'{"learner":{"attributes":{}}}', Detected("xgboost", runs_code=False)),
        ("model", b' {\n "learner": {}}', Detected("xgboost", runs_code=False)),
        ("model.json", b'{"version":[3,2,0],"learner":{}}', Detected("xgboost", runs_code=False)),
        ("model.onnx", UBJ, Detected("xgboost", runs_code=False)),
        ("model.bin", b"CBM1\0\0\0\0rest", Detected("catboost", runs_code=False)),
        ("model.onnx", ONNX, Detected("onnx", runs_code=False)),
        ("model.txt", ONNX, Detected("onnx", runs_code=False)),
        ("model.txt", PICKLE, Detected("sklearn", runs_code=True)),
        ("model.skops", PICKLE, Detected("sklearn", runs_code=True)),
        ("model.onnx", PICKLE, Detected("sklearn", runs_code=True)),
        ("model.pkl", pickle.dumps({"a": 1}, protocol=0), Detected("sklearn", runs_code=True)),
        ("model.bin", gzip.compress(PICKLE, mtime=0), Detected("sklearn", runs_code=True)),
        ("model.bin", bz2.compress(PICKLE), Detected("sklearn", runs_code=True)),
        ("model.bin", lzma.compress(PICKLE), Detected("sklearn", runs_code=True)),
        ("model.bin", zlib.compress(PICKLE), Detected("sklearn", runs_code=True)),
    ],
)
def test_content_decides(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert detect(tmp_path / name) == expected
    assert detect(tmp_path) == expected  # the only file in a folder


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_every_way_of_joblib(tmp_path, compress):
    joblib.dump({"a": np.zeros(1000)}, tmp_path / "model.joblib", compress=compress)
    assert detect(tmp_path / "model.joblib") == Detected("sklearn", runs_code=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"some text"),
        ("table.csv", b"a,b\n1,2\n"),
        ("any.json", b'{"a": 1}'),
        ("page.html", b"<html>"),
        ("noise", bytes(range(256))),
        ("model.pt", b"PK\x03\x04 no real zip"),
        ("x.txt", b"xylophone"),
        ("protobuf", bytes([0x08, 10, 0x12, 2]) + b"me"),
    ],
)
def test_anything_else_is_refused_with_the_formats_known(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelBroken, match=rf"'{name}' cannot be used: its format is not known.*LightGBM.*ONNX.*MLflow"):
        detect(tmp_path / name)


def test_other_zip_files_are_not_skops(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
    with pytest.raises(ModelBroken, match="not known"):
        detect(tmp_path / "model.pt")


def test_empty_and_missing(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ModelBroken, match="is empty"):
        detect(tmp_path / "empty.txt")
    with pytest.raises(ModelBroken, match="no such file"):
        detect(tmp_path / "nothing")


def folder(path, **files):
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("_", ".")).write_bytes(content)
    return path


def test_what_lies_beside_a_model_does_not_count(tmp_path):
    files = {"notes_txt": b"some text", "sample_csv": b"a,b\n1,2\n", "empty_txt": b"", "_DS_Store": b"x"}
    assert detect(folder(tmp_path / "m", **files, one_txt=LIGHTGBM)).format == "lightgbm"
    assert detect(folder(tmp_path / "n", **files, one_bin=b"CBM1\0\0\0\0rest")).format == "catboost"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "'m' cannot be used: the folder is empty: give a folder with one model, which may be a LightGBM"),
        ({"README_md": b"# Hi"}, "'m' cannot be used: the folder holds no model, only 'README.md': give"),
        ({"a_txt": b"x", "b_csv": b"y"}, "none of the folder's 2 files is a model ('a.txt', 'b.csv'): give"),
        ({"a_txt": b"some text"}, "The model 'a.txt' cannot be used: its format is not known"),
        ({"a_txt": b" ", "README_md": b"x"}, "The model 'a.txt' cannot be used: the file is empty"),
        (
            {"a_txt": LIGHTGBM, "b_txt": LIGHTGBM, "c_txt": b"x"},
            "2 files of the folder could be the model ('a.txt', 'b.txt'): keep the one to use",
        ),
        ({"a_onnx": ONNX, "b_pkl": PICKLE}, "2 files of the folder could be the model ('a.onnx', 'b.pkl')"),
        ({"a_h5": b"x", "b_txt": LIGHTGBM}, "2 files of the folder could be the model ('b.txt', 'a.h5')"),
        ({f"{n}_txt": LIGHTGBM for n in "abcdefgh"}, "'d.txt', 'e.txt' and 3 more)"),
        ({"a_txt": b"x", "b_model": b"binf, old"}, "'b.model' cannot be used: it is in XGBoost's old binary format"),
    ],
)
def test_folders_without_one_model_are_refused_by_what_they_hold(tmp_path, files, words):
    with pytest.raises(ModelBroken) as refused:
        detect(folder(tmp_path / "m", **files))
    assert words in refused.value.message


def test_a_folder_in_a_folder_is_told(tmp_path):
    (tmp_path / "m" / "inner").mkdir(parents=True)
    with pytest.raises(ModelBroken, match="holds no model, only 'inner/'"):
        detect(tmp_path / "m")


def test_onnx_with_its_weights_in_other_files(tmp_path):
    (tmp_path / "model.onnx").write_bytes(ONNX)
    (tmp_path / "model.onnx.data").write_bytes(b"weights")
    (tmp_path / "layer.0.weight").write_bytes(b"weights")
    assert detect(tmp_path) == Detected("onnx", runs_code=False)


def fitted(estimator):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(40, 2))
    return estimator.fit(numbers, rng.integers(0, 2, 40))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), OneHotEncoder(handle_unknown="ignore"), LinearRegression()),
        make_pipeline(FunctionTransformer(np.abs), LinearRegression()),
        make_pipeline(FunctionTransformer(json.dumps, validate=False), LinearRegression()),
        make_pipeline(SelectKBest(k=1), LinearRegression()),
        RandomForestClassifier(2),
        HistGradientBoostingRegressor(max_iter=2),
        GaussianProcessRegressor(),
        KNeighborsClassifier(3, algorithm="kd_tree"),
        MLPClassifier((2,), max_iter=1),
        TweedieRegressor(power=1.5),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_skops_files_need_trust_as_skops_itself_says(tmp_path, estimator):
    if "functiontransformer" in str(estimator.get_params()) and estimator[0].func is json.dumps:
        model = estimator
    else:
        model = fitted(estimator)
    skops.io.dump(model, tmp_path / "model.skops")
    unknown = set(skops.io.get_untrusted_types(file=tmp_path / "model.skops")) - set(TRUSTED_TYPES)
    assert detect(tmp_path / "model.skops") == Detected("sklearn", runs_code=bool(unknown))


@pytest.mark.parametrize("schema", [b"{", b"[" * 100_000, b'{"__class__": 1, "__loader__": 2}'])
def test_damaged_skops_files(tmp_path, schema):
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", schema)
    with pytest.raises(ModelBroken, match=r"'model.skops' cannot be used: the file is damaged"):
        detect(tmp_path / "model.skops")


def test_truncated_skops_file(tmp_path):
    skops.io.dump(fitted(LogisticRegression()), tmp_path / "model.skops")
    whole = (tmp_path / "model.skops").read_bytes()
    (tmp_path / "model.skops").write_bytes(whole[:-30])
    with pytest.raises(ModelBroken, match="damaged"):
        detect(tmp_path / "model.skops")


def test_nothing_heavy_is_imported(tmp_path):
    skops.io.dump(fitted(LogisticRegression()), tmp_path / "model.skops")
    (tmp_path / "model.txt").write_bytes(LIGHTGBM)
    (tmp_path / "model.pkl").write_bytes(PICKLE)
    (tmp_path / "model.onnx").write_bytes(ONNX)
    heavy = "('pandas', 'sklearn', 'skops', 'joblib', 'lightgbm', 'xgboost', 'catboost', 'onnxruntime', 'mlflow')"
    code = (
        "import sys; from pathlib import Path; from scoreline import models\n"
        "for path in Path(sys.argv[1]).iterdir(): models.detect(path)\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
