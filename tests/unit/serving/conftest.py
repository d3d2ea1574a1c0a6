"""A prediction server with two model processes over a stand-in for the API; models are real."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from scoreline.serving.config import PredictorConfig
from scoreline.serving.server import serve
from tests.unit.serving import models_for_tests as models
from tests.unit.serving.fake_api import OWN_TOKEN, FakeApi


@contextlib.contextmanager
def predictor(api: FakeApi, cache: Path, **settings) -> Iterator[str]:
    """Run a prediction server in a thread; gives its address."""
    options = {"host": "127.0.0.1", "port": 0, "processes": 2} | settings
    config = PredictorConfig(api_url=api.url, token=OWN_TOKEN, cache_dir=cache, **options)
    stop, started, found = threading.Event(), threading.Event(), []

    def ready(url: str) -> None:
        found.append(url)
        started.set()

    thread = threading.Thread(target=serve, args=(config,), kwargs={"ready": ready, "stop": stop})
    thread.start()
    try:
        assert started.wait(20)
        yield found[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> SimpleNamespace:
    """Model files, with the boosters that made them."""
    folder = tmp_path_factory.mktemp("models")
    paths = {name: folder / f"{name}.txt" for name in ("regression", "binary", "multiclass")}
    boosters = {
        "regression": models.booster(paths["regression"]),
        "binary": models.booster(paths["binary"], "binary", 2),
        "multiclass": models.booster(paths["multiclass"], "multiclass", 3),
    }
    paths["moody"] = folder / "moody.pkl"
    models.moody(paths["moody"])
    paths["landmine"] = folder / "landmine.pkl"
    paths["landmine"].write_bytes(pickle.dumps(models.Landmine()))
    return SimpleNamespace(paths=paths, boosters=boosters)


def filled_api(made: SimpleNamespace) -> FakeApi:
    api = FakeApi()
    add = {"features": models.FEATURES}
    api.add_model("regression", models.sha256("regression"), made.paths["regression"], **add)
    api.add_model(
        "binary", models.sha256("binary"), made.paths["binary"], targetType="Binary",
        classLabels=["no", "yes"], positiveClass="yes", threshold=0.5, **add,
    )  # fmt: skip
    api.add_model(
        "multiclass", models.sha256("multiclass"), made.paths["multiclass"], targetType="Multiclass",
        classLabels=["low", "mid", "high"], **add,
    )  # fmt: skip
    api.add_model("moody", models.sha256("moody"), made.paths["moody"], trusted=True, **add)
    api.add_model("landmine", models.sha256("landmine"), made.paths["landmine"], trusted=True, **add)
    api.add_model("resting", models.sha256("regression"), made.paths["regression"], status="inactive", **add)
    api.add_token("user")
    api.add_token("stranger", user="u2")
    api.add_token("run", kind="run", packages=["regression", "binary", "multiclass", "moody", "landmine", "gone"])
    api.add_token("inspector", kind="service", rights=["inspect"])
    return api


@pytest.fixture(scope="module")
def api(made) -> Iterator[FakeApi]:
    with filled_api(made).serving() as running:
        yield running


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def url(api, cache) -> Iterator[str]:
    with predictor(api, cache, inspect_seconds=15.0) as address:
        yield address


@pytest.fixture
def client(url) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, headers={"Authorization": "Bearer user"}, timeout=60) as made:
        yield made
