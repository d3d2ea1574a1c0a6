"""Number text against Python's own repr."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.rows import text


def expected(value: float) -> str | None:
    return repr(value) if np.isfinite(value) else None


@given(st.lists(st.floats(), max_size=40))
def test_any_float(values):
    array = np.array(values, np.float64)
    assert text.floats(array).to_pylist() == [expected(v) for v in array.tolist()]


@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(-12, 20)), min_size=1, max_size=40), st.integers(0, 17))
def test_every_magnitude_and_length(parts, digits):
    array = np.array([round(m, digits) * 10.0**e for m, e in parts])
    assert text.floats(array).to_pylist() == [repr(v) for v in array.tolist()]


@pytest.mark.parametrize("exponent", range(-12, 20))
def test_each_power_of_ten(exponent):
    array = np.array([s * m * 10.0**exponent for s in (1, -1) for m in (1, 1.5, 9.999, 1.2345678901234567)])
    assert text.floats(array).to_pylist() == [repr(v) for v in array.tolist()]


def test_nothing_and_strided():
    assert text.floats(np.empty(0)).to_pylist() == []
    table = np.arange(6, dtype=np.float64).reshape(3, 2) / 3
    assert text.floats(table[:, 1]).to_pylist() == [repr(v) for v in table[:, 1].tolist()]
