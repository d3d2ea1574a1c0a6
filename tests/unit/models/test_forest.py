"""LightGBM's trees as tables, and the compiled kernel: the bits of LightGBM's library, whatever the trees and rows."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.models import forest_kernel, lightgbm_trees
from scoreline.models.forest import NoForest
from scoreline.models.forest_kernel import Kernel
from scoreline.models.lightgbm_native import Booster

FEATURES = 4
TINY = float(np.float32(1e-35))
QUIET = {"verbose": -1, "min_data_in_leaf": 2, "num_threads": 1, "deterministic": True, "seed": 3}

# What may stand in a cell: around every bound that a split knows.
CELLS = [
    *(np.nan, 0.0, -0.0, TINY, -TINY, np.nextafter(TINY, 1), -np.nextafter(TINY, 1), 1e-40, 5e-324, np.inf, -np.inf),
    *(0.5, -0.5, 1.0, 1.9, 2.0, -1.0, 31.0, 32.0, 33.0, 63.0, 63.9, 64.0, 65.0, 95.0, 96.0, 97.0, 127.0, 128.0),
    *(1e300, -1e300, 2.0**31 - 1, 2.0**31, 2.0**32, 2.0**32 + 2, 2.0**53, 1.7e308, -(2.0**31), -3e9),
]


def same_bits(left, right):
    return left.shape == right.shape and np.array_equal(left.view(np.uint64), right.view(np.uint64))


def check(text, columns):
    """The kernel's values and the library's, for float64 [features, rows]."""
    columns = np.ascontiguousarray(columns)
    values = Kernel(lightgbm_trees.read(text)).predict(columns)
    assert same_bits(values, Booster(text.encode()).predict(columns, 1))
    return values


@st.composite
def trees(draw):
    """One tree's block in a model file: any shape, any decision type, any set of categories."""
    leaves = draw(st.integers(1, 80))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    left, right, hanging = [], [], []
    for split in range(leaves - 1):
        if hanging:
            place, side = hanging.pop(random.integers(len(hanging)))
            side[place] = split
        left.append(None)
        right.append(None)
        hanging += [(split, left), (split, right)]
    for leaf, (place, side) in zip(random.permutation(leaves), hanging, strict=False):
        side[place] = ~leaf
    decision = random.integers(0, 12, leaves - 1)
    categorical = decision % 2 == 1
    threshold = random.choice([value for value in CELLS if not np.isnan(value)], leaves - 1)
    threshold[categorical] = np.arange(categorical.sum())
    sets = [random.integers(0, 2**32, size) for size in random.choice([1, 2, 3, 5], categorical.sum())]
    values = random.normal(size=leaves) * 10.0 ** random.integers(-3, 2, leaves)
    lines = {
        "num_leaves": [leaves],
        "num_cat": [len(sets)],
        "split_feature": random.integers(0, FEATURES, leaves - 1),
        "split_gain": np.ones(leaves - 1, int),
        "threshold": [repr(float(value)) for value in threshold],
        "decision_type": decision,
        "left_child": left,
        "right_child": right,
        "leaf_value": [repr(float(value)) for value in values],
        **({"cat_boundaries": np.cumsum([0, *map(len, sets)]), "cat_threshold": np.concatenate(sets)} if sets else {}),
        "is_linear": [0],
        "shrinkage": [1],
    }
    return "".join(f"{key}={' '.join(map(str, items))}\n" for key, items in lines.items())


def model_text(blocks, objective="regression", per_iteration=1, extra=""):
    names = " ".join(f"f{i}" for i in range(FEATURES))
    head = (
        f"tree\nversion=v4\nnum_class={per_iteration}\nnum_tree_per_iteration={per_iteration}\nlabel_index=0\n"
        f"max_feature_idx={FEATURES - 1}\nobjective={objective}\n{extra}feature_names={names}\n"
        f"feature_infos={' '.join(['none'] * FEATURES)}\n\n"
    )
    trees = "".join(f"Tree={i}\n{block}\n\n" for i, block in enumerate(blocks))
    return f"{head}{trees}end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n"


