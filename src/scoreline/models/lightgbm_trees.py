"""The trees in LightGBM's text model file, as the tables of a forest; they give the very numbers of LightGBM's library.

What a split does with values that are missing, zero or no category is `Tree::NumericalDecision` and
`Tree::CategoricalDecision` in LightGBM's sources (include/LightGBM/tree.h).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreline.models import forest
from scoreline.models.forest import CATEGORY, ZERO_IS_MISSING, Finish, Forest, Ints, NoForest, Test, Trees

_TINY = float(np.float32(1e-35))  # what is not greater counts as zero
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a decision type; the two above say what is missing
_ZERO, _NAN = 1, 2
_MOST_WORDS = 1 << 20  # of a set
_MOST_LEAVES = 2048  # testing every split of larger trees takes longer than going down one path, as the library does

# How the cells of a feature are prepared: as they are, with zero for what is missing, without zeros, as codes.
_CELLS = _NANS, _ZEROS, _NO_ZEROS, _CODES = range(4)
_FLAGS = np.array([0, 0, ZERO_IS_MISSING, CATEGORY])
_MISSING = np.array([np.nan, 0.0, np.nan, -1.0])  # -1 is no category

_ROOTS = ("regression", "regression_l1", "quantile", "mape", "fair")  # may have been trained on square roots
_FINISHES = {
    **dict.fromkeys((*_ROOTS, "huber"), Finish.NOTHING),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), Finish.EXP),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy"), Finish.SIGMOID),
    "multiclass": Finish.SOFTMAX,
}


def read(text: str) -> Forest:
    """Read the trees of a model file that LightGBM has accepted.

    Raises NoForest for what the tables cannot express, such as linear trees, and where they would not be faster.
    """
    head, _, rest = text.partition("\n\n")
    header = _entries(head)
    blocks = map(_entries, rest.partition("\nend of trees")[0].split("\n\n"))
    trees = [block for block in blocks if "Tree" in block]
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise NoForest("its leaves are linear models")
    splits = _Splits(trees)
    if len(splits.feature) and not 0 <= splits.feature.min() <= splits.feature.max() <= int(header["max_feature_idx"]):
        raise NoForest("it has splits by features that it has not")
    outputs = int(header.get("num_tree_per_iteration", "1"))
    finish, factor = _finish(header["objective"].split())
    averaged = "average_output" in head.split("\n")
    divisor = float(len(trees) // outputs) if averaged else 1.0
    return forest.tables(_trees(splits), outputs=outputs, divisor=divisor, finish=finish, factor=factor)


def _entries(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)


def _finish(objective: list[str]) -> tuple[Finish, float]:
    """What `ObjectiveFunction::ConvertOutput` does, by the objective's name and parameters."""
    name, *parameters = objective
    if name not in _FINISHES:
        raise NoForest(f"its objective {name!r} is not known")
    if name in _ROOTS and "sqrt" in parameters:
        return Finish.SQUARE, 1.0
    factors = [float(text.partition(":")[2]) for text in parameters if text.startswith("sigmoid:")]
    return _FINISHES[name], factors[0] if factors else 1.0


