"""Upload of model files."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import threading
import time

import pytest

from scoreline.registry import artifacts
from tests.support.api import running_api

LIMIT = 3_000_000


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    folder = tmp_path_factory.mktemp("api")
    with running_api(folder, migrated_sqlite, max_model_bytes=LIMIT, upload_idle_seconds=1.0) as api:
        yield api


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Bytes of a LightGBM model."""
    import lightgbm
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(200, 2))
    data = lightgbm.Dataset(rows, rows[:, 0], feature_name=["x", "y"])
    file = tmp_path_factory.mktemp("model") / "model.txt"
    lightgbm.train({"objective": "regression", "verbose": -1, "num_threads": 1}, data, 2).save_model(file)
    return file.read_bytes()


def send(api, content, token=None, headers=None, **query):
    with api.client(token, headers=headers or {}) as client:
        return client.post("modelArtifacts/", params=query, content=content)


def stored(api, sha256):
    """Return the files of a stored artefact."""
    with artifacts.open_tar(api.store, api.spool, api.user, sha256) as file, tarfile.open(fileobj=file) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar if each.isfile()}


def test_a_body_that_is_the_file(api, model):
    response = send(api, model, filename="model.txt")
    assert response.status_code == 201, response.text
    document = response.json()
    assert document["format"] == "lightgbm"
    assert document["location"] == f"artifact:{document['sha256']}"
    assert (document["filename"], document["runsCode"], document["trusted"]) == ("model.txt", False, False)
    assert document["info"] is None  # there is no prediction server in this test
    assert list(stored(api, document["sha256"]).values()) == [model]
    with api.client() as client:
        assert client.get(f"modelArtifacts/{document['sha256']}/").json() == document
        assert client.get(f"modelArtifacts/{'0' * 64}/").status_code == 404
    assert list((api.settings.data_dir / "scratch").iterdir()) == []


def test_a_chunked_body_and_a_form_are_the_same_artefact(api, model):
    chunked = send(api, iter([model[:100], model[100:]]), filename="model.txt")
    with api.client() as client:
        form = client.post("modelArtifacts/", files={"file": ("model.txt", model)})
    assert chunked.status_code == form.status_code == 201
    assert chunked.json()["sha256"] == form.json()["sha256"]


def test_a_tar_of_a_folder(api, model):
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        info = tarfile.TarInfo("model.txt")
        info.size = len(model)
        tar.addfile(info, io.BytesIO(model))
    response = send(api, body.getvalue(), filename="model.tar")
    assert response.status_code == 201
    assert list(stored(api, response.json()["sha256"]).values()) == [model]


def test_a_form_needs_one_field_of_the_right_name(api, model):
    with api.client() as client:
        wrong = client.post("modelArtifacts/", files={"model": ("model.txt", model)})
        twice = client.post("modelArtifacts/", files=[("file", ("a.txt", model)), ("file", ("b.txt", model))])
        broken = client.post("modelArtifacts/", content=b"nonsense", headers={"Content-Type": "multipart/form-data"})
        torn = client.post(
            "modelArtifacts/", content=b"nonsense", headers={"Content-Type": "multipart/form-data; boundary=abc"}
        )
    assert wrong.status_code == twice.status_code == 422
    assert "`file`" in wrong.json()["message"]
    assert broken.status_code == torn.status_code == 400


def test_code_needs_trust_and_the_right(api):
    """A pickle is recognised by its content, and never loaded."""
    import pickle

    body = pickle.dumps({"a": 1})
    bob = api.other("bob")
    asked = send(api, body, filename="model.pkl")
    forbidden = send(api, body, bob, filename="model.pkl", trusted="true")
    taken = send(api, body, filename="model.pkl", trusted="true")
    assert asked.status_code == 422
    assert "trust" in asked.json()["message"]
    assert forbidden.status_code == 403
    assert taken.status_code == 201, taken.text
    assert taken.json()["runsCode"] is True


@pytest.mark.parametrize(
    ("content", "query", "words"),
    [
        (b"", {}, "empty"),
        (b"nonsense", {"filename": "model.txt"}, "model"),
        (b"x" * (LIMIT + 1), {}, "too large"),
        (b"x", {"file": "a"}, "did you mean 'filename'"),
        (b"x", {"trusted": "maybe"}, "trusted"),
    ],
)
def test_what_is_no_model_is_refused(api, content, query, words):
    response = send(api, content, **query)
    assert response.status_code == 422, response.text
    assert words in response.json()["message"]
    assert list((api.settings.data_dir / "scratch").iterdir()) == []


def test_observers_upload_nothing(api, model):
    assert send(api, model, api.other("watcher", role="observer"), filename="m.txt").status_code == 403


def test_a_sender_that_falls_silent_is_told(api):
    release = threading.Event()

    def blocks():
        yield b"x"
        release.wait(2)

    response = None
    try:
        response = send(api, blocks())
    finally:
        release.set()
    assert response.status_code == 422
    assert "sent nothing" in response.json()["message"]


@pytest.mark.parametrize("place", ["mkdtemp", "write"])
def test_a_full_disk_is_told_in_words(api, model, monkeypatch, place):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "mkdtemp":
        monkeypatch.setattr("scoreline.api.scratch.tempfile.mkdtemp", full)
    else:

        async def never_written(*_arguments):
            full()

        monkeypatch.setattr("scoreline.api.forms.receive", never_written)
    response = send(api, model, filename="model.txt")
    assert response.status_code == 507
    assert "disk is full" in response.json()["message"]
    assert list((api.settings.data_dir / "scratch").iterdir()) == []


def test_a_start_deletes_what_killed_processes_left_of_uploads(tmp_path, migrated_sqlite):
    old, new = (tmp_path / "scratch" / name for name in ("upload-old", "upload-new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "body").write_bytes(b"x")
    long_ago = time.time() - 3 * 86_400
    os.utime(old, (long_ago, long_ago))
    with running_api(tmp_path, migrated_sqlite):
        assert not old.exists()
        assert new.exists()
