"""What is known of one column of a dataset: its type, and the figures that go with it."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.catalog.sketches import Distinct, Sample, of_numbers, of_texts
from scoreline.rows import arrow, typed
from scoreline.types import JsonObject

_ISO = (
    ("%Y-%m-%d", r"^\d{4}-\d{2}-\d{2}$"),
    ("%Y-%m-%dT%H:%M:%S", r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z?$"),
    ("%Y-%m-%dT%H:%M:%S.%f", r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+Z?$"),
    ("%Y-%m-%d %H:%M:%S.%f", r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d+Z?$"),
    ("%Y-%m-%d %H:%M:%S", r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?Z?$"),
)
_SLASHED = ("%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d")
_LOOKS = r"^\d{1,4}/\d{1,2}/\d{1,4}$"
_WORDY_SHARE = 0.5  # of the values of a text column that have several words
_LONG = 60.0  # characters of a value from which on it is text
_FEW = 60  # different values up to which a column is categorical whatever they look like


class Kind(StrEnum):
    """What a column's values are read as."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    DATE = "date"
    WORDS = "words"
    NESTED = "nested"  # of which only the missing ones are counted


class NotOfThisKind(Exception):
    """A column holds other values than those at its beginning."""


class Column:
    """One column: `add` its blocks, in order. most: how many hashes, and how many values, are kept at once."""

    def __init__(self, name: str, most: int, kind: Kind | None = None) -> None:
        """`kind`: what it is read as; None finds out from the first values."""
        self.name = name
        self.kind = kind
        self._rows = 0
        self._missing = 0
        self._distinct = Distinct(most)
        self._sample = Sample(most)
        self._numbers = 0
        self._mean = self._squares = 0.0
        self._least, self._greatest = math.inf, -math.inf
        self._format: str | None = None
        self._characters = self._wordy = 0

    def add(self, block: pa.Array) -> None:
        """Take a block: of plain values, or of texts, null for what is missing. Raises NotOfThisKind."""
        self._rows += len(block)
        self._missing += block.null_count
        values = block.drop_null() if block.null_count else block
        if not len(values) or self.kind is Kind.NESTED:
            return
        if self.kind is None:
            self.kind = self._found(values)
        try:
            {
                Kind.NUMERIC: self._add_numbers,
                Kind.BOOLEAN: self._add_flags,
                Kind.DATE: self._add_dates,
                Kind.WORDS: self._add_words,
            }[self.kind](values)
        except pa.ArrowInvalid as error:
            raise NotOfThisKind(self.name) from error

    def document(self) -> JsonObject:
        """Return what is known, named as the API names it."""
        distinct = self._distinct.count()
        found: JsonObject = {
            "name": self.name,
            "featureType": self._type(distinct),
            "lowInformation": self.kind is not Kind.NESTED and distinct <= 1,
            "naCount": self._missing,
        }
        if self.kind is not Kind.NESTED:
            found["uniqueCount"] = min(distinct, self._rows - self._missing)
        if self.kind is Kind.NUMERIC and self._numbers:
            spread = math.sqrt(self._squares / (self._numbers - 1)) if self._numbers > 1 else 0.0
            figures = {
                "min": self._least,
                "max": self._greatest,
                "mean": self._mean,
                "median": self._sample.median(),
                "stdDev": spread,
            }
            found |= {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}
        if self.kind is Kind.DATE and self._numbers:
            found |= {"min": _day(self._least), "max": _day(self._greatest)}
            if self._format is not None:
                found["dateFormat"] = self._format
        return found

    def _type(self, distinct: int) -> str:
        if self.kind is Kind.NUMERIC:
            return "Numeric"
        if self.kind is Kind.BOOLEAN:
            return "Boolean"
        if self.kind is Kind.DATE:
            return "Date"
        values = max(1, self._rows - self._missing)
        texts = self._wordy >= _WORDY_SHARE * values or self._characters >= _LONG * values
        return "Text" if self.kind is Kind.NESTED or (texts and distinct > _FEW) else "Categorical"

    def _found(self, values: pa.Array) -> Kind:
        if not pa.types.is_string(values.type):
            return _kind_of(values.type)
        for kind, fits in ((Kind.NUMERIC, _numbers), (Kind.BOOLEAN, _flags), (Kind.DATE, self._dates)):
            try:
                fits(values)
            except pa.ArrowInvalid:
                continue
            return kind
        return Kind.WORDS

    def _add_numbers(self, values: pa.Array) -> None:
        numbers = arrow.values(_numbers(values))
        numbers = numbers[~np.isnan(numbers)]
        self._missing += len(values) - len(numbers)
        self._distinct.add(of_numbers(numbers))
        self._gather(numbers[np.isfinite(numbers)])

    def _add_flags(self, values: pa.Array) -> None:
        self._distinct.add(of_texts(pc.unique(_flags(values))))

    def _add_dates(self, values: pa.Array) -> None:
        seconds = self._dates(values)
        self._distinct.add(of_numbers(seconds))
        self._gather(seconds)

    def _add_words(self, values: pa.Array) -> None:
        texts = typed.as_text(values)
        self._characters += pc.sum(pc.utf8_length(texts)).as_py() or 0
        self._wordy += pc.sum(pc.match_substring(texts, " ")).as_py() or 0
        self._distinct.add(of_texts(pc.unique(texts)))

    def _gather(self, numbers: np.ndarray) -> None:
        """Take finite numbers: their mean and spread are joined with those of the ones before."""
        count = len(numbers)
        if not count:
            return
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is left out of the document
            mean = float(numbers.mean())
            squares = float(np.square(numbers - mean).sum())
        apart, both = mean - self._mean, self._numbers + count
        self._squares += squares + apart * apart * self._numbers * count / both
        self._mean += apart * count / both
        self._numbers = both
        self._least = min(self._least, float(numbers.min()))
        self._greatest = max(self._greatest, float(numbers.max()))
        self._sample.add(numbers)

    def _dates(self, values: pa.Array) -> np.ndarray:
        """Return seconds since 1970. Raises ArrowInvalid for what is no date, or one of another form."""
        if not pa.types.is_string(values.type):
            return _seconds(values)
        if self._format is None:
            self._format = _form(values)
        if self._format in _SLASHED:
            return _seconds(pc.strptime(values, format=self._format, unit="s"))
        zoned = pc.match_substring_regex(values, "Z$")
        local = pc.replace_substring_regex(values, "Z$", "") if pc.any(zoned).as_py() else values
        return _seconds(pc.cast(local, pa.timestamp("us")))