class _Splits:
    """All splits, one after the other, as the file has them."""

    def __init__(self, trees: list[dict[str, str]]) -> None:
        self._trees = trees
        self.leaves = np.array([int(tree["num_leaves"]) for tree in trees], np.int64)
        self.tree = np.repeat(np.arange(len(trees)), np.maximum(self.leaves - 1, 0))
        self.left = self._integers("left_child")
        self.right = self._integers("right_child")
        self.feature = self._integers("split_feature")
        self.threshold = self._reals("threshold")
        self.values = self._reals("leaf_value")
        self.bounds, self.words = self._integers("cat_boundaries"), self._integers("cat_threshold").astype(np.uint32)
        self.first_bound, self.first_word = self._starts("cat_boundaries"), self._starts("cat_threshold")
        self._check()
        decision = self._integers("decision_type")
        with_sets = np.array([tree.get("num_cat", "0") != "0" for tree in trees], np.bool_)
        self.categorical = (decision & _CATEGORICAL).astype(np.bool_) & with_sets[self.tree]
        self.missing, self.default_left = decision >> 2 & 3, (decision & _DEFAULT_LEFT).astype(np.bool_)

    def _check(self) -> None:
        if len(self.leaves) and self.leaves.max() > _MOST_LEAVES:
            raise NoForest(f"it has trees of {self.leaves.max()} leaves")
        if len({len(self.tree), len(self.left), len(self.right), len(self.feature), len(self.threshold)}) > 1:
            raise NoForest("its splits are not complete")
        if np.isnan(self.threshold).any():
            raise NoForest("it has thresholds that are no numbers")

    def _integers(self, key: str) -> Ints:
        return np.array([*self._all(key, int)], np.int64)

    def _reals(self, key: str) -> npt.NDArray[np.float64]:
        return np.array([*self._all(key, float)], np.float64)

    def _all(self, key: str, kind: Callable[[str], Any]) -> Iterator[Any]:
        return (kind(item) for tree in self._trees for item in tree.get(key, "").split())

    def _starts(self, key: str) -> Ints:
        counts = np.array([len(tree.get(key, "").split()) for tree in self._trees], np.int64)
        return np.cumsum(counts) - counts


def _trees(splits: _Splits) -> Trees:
    keys = splits.feature * len(_CELLS) + _cells(splits)
    distinct, chosen = np.unique(keys, return_inverse=True)
    feature, cell = np.divmod(distinct, len(_CELLS))
    inputs = np.zeros(len(distinct), forest.INPUT)
    inputs["tiny"], inputs["missing"], inputs["feature"], inputs["flags"] = _TINY, _MISSING[cell], feature, _FLAGS[cell]
    test = np.where(splits.default_left | (cell[chosen] == _ZEROS), Test.LOW, Test.HIGH)
    value = splits.threshold.view(np.uint64).copy()
    codes = np.zeros(len(keys), np.int64)
    some = np.flatnonzero(splits.categorical)
    if len(some):
        test[some], value[some], codes[some] = _sets(splits, some)
    return Trees(
        leaves=splits.leaves,
        left=splits.left,
        right=splits.right,
        test=test,
        value=value,
        input=chosen,
        codes=codes,
        values=splits.values,
        inputs=inputs,
        sets=splits.words,
    )


def _cells(splits: _Splits) -> Ints:
    """How each split wants its feature's cells prepared."""
    cells = np.select([splits.missing == _NAN, splits.missing == _ZERO], [_NANS, _NO_ZEROS], _ZEROS)
    return np.where(splits.categorical, _CODES, cells)


def _sets(splits: _Splits, some: Ints) -> tuple[Ints, npt.NDArray[np.uint64], Ints]:
    """Tests, values and numbers of codes of the categorical splits; a threshold is the number of a set of its tree."""
    tree = splits.tree[some]
    ends = np.append(splits.first_bound[1:], len(splits.bounds))[tree] - 1
    bound = splits.first_bound[tree] + splits.threshold[some].clip(-1, _MOST_WORDS).astype(np.int64)
    if (bound < splits.first_bound[tree]).any() or (bound >= ends).any():
        raise NoForest("it has splits by sets that it has not")
    first, end = (splits.first_word[tree] + splits.bounds[bound + step] for step in (0, 1))
    if (first < 0).any() or (end < first).any() or (end > len(splits.words)).any() or (end - first > _MOST_WORDS).any():
        raise NoForest("it has sets that are damaged")
    words = np.append(splits.words, [0, 0]).astype(np.uint64)
    low, high = (np.where(first + step < end, words[first + step], 0).astype(np.uint64) for step in (0, 1))
    few = (end - first) * forest.BITS <= forest.FEW
    value = np.where(few, low | high << np.uint64(forest.BITS), first.astype(np.uint64))
    return np.where(few, Test.FEW, Test.MANY), value, (end - first) * forest.BITS
