"""Packages whose model is on a server of another maker: who may name one, what is learned, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scoreline.access.outside import Outside
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.registry import deployments, foreign, packages, replacement, servers
from scoreline.settings import Settings
from scoreline.types import Feature, FeatureType, TargetType
from tests.support.fixtures import one_database

DRUM = {"drumVersion": "1.18", "targetType": "binary", "negativeClassLabel": "no", "positiveClassLabel": "yes"}
V2 = {
    "name": "m",
    "inputs": [
        {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "n", "datatype": "INT64", "shape": [-1, 1]},
    ],
    "outputs": [{"name": "label"}, {"name": "probabilities"}],
}
KNOWN = {"/info/": DRUM, "/v2/models/m": V2, "/version": "3.1"}


@pytest.fixture
def there():
    """Address of a server that tells of its model as DRUM and V2 servers do; `asked` has the paths."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps(KNOWN.get(self.path, {})).encode()
            self.send_response(200 if self.path in KNOWN else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def body(url: str, kind: str = "drum", target=None, options=None, **more):
    server = {"kind": kind, "url": url, "options": options or {}}
    return {"name": "far", "target": {"name": "late"} | (target or {}), "server": server} | more


def register(store, caller, document, networks=""):
    """Register, with the key file in a folder of its own."""
    return packages.create_from_json(store, caller, document, outside_of(store, networks))


def outside_of(store, networks=""):
    folder = Path(tempfile.gettempdir()) / f"scoreline-test-{os.getpid()}"
    return Outside.of(store, Settings(data_dir=folder, allowed_networks=networks))


@pytest.fixture(autouse=True)
def _folder():
    yield
    shutil.rmtree(Path(tempfile.gettempdir()) / f"scoreline-test-{os.getpid()}", ignore_errors=True)


def test_what_drum_says_is_kept(store, people, there):
    url, _ = there
    package = register(store, people.boss, body(url + "/", options={"maxRows": "5", "concurrency": "3"}))
    assert (package.artifact, package.format, package.features) == (None, "drum", ())
    assert (package.target_type, package.class_labels, package.positive_class) == (
        TargetType.BINARY,
        ("no", "yes"),
        "yes",
    )
    assert package.server["url"] == url
    assert package.server["options"] == {"maxRows": "5", "concurrency": "3"}
    deployment = deployments.create(store, people.boss, package.id, "far")
    assert deployment.server.kind == "drum"
    assert deployment.server.concurrency == 3
    with pytest.raises(InvalidRequest, match="name no other"):
        deployments.create(store, people.boss, package.id, "elsewhere", server_id="5" * 24)
    assert packages.server_of(store, package.id) == (package.server, people.boss.user_id)
    assert len(packages.scorable(package)) == 64
    with pytest.raises(InvalidRequest, match="batch jobs can"):
        packages.serving_document(package)
    again = register(store, people.boss, body(url))
    assert again.server["id"] == package.server["id"]
    assert (again.registered_model_id, again.version) == (package.registered_model_id, 2)


def test_what_v2_says_is_kept(store, people, there):
    url, _ = there
    target = {"type": "Binary", "classNames": ["a", "b"]}
    package = register(store, people.boss, body(url, "v2", target, options={"model": "m"}))
    assert package.features == (Feature("age", FeatureType.NUMERIC), Feature("n", FeatureType.INTEGER, nullable=False))
    assert package.server["options"] == {
        "model": "m", "output": "probabilities", "datatypes": '{"age": "FP32", "n": "INT64"}',
    }  # fmt: skip


def test_columns_that_were_named_are_kept(store, people, there):
    url, _ = there
    features = {"n": "integer", "x": "numeric", "t": "text"}
    package = register(store, people.boss, body(url, "mlflow", {"type": "Regression"}, features=features))
    assert [(f.name, f.nullable) for f in package.features] == [("n", False), ("x", True), ("t", True)]


def test_nobody_without_a_right_makes_us_call_an_address(store, people, there):
    url, asked = there
    with pytest.raises(Forbidden, match="--right servers"):
        register(store, people.bob, body(url))
    with pytest.raises(Forbidden, match="observer"):
        register(store, people.watcher, body(url))
    assert asked == []
    trusted = replace(people.bob, rights=frozenset({"servers"}))
    with pytest.raises(Forbidden, match=r"private address 127\.0\.0\.1"):
        register(store, trusted, body(url))
    assert asked == []
    made = register(store, trusted, body(url), "127.0.0.0/8")
    with pytest.raises(Forbidden, match="private address"):  # it is known, but nobody who may has named it
        register(store, people.ann, body(url) | {"name": "near"})
    register(store, people.boss, body(url))
    # From now on it is the organisation's, and nobody else's.
    mine = register(store, people.ann, body(url) | {"name": "near"})
    assert mine.server["id"] == made.server["id"]
    assert deployments.create(store, people.ann, mine.id, "far").server.url == url
    with pytest.raises(Forbidden):
        register(store, people.ann, body(url, "mlflow", {"type": "Regression"}) | {"name": "near"})
    eves = register(store, people.eve, body(url))
    assert eves.server["id"] != made.server["id"]


def test_foreign_servers_are_nobodys_default(store, people, there):
    url, _ = there
    package = register(store, people.boss, body(url))
    with store.read() as connection:
        assert servers.default_in(connection, people.boss) is None
    assert deployments.create(store, people.boss, package.id, "far").server.name == f"drum {url}"


@one_database
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "dram"}, InvalidRequest, "one of drum, mlflow, v2, datarobot"),
        ({"kind": "scoreline"}, InvalidRequest, "one of drum"),
        ({"options": {"maxRow": "1"}}, InvalidRequest, "did you mean `maxRows`"),
        ({"options": {"maxRows": 1}}, InvalidRequest, "holds texts"),
        ({"options": {"key": "x"}}, InvalidRequest, "no option `key`"),
        ({"key": "x\ny"}, InvalidRequest, "printable ASCII"),
        ({"url": "http://169.254.169.254"}, Forbidden, "169.254.169.254, which is no address"),
        ({"url": "http://no.such.host.invalid"}, InvalidRequest, "cannot be found"),
        ({"url": "ftp://x"}, InvalidRequest, "address"),
        ({"url": "http://user:pw@x"}, InvalidRequest, "no user or password"),
        ({"url": None}, InvalidRequest, "server.url"),
        ({"more": 1}, InvalidRequest, "no field `server.more`"),
        ({"url": "http://127.0.0.1:9"}, Conflict, "does not answer"),
        ({"kind": "v2", "options": {"model": "other"}}, Conflict, "check the address"),
        ({"kind": "v2"}, InvalidRequest, "model=NAME"),
        ({"kind": "mlflow"}, InvalidRequest, "does not say what it predicts"),
    ],
)
def test_what_is_refused(store, people, there, change, error, words):
    document = body(there[0])
    document["server"] |= change
    with pytest.raises(error, match=words):
        register(store, people.boss, document)


