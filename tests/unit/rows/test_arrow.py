"""The way between Python, NumPy and Arrow that leaves pandas alone."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from scoreline.rows import arrow


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=20))
def test_texts(items):
    assert arrow.texts(items).equals(pa.array(items, pa.string()))


@given(st.lists(st.one_of(st.none(), st.booleans()), max_size=40), st.integers(0, 9))
def test_masks(items, start):
    array = pa.array(items, pa.bool_()).slice(start)
    assert arrow.mask(array).tolist() == [item is True for item in items[start:]]
    assert arrow.valid(array).tolist() == [item is not None for item in items[start:]]
    plain = np.array([item is True for item in items], np.bool_)
    assert arrow.flags(plain).to_pylist() == plain.tolist()


def test_numbers():
    table = np.arange(6.0).reshape(3, 2)
    assert arrow.numbers(table[:, 1]).equals(pa.array([1.0, 3.0, 5.0]))
    assert arrow.numbers(np.array([1, 2]), np.array([True, False])).equals(pa.array([None, 2], pa.int64()))
    gaps = pa.array([1.0, None, 3.0])
    assert arrow.values(gaps.slice(1)).tolist()[1:] == [3.0]
    assert np.isnan(arrow.values(gaps)).tolist() == [False, True, False]
    assert arrow.values(gaps.slice(2)).tolist() == [3.0]
    assert arrow.lengths(pa.array(["a", "", "äb"]).slice(1)).tolist() == [0, 3]
    assert arrow.numbers(np.empty(0)).equals(pa.array([], pa.float64()))


def test_a_run_does_not_import_pandas():
    code = """
import sys
from scoreline.pipeline import run
from tests.unit.pipeline.stand_ins import *
data = b'id,x,x2,t\\na,1,2,z\\n"b,",bad,5.0,\\n\\xff,3,+7,\\nc,4,5,6,7\\n"d""\\n",,,y\\n'
class Two(DoublingScorer):
    def score(self, features, options):
        return Scores(np.full((features.num_rows, 2), 0.5))
plan = ScoringPlan(
    TargetType.BINARY, "y",
    (Feature("x", FeatureType.NUMERIC), Feature("x2", FeatureType.INTEGER), Feature("t", FeatureType.TEXT)),
    ("n", "p"), passthrough="all", include_status=True,
)
output = MemoryOutput()
run(ticket(plan), MemoryIntake([data]), Two(), output, MemoryLedger(), SeenProgress())
assert output.text.count(b"OK") == 2, output.text
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
