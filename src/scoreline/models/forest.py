"""A forest of decision trees as tables: what `forest.ll` reads, 64 rows at a time.

A tree's leaves are numbered from left to right and fall into parts of 32, one bit each. A split knows the bits of the
leaves on its left, which a row that goes right can no longer reach. Splits that concern several parts stand in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.void]

BITS = 32  # leaves of a part
FEW = 64  # codes that a set within a split can hold

INPUT = np.dtype([("tiny", "f8"), ("missing", "f8"), ("feature", "i4"), ("flags", "i4")])
PART = np.dtype([("tests", "i4", 4), ("output", "i8"), ("leaf", "i8")])
SPLIT = np.dtype([("value", "u8"), ("input", "i4"), ("codes", "i4"), ("mask", "u4"), ("_", "u4")])

ZERO_IS_MISSING, CATEGORY = 1, 2


class Test(IntEnum):
    """What sends a row to the right: a number above the threshold, or a code that is not in a set.

    LOW, HIGH: what is missing goes to the left, or to the right. FEW: the set has codes below `FEW` only.
    """

    LOW = 0
    HIGH = 1
    FEW = 2
    MANY = 3


class Finish(IntEnum):
    """What turns sums into predictions; SQUARE keeps the sign, SIGMOID multiplies the sum by the factor first."""

    NOTHING = 0
    SQUARE = 1
    EXP = 2
    SIGMOID = 3
    SOFTMAX = 4


class NoForest(Exception):
    """The trees are none that can be scored by tables."""


@dataclass(frozen=True, slots=True)
class Trees:
    """All trees, one after the other.

    leaves: how many each has, which is one more than its splits. left, right: by split, the number of a split within
    the same tree, or ~leaf. value: the bits of a threshold, a set of codes (bit 0 is code 0), or the place in
    `sets` where it begins. input: a row of `inputs`; codes: how many codes a set in `sets` can hold. values: by leaf.
    """

    leaves: Ints
    left: Ints
    right: Ints
    test: Ints
    value: npt.NDArray[np.uint64]
    input: Ints
    codes: Ints
    values: npt.NDArray[np.float64]
    inputs: Table
    sets: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Forest:
    """The tables. The trees are dealt to the outputs in turn; their sums are divided by `divisor`, then finished."""

    inputs: Table
    parts: Table
    splits: Table
    sets: npt.NDArray[np.uint32]
    leaves: npt.NDArray[np.float64]
    outputs: int
    divisor: float
    finish: Finish
    factor: float


def tables(trees: Trees, *, outputs: int, divisor: float, finish: Finish, factor: float) -> Forest:
    """Make the tables. Raises NoForest when the splits are no trees."""
    places = _Places(trees)
    tree_parts = -(-trees.leaves // BITS)
    part_end = np.cumsum(tree_parts)
    splits, counts = _splits(trees, places, part_end)
    parts = np.zeros(int(part_end[-1]) if len(part_end) else 0, PART)
    parts["tests"] = counts
    tree = np.repeat(np.arange(len(trees.leaves)), tree_parts)
    word = part_end[tree] - 1 - np.arange(len(parts))  # within the tree, the last comes first
    parts["output"] = np.where(word == 0, tree % outputs, -1)
    parts["leaf"] = places.first_leaf[tree] + word * BITS
    leaves = np.empty_like(trees.values)
    leaves[places.leaf] = trees.values
    return Forest(trees.inputs, parts, splits, trees.sets, leaves, outputs, divisor, finish, factor)


class _Places:
    """Where the leaves stand from left to right: `leaf` among all, `start` and `middle` of each split within its tree.

    The leaves from `start` up to `middle` are on the split's left.
    """

    def __init__(self, trees: Trees) -> None:
        splits = trees.leaves - 1
        if (trees.leaves < 1).any() or splits.sum() != len(trees.left) or trees.leaves.sum() != len(trees.values):
            raise NoForest("leaves or splits are missing")
        self.first_leaf = np.cumsum(trees.leaves) - trees.leaves
        self.tree = np.repeat(np.arange(len(splits)), splits)
        self._first_split = np.cumsum(splits) - splits
        sides = (trees.left, trees.right)
        if any((~side >= trees.leaves[self.tree]).any() or (side >= splits[self.tree]).any() for side in sides):
            raise NoForest("a child is beyond the tree")
        base = self._first_split[self.tree]
        self._left, self._right = (np.where(side < 0, -1, side + base) for side in sides)
        levels = self._levels(self._first_split[splits > 0])
        under_left = self._count(levels)
        self.start = np.zeros(len(self.tree), np.int64)
        for level in levels:
            for children, begin in ((self._left, self.start), (self._right, self.start + under_left)):
                inner = level[children[level] >= 0]
                self.start[children[inner]] = begin[inner]
        self.middle = self.start + under_left
        self.leaf = self.first_leaf.repeat(trees.leaves)
        for side, place in ((trees.left, self.start), (trees.right, self.middle)):
            outer = side < 0
            leaf = self.first_leaf[self.tree[outer]] + ~side[outer]
            self.leaf[leaf] = self.first_leaf[self.tree[outer]] + place[outer]
        if len(np.unique(self.leaf)) < len(self.leaf):
            raise NoForest("a leaf hangs on two splits")

    def _levels(self, roots: Ints) -> list[Ints]:
        """The splits by their distance from the roots."""
        levels, left = [], len(self.tree)
        while len(roots):
            left -= len(roots)
            if left < 0:
                raise NoForest("a split hangs on two others")
            levels.append(roots)
            children = np.concatenate((self._left[roots], self._right[roots]))
            roots = children[children >= 0]
        if left:
            raise NoForest("a split hangs on none")
        return levels

    def _count(self, levels: list[Ints]) -> Ints:
        """How many leaves are on the left of each split."""
        under = np.ones((2, len(self.tree)), np.int64)
        for level in reversed(levels):
            for side, children in enumerate((self._left, self._right)):
                inner = level[children[level] >= 0]
                under[side, inner] = under[:, children[inner]].sum(axis=0)
        left: Ints = under[0]
        return left


def _splits(trees: Trees, places: _Places, part_end: Ints) -> tuple[Table, Ints]:
    """Return the splits in the order of the parts and of the tests, and how many of each test a part has."""
    first, last = places.start // BITS, (places.middle - 1) // BITS
    times = last - first + 1
    split = np.repeat(np.arange(len(first)), times)
    word = first[split] + np.arange(len(split)) - np.repeat(np.cumsum(times) - times, times)
    low = np.maximum(places.start[split] - word * BITS, 0).astype(np.uint64)
    high = np.minimum(places.middle[split] - word * BITS, BITS).astype(np.uint64)
    one = np.uint64(1)
    part = part_end[places.tree[split]] - 1 - word
    table = np.zeros(len(split), SPLIT)
    table["value"], table["input"], table["codes"] = trees.value[split], trees.input[split], trees.codes[split]
    table["mask"] = ~((one << high) - (one << low))
    kind = part * len(Test) + trees.test[split]
    counts = np.bincount(kind, minlength=len(Test) * int(part_end[-1]) if len(part_end) else 0)
    return table[np.argsort(kind, kind="stable")], counts.reshape(-1, len(Test))