@one_database
@pytest.mark.parametrize(
    ("kind", "path", "told", "words"),
    [
        ("drum", "/info/", DRUM | {"negativeClassLabel": "yes"}, "names the class 'yes' twice"),
        ("drum", "/info/", DRUM | {"targetType": "multiclass", "classLabels": ["a", "b", "a"]}, "class 'a' twice"),
        ("mlflow", "/version", "<html>Welcome</html>", "no MLflow server"),
        ("v2", "/v2/models/m", {"inputs": [{"name": None}, {"name": ["a"]}, 5]}, "does not name the input columns"),
        ("v2", "/v2/models/m", {"inputs": 5, "outputs": "x"}, "does not name the input columns"),
        ("v2", "/v2/models/m", {"inputs": V2["inputs"][:1] * 2}, "names the input column 'age' twice"),
    ],
    ids=["labels", "more labels", "another program", "no names", "no list", "a name twice"],
)
def test_what_a_server_says_has_to_make_sense(store, people, there, monkeypatch, kind, path, told, words):
    monkeypatch.setitem(KNOWN, path, told)
    options = {"model": "m"} if kind == "v2" else {}
    target = {} if kind == "drum" else {"type": "Binary", "classNames": ["a", "b"]}
    with pytest.raises((InvalidRequest, Conflict), match=words):
        register(store, people.boss, body(there[0], kind, target, options))


def test_a_deployment_moves_to_the_server_of_its_new_model_and_back(store, people, there, inspected):
    at_home = {"name": "here", "target": {"name": "late", "type": "Binary"}}
    at_home["modelDescription"] = {"location": f"artifact:{inspected(people.boss)}"}
    near = packages.create_from_json(store, people.boss, at_home)
    far = register(store, people.boss, body(there[0]))
    made = deployments.create(store, people.boss, near.id, "flights")
    moved, _ = replacement.replace(store, people.boss, made.id, package_id=far.id, reason="OTHER")
    assert (moved.server.kind, moved.server.url) == ("drum", there[0])
    back, _ = replacement.replace(store, people.boss, made.id, package_id=near.id, reason="OTHER")
    assert back.server == made.server


def test_labels_that_the_server_does_not_know_are_refused(store, people, there):
    with pytest.raises(InvalidRequest, match="classes are 'no', 'yes'"):
        register(store, people.boss, body(there[0], target={"classNames": ["0", "1"]}))
    package = register(store, people.boss, body(there[0], target={"classNames": ["yes", "no"]}))
    assert package.class_labels == ("no", "yes")


def test_an_artefact_and_a_server_are_one_too_many(store, people, there):
    with pytest.raises(InvalidRequest, match="one of them"):
        register(store, people.boss, body(there[0], modelDescription={"location": "artifact:" + "0" * 64}))


def test_a_key_is_sealed_and_opened_for_runs_only(store, people, there):
    document = body(there[0])
    document["server"] |= {"key": "s3cret-key", "datarobotKey": "s3cond-key"}
    package = register(store, people.boss, document)
    assert "s3c" not in json.dumps(package.server)
    assert "s3c" not in repr(package)
    server = servers.resolve(store, package.server["id"])
    remote, owner = packages.server_of(store, package.id)
    address = foreign.address_of(server, remote, owner, outside_of(store))
    assert (address.token, address.datarobot_key) == ("s3cret-key", "s3cond-key")
    assert "s3c" not in repr(address)
    with pytest.raises(NotFound):
        foreign.address_of(server, remote, people.ann.user_id, outside_of(store))
