from __future__ import annotations

import time
import warnings

import pytest

from scoreline.cli.app import run
from tests.support.api import running_api
from tests.support.boosters import train
from tests.support.server import running_server


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite) as api:
        yield api


@pytest.fixture
def api(module_api):
    """The module's running API; no job of an earlier test is alive."""
    yield module_api
    module_api.end_all()


@pytest.fixture
def client(api):
    """A client of the running API; the job definitions and credentials of its user are gone afterwards."""
    with api.client() as client:
        yield client
        for each in client.get("batchPredictionJobDefinitions/", params={"limit": 1000}).json()["data"]:
            assert client.delete(f"batchPredictionJobDefinitions/{each['id']}/").status_code == 204
        for each in client.get("credentials/").json()["data"]:
            assert client.delete(f"credentials/{each['credentialId']}/").status_code == 204


@pytest.fixture
def cli(api, capsys, monkeypatch):
    """Run a command against the running API, with a clock in UTC; return what it prints, and what it says."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("SCORELINE_URL", api.url)
    monkeypatch.setenv("SCORELINE_TOKEN", api.token)

    def go(*words: str, code: int = 0):
        capsys.readouterr()
        done = run(list(words))
        out, err = capsys.readouterr()
        assert done == code, err
        return out, err

    yield go
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    """A whole installation, for the tests that score with the official client; the folder `files` is open to jobs."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "files").mkdir()
    with running_server(folder, SCORELINE_FILES_DIR=str(folder / "files")) as server:
        yield server


@pytest.fixture(scope="package")
def models(server, tmp_path_factory):
    return train(server, tmp_path_factory.mktemp("models"))


@pytest.fixture
def dr(server):
    """The official client, connected to the installation."""
    with warnings.catch_warnings():
        # About the client's own use of urllib3.
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        datarobot = pytest.importorskip("datarobot")
        datarobot.Client(token=server.token, endpoint=server.endpoint)
        yield datarobot