def _kind_of(kind: pa.DataType) -> Kind:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Kind.NUMERIC
    if pa.types.is_boolean(kind):
        return Kind.BOOLEAN
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Kind.DATE
    return Kind.NESTED if pa.types.is_nested(kind) or pa.types.is_binary(kind) else Kind.WORDS


def kind_of_type(kind: pa.DataType) -> Kind | None:
    """Return what a column with types is; None for null, which nothing is known of."""
    return None if pa.types.is_null(kind) else _kind_of(kind)


def _numbers(values: pa.Array) -> pa.Array:
    return pc.cast(values, pa.float64(), safe=False)


def _flags(values: pa.Array) -> pa.Array:
    """Return `true` and `false` as texts. Raises ArrowInvalid for anything else."""
    if pa.types.is_boolean(values.type):
        return typed.as_text(values)
    lower = pc.utf8_lower(values)
    if not pc.all(pc.is_in(lower, value_set=arrow.texts(("true", "false")))).as_py():
        raise pa.ArrowInvalid("not a truth value")
    return lower


def _form(values: pa.Array) -> str:
    """Return the form of dates, by the first that fits all of them. Raises ArrowInvalid for none."""
    for form, pattern in _ISO:
        if pc.all(pc.match_substring_regex(values, pattern)).as_py():
            return form
    if pc.all(pc.match_substring_regex(values, _LOOKS)).as_py():
        for form in _SLASHED:
            if not pc.strptime(values, format=form, unit="s", error_is_null=True).null_count:
                return form
    raise pa.ArrowInvalid("not a date")


def _seconds(moments: pa.Array) -> np.ndarray:
    kind = moments.type
    plain = moments.view(pa.timestamp(kind.unit)) if pa.types.is_timestamp(kind) and kind.tz else moments
    ticks = pc.cast(pc.cast(plain, pa.timestamp("us"), safe=False), pa.int64())
    return arrow.values(pc.cast(ticks, pa.float64(), safe=False)) / 1e6


def _day(seconds: float) -> str:
    moment = np.datetime64(round(seconds * 1e6), "us")
    return str(moment).removesuffix(".000000").removesuffix("T00:00:00")
