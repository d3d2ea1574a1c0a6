"""The way of a job's rows: Arrow batches, through the scorer that runs use and by hand."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import psutil
import pyarrow as pa
import pytest

from scoreline.errors import (
    AccessRefused,
    DataRefused,
    ModelBroken,
    ModelCrashed,
    Overloaded,
    ScoringError,
    ServerUnavailable,
    TooLarge,
)
from scoreline.protocols import Scorer
from scoreline.rows import exchange
from scoreline.scorers import open_scorer
from scoreline.types import ScoreOptions, ScoringPlan, ServerAddress, TargetType
from tests.unit.serving import models_for_tests as models
from tests.unit.serving.conftest import filled_api, predictor

OPTIONS = ScoreOptions(timeout=60)
OPEN: list[Scorer] = []
LABELS = {"regression": (), "binary": ("no", "yes"), "multiclass": ("low", "mid", "high"), "moody": (), "landmine": ()}


def scorer_of(url: str, package: str = "regression", token: str = "run"):
    labels = LABELS.get(package, ())
    target = {0: TargetType.REGRESSION, 2: TargetType.BINARY, 3: TargetType.MULTICLASS}[len(labels)]
    OPEN.append(open_scorer(ServerAddress(url, package, token), ScoringPlan(target, "y", (), labels)))
    return OPEN[-1]


@pytest.fixture(autouse=True)
def _scorers_are_closed():
    yield
    while OPEN:
        OPEN.pop().close()


def batch(x, z=0.0) -> pa.RecordBatch:
    x = np.asarray(x, dtype=float)
    return pa.record_batch({"x": pa.array(x), "z": pa.array(np.full(len(x), z))})


def model_processes(cache: Path) -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [child for child in found if child.status() != "zombie" and Path(child.cwd()).is_relative_to(cache)]


@pytest.mark.parametrize("package", ["regression", "binary", "multiclass"])
def test_values_are_the_librarys_own(url, made, package):
    values = np.random.default_rng(1).normal(size=(1000, 2))
    rows = pa.record_batch({"x": pa.array(values[:, 0]), "z": pa.array(values[:, 1])})
    scorer = scorer_of(url, package)
    scores = scorer.score(rows, OPTIONS)
    wanted = made.boosters[package].predict(values)
    if package == "binary":
        wanted = np.column_stack([1 - wanted, wanted])
    assert scores.values.tolist() == wanted.reshape(1000, -1).tolist()
    assert scores.model == models.sha256(package)


def test_many_at_once_get_their_own_answers(url, made):
    scorer = scorer_of(url)

    def one(seed: int) -> bool:
        values = np.random.default_rng(seed).normal(size=(50 + seed, 2))
        rows = pa.record_batch({"x": pa.array(values[:, 0]), "z": pa.array(values[:, 1])})
        found = scorer.score(rows, OPTIONS).values[:, 0].tolist()
        return found == made.boosters["regression"].predict(values).tolist()

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(one, range(120)))


def test_columns_are_found_by_name(url, made):
    rows = pa.record_batch({"z": pa.array([0.0]), "more": pa.array(["?"]), "x": pa.array([0.5])})
    scorer = scorer_of(url)
    assert scorer.score(rows, OPTIONS).values[0, 0] == made.boosters["regression"].predict([[0.5, 0.0]])[0]
    with pytest.raises(ModelBroken, match="'z'"):
        scorer.score(rows.select(["x"]), OPTIONS)


@pytest.mark.parametrize(
    ("package", "token", "words"),
    [
        ("regression", "wrong", "Invalid API token"),
        ("regression", "user", "tokens of runs"),
        ("resting", "run", "does not cover model package resting"),
        ("gone", "run", "Model package gone was not found"),
    ],
)
def test_who_may_not(url, package, token, words):
    scorer = scorer_of(url, package, token)
    with pytest.raises(AccessRefused, match=words):
        scorer.score(batch([1.0]), OPTIONS)


def post(url: str, body: bytes, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in ({"Authorization": "Token run"} | headers).items()}
    return httpx2.post(f"{url}/scoreline/v1/packages/regression/score", content=body, headers=named, timeout=60)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_wire(url, slash):
    body = exchange.encode(batch([1.0, 2.0])).to_pybytes()
    response = httpx2.post(
        f"{url}/scoreline/v1/packages/regression/score{slash}", content=body, headers={"Authorization": "Token run"}
    )
    assert response.status_code == 200
    assert response.headers["x-scoreline-model"] == models.sha256("regression")
    assert response.headers["x-request-id"]
    answer = pa.ipc.open_stream(response.content).read_all()
    assert answer.schema == pa.schema([("0", pa.float64())])
    assert answer.num_rows == 2


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff" * 100])
def test_what_is_not_arrow_is_refused(url, body):
    response = post(url, body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/json"
    assert response.json()["message"]


def test_one_batch_exactly(url):
    two = pa.BufferOutputStream()
    with pa.ipc.new_stream(two, batch([1.0]).schema) as writer:
        writer.write_batch(batch([1.0]))
        writer.write_batch(batch([2.0]))
    assert "2 record batches" in post(url, two.getvalue().to_pybytes()).json()["message"]
    empty = post(url, exchange.encode(batch([])).to_pybytes())
    assert pa.ipc.open_stream(empty.content).read_all().num_rows == 0


def test_packed_bodies_are_not_taken(url):
    assert post(url, b"", Content_Encoding="gzip").status_code == 415


def test_a_bad_row_is_refused_and_the_next_request_served(url):
    scorer = scorer_of(url, "moody")
    with pytest.raises(DataRefused, match="this row is no good"):
        scorer.score(batch([1.0, models.RAISE]), OPTIONS)
    with pytest.raises(DataRefused):
        scorer.score(batch([models.EXIT]), OPTIONS)
    assert scorer.score(batch([1.0, 4.0]), OPTIONS).values.tolist() == [[2.0], [8.0]]


def test_a_crash_fails_its_own_request_only(url, cache):
    scorer = scorer_of(url, "moody")
    scorer.score(batch([1.0]), OPTIONS)
    before = {process.pid for process in model_processes(cache)}
    xs = [[models.CRASH] if i == 5 else [float(i)] * 100 for i in range(30)]

    def one(x):
        try:
            return scorer.score(batch(x), OPTIONS).values[:, 0].tolist()
        except ScoringError as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, xs))
    crash = answers.pop(5)
    assert isinstance(crash, ModelCrashed)
    assert "signal 11" in crash.message
    xs.pop(5)
    assert answers == [[2 * value for value in x] for x in xs]
    deadline = time.monotonic() + 10
    while len({process.pid for process in model_processes(cache)}) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len({process.pid for process in model_processes(cache)} & before) == 1


def test_crashes_of_some_rows_never_give_the_model_up(url):
    scorer = scorer_of(url, "moody")
    for _ in range(4):
        with pytest.raises(ModelCrashed, match=r"SIGSEGV"):
            scorer.score(batch([models.CRASH]), OPTIONS)
    assert scorer.score(batch([1.0]), OPTIONS).values.tolist() == [[2.0]]


def test_a_model_that_ends_its_process_when_loaded_is_told_as_broken(made, tmp_path):
    """Two crashes, one after the other, never a storm of them; requests for other models go on meanwhile."""
    with filled_api(made).serving() as api, predictor(api, tmp_path) as url:
        scorer, other = scorer_of(url, "landmine"), scorer_of(url)
        other.score(batch([1.0]), OPTIONS)
        before = {process.pid for process in model_processes(tmp_path)}
        began = time.monotonic()
        with pytest.raises(ModelBroken, match=r"cannot be loaded: the model's process ended by signal 6 .* damaged"):
            scorer.score(batch([1.0]), OPTIONS)
        for _ in range(5):
            with pytest.raises(ModelBroken, match="cannot be loaded"):
                scorer.score(batch([1.0]), OPTIONS)
        assert time.monotonic() - began < 20
        assert len(other.score(batch([1.0, 2.0]), OPTIONS).values) == 2
        time.sleep(0.3)
        assert len(before - {process.pid for process in model_processes(tmp_path)}) <= 2


def test_the_real_time_route_tells_a_crash_without_asking_to_come_again(client):
    answer = client.post(
        "/predApi/v1.0/deployments/d-moody/predictions",
        content=f"x,z\n{models.CRASH},0\n".encode(),
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 500
    assert "SIGSEGV" in answer.json()["message"]
    assert "retry-after" not in answer.headers


def test_the_children_see_nothing_of_the_installation(made, tmp_path, monkeypatch):
    monkeypatch.setenv("SCORELINE_ADMIN_TOKEN", "top-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "top-secret")
    with filled_api(made).serving() as api, predictor(api, tmp_path, processes=1) as url:
        scorer = scorer_of(url)
        scorer.score(batch([1.0]), OPTIONS)
        (child,) = model_processes(tmp_path)
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
        assert b"SCORELINE" not in environment
        assert b"top-secret" not in environment
        assert b"OMP_NUM_THREADS=1" in environment
        assert str(tmp_path) in child.environ()["HOME"]
        files = [Path(f"/proc/{child.pid}/fd/{number}") for number in range(3, 64)]
        assert sum(str(file.readlink()).startswith("socket:") for file in files if file.exists()) == 1
        assert not child.net_connections()


def test_a_hanging_model_is_ended_in_time(made, tmp_path):
    with filled_api(made).serving() as api, predictor(api, tmp_path, processes=1, score_seconds=1.0) as url:
        scorer = scorer_of(url, "moody")
        scorer.score(batch([1.0]), OPTIONS)
        with pytest.raises(ModelCrashed, match="did not answer within 1 s"):
            scorer.score(batch([models.HANG]), OPTIONS)
        assert scorer.score(batch([1.0]), OPTIONS).values.tolist() == [[2.0]]


def test_busy_for_too_long_is_told_with_a_time_to_come_back(made, tmp_path):
    with filled_api(made).serving() as api, predictor(api, tmp_path, processes=1, max_wait=0.3) as url:
        scorer = scorer_of(url, "moody")
        while True:
            with contextlib.suppress(Overloaded):  # until the process runs and has the model
                scorer.score(batch([1.0]), OPTIONS)
                break

        def one(_):
            try:
                return scorer.score(batch([models.SLOW]), OPTIONS)
            except ScoringError as error:
                return error

        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(one, range(6)))
        busy = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(busy) == 4  # one at work, one lying ready
        assert {error.retry_after for error in busy} == {1.0}


def test_bodies_over_the_limit(made, tmp_path):
    with filled_api(made).serving() as api, predictor(api, tmp_path, processes=1, max_batch=100_000) as url:
        scorer = scorer_of(url)
        with pytest.raises(TooLarge):
            scorer.score(batch(np.zeros(20_000)), OPTIONS)
        assert len(scorer.score(batch(np.zeros(1000)), OPTIONS).values) == 1000


def test_close_ends_calls_in_flight_at_once_and_the_server_goes_on(url):
    scorer = scorer_of(url, "moody")
    scorer.score(batch([1.0]), OPTIONS)
    failures: list[ScoringError] = []

    def one():
        try:
            scorer.score(batch([models.SLOW]), OPTIONS)
        except ScoringError as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    scorer.close()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 0.95  # less than one of the calls takes
    assert [type(error) for error in failures] == [ServerUnavailable] * 4
    with pytest.raises(ServerUnavailable, match="closed"):
        scorer.score(batch([1.0]), OPTIONS)
    scorer.close()
    another = scorer_of(url, "moody")
    assert another.score(batch([1.0]), OPTIONS).values.tolist() == [[2.0]]


def test_every_process_loads_a_model_at_its_first_use(made, tmp_path):
    with filled_api(made).serving() as api, predictor(api, tmp_path) as url:
        scorer = scorer_of(url)
        scorer.score(batch([1.0]), OPTIONS)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            maps = [Path(f"/proc/{process.pid}/maps").read_text() for process in model_processes(tmp_path)]
            if all("lib_lightgbm" in text for text in maps):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the other process did not load the model")


def test_the_api_is_asked_rarely_and_its_absence_is_bridged(made, tmp_path):
    with filled_api(made).serving() as api, predictor(api, tmp_path) as url:
        scorer = scorer_of(url)
        for _ in range(20):
            scorer.score(batch([1.0]), OPTIONS)
        assert api.asked["POST /api/v2/internal/introspect/"] == 1
        assert api.asked["GET /api/v2/internal/packages/regression/"] == 1
        assert api.asked[f"GET /api/v2/internal/artifacts/{models.sha256('regression')}/"] == 1
        assert api.registered == [{"name": "default", "url": url, "concurrency": 2}]
        api.down = True
        scorer.score(batch([1.0]), OPTIONS)
        other = scorer_of(url, token="other")
        with pytest.raises(Overloaded):
            other.score(batch([1.0]), OPTIONS)


def test_ping_needs_no_api(made, tmp_path):
    api = filled_api(made)
    api.url = "http://127.0.0.1:9"  # nobody there
    with predictor(api, tmp_path, processes=1) as url:
        response = httpx2.get(f"{url}/ping")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        scorer = scorer_of(url)
        with pytest.raises(Overloaded, match="cannot ask the API"):
            scorer.score(batch([1.0]), OPTIONS)
