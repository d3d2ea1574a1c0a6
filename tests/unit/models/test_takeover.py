"""The change from a booster's own library to the kernel: when, never visible in the values, and never at any price."""

import ctypes
import logging
import subprocess
import sys
import threading

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from scoreline import models
from scoreline.models import forest_kernel, lightgbm_trees, takeover
from scoreline.models.forest import NoForest
from scoreline.models.forest_kernel import Kernel, NoKernel
from tests.unit.models.support import batch, table


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model file, its booster, and rows with a category as text."""
    frame, yes_no, _three, _score = table(4000)
    data = frame[["age", "city", "rooms"]].astype({"city": "category"})
    params = {"verbose": -1, "num_leaves": 31, "num_threads": 1, "objective": "binary"}
    booster = lgb.train(params, lgb.Dataset(data, yes_no == "yes"), 60)
    path = tmp_path_factory.mktemp("model") / "model.txt"
    booster.save_model(path)
    return path, booster, data


@pytest.fixture
def soon(monkeypatch):
    """Prepare the kernel after the first call."""
    monkeypatch.setattr(takeover, "_COMPILING", 0.0)
    monkeypatch.setattr(takeover, "_READING", 0.0)


def wait():
    for thread in threading.enumerate():
        if thread.name == "scoreline-kernel":
            thread.join(30)


def kernel_of(model):
    return model._scorer._kernel


def test_no_byte_changes_when_the_kernel_takes_over(trained, soon):
    path, booster, data = trained
    model = models.load(path, trusted=False)
    whole = batch(data, model.info)
    before = model.predict(whole)
    wait()
    assert kernel_of(model) is not None
    after = model.predict(whole)
    assert before.tobytes() == after.tobytes()
    np.testing.assert_array_equal(after[:, 1], booster.predict(data))
    some = model.predict(whole.slice(17, 100))
    assert some.tobytes() == after[17:117].tobytes()


def test_a_small_job_never_pays_for_the_kernel(trained):
    """Nothing is even imported before the library has been at work for as long as the kernel takes to prepare."""
    path, _booster, _data = trained
    code = (
        "import sys; from pathlib import Path; from scoreline import models\n"
        "model = models.load(Path(sys.argv[1]), trusted=False)\n"
        "model.predict(models.sample_batch(model.info))\n"
        "print([name for name in sys.modules if 'llvm' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_librarys_time_counts(trained, monkeypatch):
    path, _booster, data = trained
    model = models.load(path, trusted=False)
    whole = batch(data, model.info)
    spent = iter(range(1000))  # every look at the clock finds half the time gone
    monkeypatch.setattr(takeover.time, "thread_time", lambda: next(spent) * model._scorer._left / 2)
    monkeypatch.setattr(takeover.threading, "Thread", lambda **_: pytest.fail("too early"))
    model.predict(whole)
    assert model._scorer._left > 0


def test_a_kernel_with_other_numbers_is_not_used(trained, soon, monkeypatch, caplog):
    path, booster, data = trained
    honest = Kernel.predict

    def one_bit_off(self, columns):
        values = honest(self, columns)
        values[7] = np.nextafter(values[7], 1)
        return values

    monkeypatch.setattr(Kernel, "predict", one_bit_off)
    model = models.load(path, trusted=False)
    whole = batch(data, model.info)
    for _ in range(3):
        np.testing.assert_array_equal(model.predict(whole)[:, 1], booster.predict(data))
        wait()
    assert kernel_of(model) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "'model.txt'" in caplog.text
    assert "gave other numbers" in caplog.text


def test_a_slower_kernel_is_not_used(trained, soon, monkeypatch, caplog):
    path, _booster, data = trained
    monkeypatch.setattr(takeover, "Kernel", _Slow)
    model = models.load(path, trusted=False)
    model.predict(batch(data, model.info))
    wait()
    assert kernel_of(model) is None
    assert not caplog.records


class _Slow(Kernel):
    def predict(self, columns):
        for _ in range(100):
            values = super().predict(columns)
        return values


@pytest.mark.parametrize(
    ("raised", "warnings"), [(NoForest("why"), 0), (NoKernel("why"), 0), (MemoryError(), 1), (IndexError("bug"), 1)]
)
def test_without_a_kernel_the_library_goes_on(trained, soon, monkeypatch, caplog, raised, warnings):
    path, booster, data = trained

    def fail(_text):
        raise raised

    monkeypatch.setattr(lightgbm_trees, "read", fail)
    model = models.load(path, trusted=False)
    whole = batch(data, model.info)
    for _ in range(3):
        np.testing.assert_array_equal(model.predict(whole)[:, 1], booster.predict(data))
        wait()
    assert kernel_of(model) is None
    assert len(caplog.records) == warnings


@pytest.mark.parametrize(
    "hindrance",
    [
        "sys.modules['llvmlite'] = None",
        "import llvmlite.binding as llvm; llvm.parse_assembly = lambda _: (_ for _ in ()).throw(RuntimeError('no'))",
        "from scoreline.models import forest_kernel; forest_kernel._may_run_code = lambda: False",
    ],
    ids=["not installed", "does not compile", "not allowed"],
)
def test_no_compiler_is_no_error(trained, hindrance):
    path, _booster, _data = trained
    code = (
        "import sys, threading; from pathlib import Path\n"
        f"{hindrance}\n"
        "from scoreline import models; from scoreline.models import takeover\n"
        "takeover._COMPILING = takeover._READING = 0.0\n"
        "model = models.load(Path(sys.argv[1]), trusted=False)\n"
        "one = models.sample_batch(model.info)\n"
        "for _ in range(3):\n"
        "    print(model.predict(one).tolist())\n"
        "    [t.join() for t in threading.enumerate() if t.name == 'scoreline-kernel']\n"
        "print(model._scorer._kernel, model._scorer._read)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    *values, state = done.stdout.splitlines()
    assert len(values) == 3
    assert len(set(values)) == 1
    assert state == "None None"
    assert done.stderr == ""


def test_a_system_that_forbids_running_what_was_written(monkeypatch):
    assert forest_kernel._may_run_code()

    class Strict:
        def __init__(self, _name):
            self.mprotect = lambda *_: -1

    monkeypatch.setattr(ctypes, "CDLL", Strict)
    assert not forest_kernel._may_run_code()


def test_many_threads_over_the_change(trained, soon):
    path, booster, data = trained
    model = models.load(path, trusted=False)
    whole = batch(data, model.info)
    expected = booster.predict(data)
    wrong = []

    def score(start):
        for _ in range(30):
            values = model.predict(whole.slice(start, 500))[:, 1]
            if values.tobytes() != expected[start : start + 500].tobytes():
                wrong.append(start)

    threads = [threading.Thread(target=score, args=(start,)) for start in (0, 700, 1400, 3500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait()
    assert not wrong
    assert kernel_of(model) is not None


def test_the_process_does_not_end_while_the_kernel_is_being_prepared(trained):
    """Tearing LLVM down while it compiles may crash."""
    path, _booster, _data = trained
    code = (
        "import sys, time; from pathlib import Path\n"
        "from scoreline import models; from scoreline.models import takeover\n"
        "takeover._COMPILING = takeover._READING = 0.0\n"
        "compiled = takeover.Kernel\n"
        "takeover.Kernel = lambda forest: (time.sleep(0.3), compiled(forest), print('compiled'))[1]\n"
        "model = models.load(Path(sys.argv[1]), trusted=False)\n"
        "model.predict(models.sample_batch(model.info))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("compiled\n", "")


def test_memory_stays_small(trained):
    """LLVM's own code is given back: pages of its file count for this process only while they are mapped."""
    path, _booster, _data = trained
    if not forest_kernel._MAPS.exists():
        pytest.skip("the system does not say what a process holds")
    code = (
        "import sys; from pathlib import Path; from scoreline.models import forest_kernel, lightgbm_trees\n"
        "rollup = Path('/proc/self/smaps_rollup')\n"
        "def held(): return next(int(l.split()[1]) for l in rollup.read_text().splitlines() if l.startswith('Rss'))\n"
        "before = held()\n"
        "forest_kernel.Kernel(lightgbm_trees.read(Path(sys.argv[1]).read_text()))\n"
        "print((held() - before) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40


def test_a_frame_of_pandas_gives_the_same(trained, soon):
    path, booster, data = trained
    model = models.load(path, trusted=False)
    strange = data.head(300).copy()
    strange["city"] = pd.Categorical(["Atlantis", "Oslo", None] * 100)
    model.predict(batch(data, model.info))
    wait()
    assert kernel_of(model) is not None
    np.testing.assert_array_equal(model.predict(batch(strange, model.info))[:, 1], booster.predict(strange))
