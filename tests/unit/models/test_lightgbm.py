"""LightGBM text files: the same numbers as LightGBM's own package gives for a DataFrame."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from scoreline import models
from scoreline.errors import ModelBroken
from scoreline.types import FeatureType, TargetType
from tests.unit.models.support import batch, kinds, table

QUIET = {"verbose": -1, "num_leaves": 7, "min_data_in_leaf": 5, "deterministic": True, "num_threads": 1}


def trained(frame, target, path, rounds=8, **params):
    booster = lgb.train({**QUIET, **params}, lgb.Dataset(frame, target), rounds)
    booster.save_model(path)
    return booster


def categorised():
    """A DataFrame with a pandas category column of every kind of value, two of them never split on."""
    frame, yes_no, three, score = table()
    rng = np.random.default_rng(5)
    data = pd.DataFrame(
        {
            "age": frame.age,
            "city": pd.Categorical(frame.city.where(rng.random(len(frame)) > 0.05)),
            "constant": pd.Categorical(["only"] * len(frame)),
            "rooms": pd.Categorical(frame.rooms),
            "member": pd.Categorical(frame.member),
            "rate": pd.Categorical(rng.choice([0.5, 1.5, np.nan], len(frame))),
            "noise": pd.Categorical(rng.choice(["p", "q"], len(frame))),
            "last": rng.normal(size=len(frame)),
        }
    )
    return data, yes_no == "yes", three, score


def test_binary_categories_give_the_packages_own_numbers(tmp_path):
    data, target, _three, _score = categorised()
    path = tmp_path / "model.txt"
    booster = trained(data, target, path, objective="binary")
    model = models.load(path, trusted=False)
    assert model.info.format == "lightgbm"
    assert model.info.target_type is TargetType.BINARY
    assert model.info.outputs == 2
    assert model.info.class_labels is None
    assert kinds(model.info) == {
        "age": "numeric",
        "city": "text",
        "constant": "text",
        "rooms": "numeric",
        "member": "boolean",
        "rate": "numeric",
        "noise": "text",
        "last": "numeric",
    }
    values = model.predict(batch(data, model.info))
    expected = booster.predict(data)
    np.testing.assert_array_equal(values[:, 1], expected)
    np.testing.assert_array_equal(values[:, 0], 1 - expected)


def test_unknown_category_is_missing(tmp_path):
    data, target, _three, _score = categorised()
    path = tmp_path / "model.txt"
    booster = trained(data, target, path, objective="binary")
    model = models.load(path, trusted=False)
    strange = data.head(3).copy()
    strange["city"] = pd.Categorical(["Atlantis", "Oslo", None])
    strange["rooms"] = pd.Categorical([99, 2, 3])
    np.testing.assert_array_equal(model.predict(batch(strange, model.info))[:, 1], booster.predict(strange))


@pytest.mark.parametrize(
    "objective", ["regression", "poisson", "tweedie", "gamma", "quantile", "regression_l1", "huber"]
)
def test_regression_objectives(tmp_path, objective):
    frame, _yes, _three, score = table()
    data = frame[["age", "rooms"]]
    booster = trained(data, np.abs(score) + 1, tmp_path / "model.txt", objective=objective)
    model = models.load(tmp_path / "model.txt", trusted=False)
    assert model.info.target_type is TargetType.REGRESSION
    assert model.info.outputs == 1
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 0], booster.predict(data))


@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_multiclass(tmp_path, objective):
    frame, _yes, three, _score = table()
    data = frame[["age", "rooms"]]
    codes = pd.Categorical(three).codes
    booster = trained(data, codes, tmp_path / "model.txt", objective=objective, num_class=3)
    model = models.load(tmp_path / "model.txt", trusted=False)
    assert (model.info.target_type, model.info.outputs) == (TargetType.MULTICLASS, 3)
    np.testing.assert_array_equal(model.predict(batch(data, model.info)), booster.predict(data))


@pytest.mark.parametrize("objective", ["lambdarank", "cross_entropy_lambda"])
def test_other_objectives_are_refused_in_words(tmp_path, objective):
    frame, yes_no, _three, _score = table()
    data = lgb.Dataset(frame[["age", "rooms"]], yes_no == "yes", group=[len(frame)])
    lgb.train({**QUIET, "objective": objective}, data, 2).save_model(tmp_path / "model.txt")
    with pytest.raises(ModelBroken, match=f"'model.txt'.*'{objective}'"):
        models.load(tmp_path / "model.txt", trusted=False)


def test_objective_of_ones_own_is_refused(tmp_path):
    frame, _yes, _three, score = table()
    params = {**QUIET, "objective": lambda preds, data: (preds - data.get_label(), np.ones_like(preds))}
    lgb.train(params, lgb.Dataset(frame[["age"]], score), 2).save_model(tmp_path / "model.txt")
    with pytest.raises(ModelBroken, match="an objective of its own"):
        models.load(tmp_path / "model.txt", trusted=False)


def test_array_without_names_and_integer_codes(tmp_path):
    frame, yes_no, _three, _score = table()
    matrix = frame[["age", "rooms"]].to_numpy()
    data = lgb.Dataset(matrix, yes_no == "yes", categorical_feature=[1])
    booster = lgb.train({**QUIET, "objective": "binary"}, data, 5)
    booster.save_model(tmp_path / "model.txt")
    model = models.load(tmp_path / "model.txt", trusted=False)
    assert kinds(model.info) == {"Column_0": "numeric", "Column_1": "numeric"}
    named = frame[["age", "rooms"]].set_axis(["Column_0", "Column_1"], axis=1)
    np.testing.assert_array_equal(model.predict(batch(named, model.info))[:, 1], booster.predict(matrix))


def test_ordered_categories_are_found_when_only_one_place_fits(tmp_path):
    frame, yes_no, _three, _score = table()
    sizes = pd.Categorical(np.where(frame.rooms > 3, "big", "small"), categories=["small", "big"], ordered=True)
    data = pd.DataFrame({"age": frame.age, "size": sizes, "city": pd.Categorical(frame.city)})
    booster = trained(data, yes_no == "yes", tmp_path / "model.txt", objective="binary")
    model = models.load(tmp_path / "model.txt", trusted=False)
    assert kinds(model.info) == {"age": "numeric", "size": "text", "city": "text"}
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 1], booster.predict(data))


def test_categories_that_fit_several_columns_are_refused_not_guessed(tmp_path):
    frame, yes_no, _three, _score = table()
    sizes = pd.Categorical(np.where(frame.rooms > 3, "big", "small"), categories=["small", "big"], ordered=True)
    data = pd.DataFrame({"age": frame.age, "member": frame.member, "size": sizes})
    trained(data, yes_no == "yes", tmp_path / "model.txt", objective="binary")
    with pytest.raises(ModelBroken, match=r"fit several columns.*signature"):
        models.load(tmp_path / "model.txt", trusted=False)


def test_registered_types_other_than_the_default(tmp_path):
    data, target, _three, _score = categorised()
    path = tmp_path / "model.txt"
    booster = trained(data, target, path, objective="binary")
    model = models.load(path, trusted=False)
    plain = batch(data, model.info)
    expected = booster.predict(data)

    def replaced(name, array):
        return plain.set_column(plain.schema.get_field_index(name), name, array)

    rooms = pa.array(data.rooms.astype(int))
    as_integers = replaced("rooms", rooms)
    as_text = replaced("rooms", rooms.cast(pa.string()))
    as_dictionary = replaced("city", plain.column("city").dictionary_encode())
    as_words = replaced("member", pa.array([str(value) for value in data.member]))
    for changed in (as_integers, as_text, as_dictionary, as_words):
        np.testing.assert_array_equal(model.predict(changed)[:, 1], expected)
    with pytest.raises(ModelBroken, match=r"'city'.*registered as int64"):
        model.predict(replaced("city", rooms))
    with pytest.raises(ModelBroken, match=r"'age'.*registered as text"):
        model.predict(replaced("age", plain.column("city")))


def test_columns_are_taken_by_name(tmp_path):
    frame, _yes, _three, score = table()
    booster = trained(frame[["age", "rooms"]], score, tmp_path / "model.txt", objective="regression")
    model = models.load(tmp_path / "model.txt", trusted=False)
    given = batch(frame, model.info)
    turned = given.select(["rooms", "age"])
    np.testing.assert_array_equal(model.predict(turned)[:, 0], booster.predict(frame[["age", "rooms"]]))
    with pytest.raises(ModelBroken, match="needs the columns 'rooms'"):
        model.predict(given.select(["age"]))


def test_slices_and_nulls_of_every_number_type(tmp_path):
    """Batches are often slices of larger ones, whose buffers begin elsewhere."""
    frame, _yes, _three, score = table()
    data = frame[["age", "rooms"]].assign(member=frame.member)
    booster = trained(data, score, tmp_path / "model.txt", objective="regression")
    model = models.load(tmp_path / "model.txt", trusted=False)
    columns = [
        pa.array(data.age, pa.float64(), from_pandas=True),
        pa.array([None if i % 7 == 0 else int(v) for i, v in enumerate(data.rooms)], pa.int32()),
        pa.array([None if i % 5 == 0 else bool(v) for i, v in enumerate(data.member)], pa.bool_()),
    ]
    whole = pa.RecordBatch.from_arrays(columns, list(data.columns))
    gaps = data.astype({"rooms": float, "member": float})
    gaps.loc[::7, "rooms"] = np.nan
    gaps.loc[::5, "member"] = np.nan
    for start, length in ((0, 240), (13, 50), (64, 1), (239, 1)):
        part = gaps.iloc[start : start + length]
        np.testing.assert_array_equal(model.predict(whole.slice(start, length))[:, 0], booster.predict(part))


def test_many_threads_at_once(tmp_path):
    data, target, _three, _score = categorised()
    booster = trained(data, target, tmp_path / "model.txt", objective="binary", rounds=40)
    model = models.load(tmp_path / "model.txt", trusted=False, threads=2)
    whole = batch(data, model.info)
    expected = booster.predict(data)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: model.predict(whole.slice(i % 200, 40)), range(60)))
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer[:, 1], expected[i % 200 : i % 200 + 40])


def test_truncated_files_never_load(tmp_path):
    data, target, _three, _score = categorised()
    trained(data, target, tmp_path / "model.txt", objective="binary")
    text = (tmp_path / "model.txt").read_text()
    damaged = tmp_path / "cut.txt"
    for size in [
        *range(14, text.index("end of trees"), 397),
        text.index("\nend of parameters"),
        text.rindex("pandas_cat") + 40,
    ]:
        damaged.write_text(text[:size])
        with pytest.raises(ModelBroken, match=r"'cut.txt'"):
            models.load(damaged, trusted=False)


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        (b"\nTree=4\n", b"\nT8ee=4\n", "trees or features are missing"),
        (b"\nthreshold=", b"\nthresh0ld=", "should contain threshold field"),
        (b"\nleaf_value=0", b"\nleaf_value=\x14", "no conversion to double"),
        (b"\nmax_feature_idx=1\n", b"\nmax_feature_idx=7\n", "cannot be used"),
    ],
)
def test_damaged_trees_are_reported_and_end_no_process(tmp_path, good, bad, words):
    frame, _yes, _three, score = table()
    trained(frame[["age", "rooms"]], score, tmp_path / "model.txt", objective="regression")
    whole = (tmp_path / "model.txt").read_bytes()
    assert good in whole
    (tmp_path / "model.txt").write_bytes(whole.replace(good, bad, 1))
    with pytest.raises(ModelBroken, match=words):
        models.load(tmp_path / "model.txt", trusted=False)


def test_nonsense_after_the_first_lines(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("tree\nversion=v4\nnonsense\n\nend of trees\n")
    with pytest.raises(ModelBroken, match=r"'model.txt' cannot be used"):
        models.load(path, trusted=False)


def test_large_whole_categories_keep_their_digits(tmp_path):
    ids = [2**60 + 1, 2**60 + 2]
    frame, _yes, _three, score = table()
    data = pd.DataFrame({"age": frame.age, "id": pd.Categorical(np.where(score > 0, ids[0], ids[1]))})
    booster = trained(data, score, tmp_path / "model.txt", objective="regression")
    model = models.load(tmp_path / "model.txt", trusted=False)
    assert model.info.features[1].type is FeatureType.INTEGER
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 0], booster.predict(data))


def test_no_heavy_library_is_imported(tmp_path):
    """Importing LightGBM's package, pandas or scikit-learn would cost each model process seconds and 140 MB."""
    data, target, _three, _score = categorised()
    trained(data, target, tmp_path / "model.txt", objective="binary")
    code = (
        "import sys; from pathlib import Path; from scoreline import models\n"
        "model = models.load(Path(sys.argv[1]), trusted=False)\n"
        "model.predict(models.sample_batch(model.info))\n"
        "print([name for name in ('lightgbm', 'pandas', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.txt"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
