"""Numbers about values that are too many to keep: how many are distinct, and their median. Bounded memory, one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_Words = npt.NDArray[np.uint64]
_TWO_64 = 2.0**64


class Distinct:
    """How many different values there are: exact below `most`, from there on within some percent.

    It keeps the smallest hashes; with 64 bits two values hardly ever share one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: _Words = np.empty(0, np.uint64)

    def add(self, hashes: _Words) -> None:
        """Take the hashes of values."""
        if len(self._kept) == self._most:
            hashes = hashes[hashes < self._kept[-1]]
        if len(hashes):
            every = np.concatenate((self._kept, hashes))
            every.sort()  # np.unique takes ten times as long for it
            first = np.concatenate(([True], every[1:] != every[:-1]))
            self._kept = every[first][: self._most]

    def count(self) -> int:
        """Return the number."""
        if len(self._kept) < self._most:
            return len(self._kept)
        return round((self._most - 1) * _TWO_64 / float(self._kept[-1]))


class Sample:
    """Values drawn evenly from all of them: all below `most`. The same values give the same sample."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._random = np.random.default_rng(0)
        self._ranks = np.empty(0)
        self._values = np.empty(0)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Take values."""
        ranks = self._random.random(len(values))
        if len(self._ranks) == self._most:
            chosen = ranks < self._ranks.max()
            ranks, values = ranks[chosen], values[chosen]
        self._ranks = np.concatenate((self._ranks, ranks))
        self._values = np.concatenate((self._values, values))
        if len(self._ranks) > self._most:
            first = np.argpartition(self._ranks, self._most)[: self._most]
            self._ranks, self._values = self._ranks[first], self._values[first]

    def median(self) -> float | None:
        """Return the median, None without values."""
        return float(np.median(self._values)) if len(self._values) else None


def of_numbers(values: npt.NDArray[np.float64]) -> _Words:
    """Return a hash of each number; 0 and -0 are the same."""
    return _mixed((values + 0.0).view(np.uint64))


def of_texts(texts: pa.Array) -> _Words:
    """Return a hash of each text of a string array without nulls."""
    if not len(texts):
        return np.empty(0, np.uint64)
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset).astype(np.int64)
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    sums = np.zeros(len(texts), np.uint64)
    if offsets[-1] > offsets[0]:
        body = np.frombuffer(texts.buffers()[2], np.uint8, offsets[-1] - offsets[0], offsets[0])
        places = np.arange(len(body)) - np.repeat(starts, lengths)
        weights = _mixed(np.arange(1, int(lengths.max()) + 1, dtype=np.uint64))
        some = lengths > 0  # reduceat takes no empty stretches
        sums[some] = np.add.reduceat((body.astype(np.uint64) + np.uint64(1)) * weights[places], starts[some])
    return _mixed(sums + lengths.astype(np.uint64))


def _mixed(words: _Words) -> _Words:
    """Spread the bits (the finaliser of SplitMix64)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