@settings(max_examples=150, deadline=None)
@given(st.lists(trees(), min_size=1, max_size=6), st.integers(1, 200), st.integers(0, 2**32))
def test_any_trees_and_any_rows(blocks, rows, seed):
    random = np.random.default_rng(seed)
    columns = random.choice(CELLS, (FEATURES, rows))
    columns = np.where(random.random(columns.shape) < 0.3, random.integers(-3, 170, columns.shape), columns)
    check(model_text(blocks), columns)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(trees(), min_size=6, max_size=6),
    st.sampled_from(
        ["multiclass num_class:3", "multiclassova num_class:3 sigmoid:0.7", "binary sigmoid:2.5", "poisson"]
    ),
    st.booleans(),
)
def test_any_outputs(blocks, objective, averaged):
    columns = np.random.default_rng(len(objective)).normal(size=(FEATURES, 130)) * 30
    per_iteration = 3 if "num_class" in objective else 1
    check(model_text(blocks, objective, per_iteration, "average_output\n" if averaged else ""), columns)


def table(rows=900, seed=0):
    """Numbers with gaps and zeros, few and many categories; a number to predict."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, 6))
    matrix[:, 1] = random.poisson(0.7, rows)
    matrix[:, 2] = np.where(random.random(rows) < 0.6, 0, matrix[:, 2])
    matrix[:, 4] = random.integers(0, 6, rows)
    matrix[:, 5] = random.integers(0, 300, rows)
    target = matrix[:, 0] + matrix[:, 1] * np.sin(matrix[:, 4]) + np.cos(matrix[:, 5]) + random.normal(0, 0.2, rows)
    matrix[random.random(matrix.shape) < 0.07] = np.nan
    return matrix, target


def trained(target, rounds=12, matrix=None, **params):
    matrix = table()[0] if matrix is None else matrix
    data = lgb.Dataset(matrix, target, categorical_feature=[4, 5])
    return lgb.train({**QUIET, **params}, data, rounds)


def check_booster(booster, matrix=None):
    matrix = table(1000, seed=1)[0] if matrix is None else matrix
    strange = np.random.default_rng(2).choice(CELLS, (300, matrix.shape[1]))
    matrix = np.concatenate([matrix, strange, table(50)[0]])
    values = check(booster.model_to_string(), matrix.T)
    expected = booster.predict(matrix)
    assert same_bits(values, np.ascontiguousarray(expected.reshape(len(matrix), -1)))
    assert len(np.unique(values)) > 5


@pytest.mark.parametrize("leaves", [2, 31, 32, 33, 64, 200])
def test_sizes_of_trees(leaves):
    check_booster(trained(table()[1], num_leaves=leaves, objective="regression"))


@pytest.mark.parametrize(
    "params",
    [
        *({"objective": name} for name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape")),
        *(
            {"objective": name, "reg_sqrt": True}
            for name in ("regression", "regression_l1", "fair", "quantile", "huber")
        ),
        *({"objective": name} for name in ("poisson", "gamma", "tweedie")),
    ],
    ids=lambda params: "-".join(map(str, params.values())),
)
def test_regression_objectives(params):
    target = table()[1]
    positive = params["objective"] in ("poisson", "gamma", "tweedie")
    check_booster(trained(np.abs(target) + 0.1 if positive else target, **params))


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "binary"},
        {"objective": "binary", "sigmoid": 0.37},
        {"objective": "cross_entropy"},
        {"objective": "binary", "zero_as_missing": True},
        {"objective": "binary", "use_missing": False},
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"objective": "binary", "boosting": "dart"},
        {"objective": "binary", "data_sample_strategy": "goss"},
        {"objective": "binary", "max_cat_to_onehot": 100},
        {"objective": "binary", "cat_smooth": 1, "cat_l2": 0, "max_cat_threshold": 200, "min_data_per_group": 1},
    ],
    ids=lambda params: "-".join(f"{key}={value}" for key, value in params.items()),
)
def test_two_classes(params):
    check_booster(trained(table()[1] > 0.5, **params))


@pytest.mark.parametrize(
    "params",
    [{}, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}],
    ids=["boosted", "averaged"],
)
@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_many_classes(objective, params):
    target = np.digitize(table()[1], [-0.5, 0.5, 1.5])
    check_booster(trained(target, objective=objective, num_class=4, **params))


@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
def test_model_that_ends_at_its_best_iteration(boosting):
    """An averaged forest is divided by the iterations in the file, not by those of its training."""
    averaged = {"boosting": boosting, "bagging_freq": 1, "bagging_fraction": 0.6} if boosting == "rf" else {}
    booster = trained(table()[1] > 0.5, objective="binary", **averaged)
    matrix = table()[0]
    values = check(booster.model_to_string(num_iteration=5), matrix.T)
    assert same_bits(values[:, 0], booster.predict(matrix, num_iteration=5))
    assert not same_bits(values[:, 0], booster.predict(matrix))


def test_trees_without_splits():
    random = np.random.default_rng(0)
    booster = trained(random.normal(size=900), objective="regression", min_data_in_leaf=800)
    matrix = table()[0]
    values = check(booster.model_to_string(), matrix.T)
    assert same_bits(values[:, 0], booster.predict(matrix))


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 128, 1000])
def test_blocks_that_are_not_full(rows):
    """The kernel takes 64 rows at a time; what lies behind the last one is neither read nor written."""
    booster = trained(table()[1], objective="regression")
    columns = np.ascontiguousarray(table(rows, seed=4)[0].T)
    check(booster.model_to_string(), columns)


def test_what_tables_cannot_express():
    linear = trained(table()[1], objective="regression", linear_tree=True, num_leaves=4).model_to_string()
    with pytest.raises(NoForest, match="linear"):
        lightgbm_trees.read(linear)
    plain = trained(table()[1], objective="regression", num_leaves=5).model_to_string()
    for old, new, words in (
        ("objective=regression", "objective=lambdarank", "lambdarank"),
        ("\nleft_child=", "\nleft_child=0 ", "not complete"),
        ("\nnum_leaves=5", "\nnum_leaves=9000", "9000 leaves"),
        ("\nright_child=", "\nnothing=", "not complete"),
    ):
        assert old in plain
        with pytest.raises(NoForest, match=words):
            lightgbm_trees.read(plain.replace(old, new))


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        ("1 -1", "-3 0", "hangs on"),
        ("-1 -2", "-3 -3", "hangs on"),
        ("1 -1", "-2 -2", "two splits"),
        ("1 -1", "-2 -9", "beyond"),
        ("5 -1", "-2 -3", "beyond"),
    ],
)
def test_splits_that_are_no_tree(left, right, words):
    block = (
        f"num_leaves=3\nnum_cat=0\nsplit_feature=0 1\nthreshold=0 1\ndecision_type=2 2\nleft_child={left}\n"
        f"right_child={right}\nleaf_value=1 2 3\n"
    )
    with pytest.raises(NoForest, match=words):
        lightgbm_trees.read(model_text([block]))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("split_feature=0", f"split_feature={FEATURES}", "features that it has not"),
        ("split_feature=0", "split_feature=-1", "features that it has not"),
        ("threshold=0", "threshold=1", "sets that it has not"),
        ("threshold=0", "threshold=-1", "sets that it has not"),
        ("threshold=0", "threshold=1e300", "sets that it has not"),
        ("cat_boundaries=0 3", "cat_boundaries=0 9", "damaged"),
        ("cat_boundaries=0 3", "cat_boundaries=-3 0", "damaged"),
        ("cat_boundaries=0 3", "cat_boundaries=3 0", "damaged"),
    ],
)
def test_tables_never_point_beyond_their_memory(old, new, words):
    """A model file comes from anywhere, and the kernel checks nothing."""
    block = (
        "num_leaves=2\nnum_cat=1\nsplit_feature=0\nthreshold=0\ndecision_type=1\nleft_child=-1\nright_child=-2\n"
        "leaf_value=1 2\ncat_boundaries=0 3\ncat_threshold=5 6 7\n"
    )
    check(model_text([block]), [[0.0, 1, 66, 70, 95, 96, -1, np.nan]] * FEATURES)
    assert old in block
    with pytest.raises(NoForest, match=words):
        lightgbm_trees.read(model_text([block.replace(old, new)]))


def test_mappings_that_may_be_dropped():
    """Those of the library that are read-only and hold nothing of the process's own."""
    maps = "".join(
        f"{start:x}-{start + 0x1000:x} {access} 00000000 fe:00 1 {path}\nRss: 4 kB\nAnonymous:  {anonymous} kB\n"
        for start, access, path, anonymous in (
            (0x1000, "r--p", "/a/libllvmlite.so", 0),
            (0x2000, "r-xp", "/a/libllvmlite.so", 0),
            (0x3000, "r--p", "/a/libllvmlite.so", 8),
            (0x4000, "rw-p", "/a/libllvmlite.so", 0),
            (0x5000, "r-xp", "/a/other.so", 0),
        )
    )
    assert forest_kernel._unwritten(maps, "libllvmlite") == [(0x1000, 0x1000), (0x2000, 0x1000)]
