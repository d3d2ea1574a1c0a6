"""Packages whose model is on a server of another maker: who may name one, what is learned, what is kept."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scoreline.errors import Conflict, Forbidden, InvalidRequest, SetupError
from scoreline.registry import deployments, foreign, packages, servers
from scoreline.types import Feature, FeatureType, TargetType

DRUM = {"drumVersion": "1.18", "targetType": "binary", "negativeClassLabel": "no", "positiveClassLabel": "yes"}
V2 = {
    "name": "m",
    "inputs": [
        {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "n", "datatype": "INT64", "shape": [-1, 1]},
    ],
    "outputs": [{"name": "label"}, {"name": "probabilities"}],
}


@pytest.fixture
def there():
    """Address of a server that tells of its model as DRUM and V2 servers do; `asked` has the paths."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            known = {"/info/": DRUM, "/v2/models/m": V2, "/version": "3.1"}
            body = json.dumps(known.get(self.path, {})).encode()
            self.send_response(200 if self.path in known else 404)
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


def test_what_drum_says_is_kept(store, people, there):
    url, _ = there
    package = packages.create_from_json(
        store, people.boss, body(url + "/", options={"maxRows": "5", "concurrency": "3"})
    )
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
    assert packages.server_of(store, package.id) == package.server
    assert len(packages.scorable(package)) == 64
    with pytest.raises(InvalidRequest, match="batch jobs can"):
        packages.serving_document(package)
    again = packages.create_from_json(store, people.boss, body(url))
    assert again.server["id"] == package.server["id"]
    assert (again.registered_model_id, again.version) == (package.registered_model_id, 2)


def test_what_v2_says_is_kept(store, people, there):
    url, _ = there
    target = {"type": "Binary", "classNames": ["a", "b"]}
    package = packages.create_from_json(store, people.boss, body(url, "v2", target, options={"model": "m"}))
    assert package.features == (Feature("age", FeatureType.NUMERIC), Feature("n", FeatureType.INTEGER, nullable=False))
    assert package.server["options"] == {
        "model": "m", "output": "probabilities", "datatypes": '{"age": "FP32", "n": "INT64"}',
    }  # fmt: skip


def test_columns_that_were_named_are_kept(store, people, there):
    url, _ = there
    features = {"n": "integer", "x": "numeric", "t": "text"}
    package = packages.create_from_json(
        store, people.boss, body(url, "mlflow", {"type": "Regression"}, features=features)
    )
    assert [(f.name, f.nullable) for f in package.features] == [("n", False), ("x", True), ("t", True)]


def test_nobody_without_a_right_makes_us_call_an_address(store, people, there):
    url, asked = there
    with pytest.raises(Forbidden, match="--right servers"):
        packages.create_from_json(store, people.bob, body(url))
    with pytest.raises(Forbidden, match="observer"):
        packages.create_from_json(store, people.watcher, body(url))
    assert asked == []
    trusted = replace(people.bob, rights=frozenset({"servers"}))
    made = packages.create_from_json(store, trusted, body(url))
    # From now on it is the organisation's, and nobody else's.
    mine = packages.create_from_json(store, people.ann, body(url) | {"name": "near"})
    assert mine.server["id"] == made.server["id"]
    assert deployments.create(store, people.ann, mine.id, "far").server.url == url
    with pytest.raises(Forbidden):
        packages.create_from_json(store, people.ann, body(url, "mlflow", {"type": "Regression"}) | {"name": "near"})
    with pytest.raises(Forbidden, match="admin"):
        packages.create_from_json(store, trusted, body(url, options={"key": "PROD"}))
    eves = packages.create_from_json(store, people.eve, body(url))
    assert eves.server["id"] != made.server["id"]


def test_foreign_servers_are_nobodys_default(store, people, there):
    url, _ = there
    package = packages.create_from_json(store, people.boss, body(url))
    with store.read() as connection:
        assert servers.default_in(connection, people.boss) is None
    assert deployments.create(store, people.boss, package.id, "far").server.name == f"drum {url}"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "dram"}, InvalidRequest, "one of drum, mlflow, v2, datarobot"),
        ({"kind": "scoreline"}, InvalidRequest, "one of drum"),
        ({"options": {"maxRow": "1"}}, InvalidRequest, "did you mean `maxRows`"),
        ({"options": {"maxRows": 1}}, InvalidRequest, "holds texts"),
        ({"options": {"key": "../x"}}, InvalidRequest, "capital letters"),
        ({"url": "ftp://x"}, InvalidRequest, "address"),
        ({"url": "http://user:pw@x"}, InvalidRequest, "no user or password"),
        ({"url": None}, InvalidRequest, "server.url"),
        ({"more": 1}, InvalidRequest, "no field `server.more`"),
        ({"url": "http://127.0.0.1:9"}, Conflict, "does not answer"),
        ({"kind": "v2", "options": {"model": "other"}}, Conflict, "check the address"),
        ({"kind": "v2"}, InvalidRequest, "model=NAME"),
        ({"kind": "mlflow"}, InvalidRequest, "does not say what it predicts"),
        ({"options": {"key": "MISSING"}}, SetupError, "SCORELINE_SERVER_KEY_MISSING"),
    ],
)
def test_what_is_refused(store, people, there, change, error, words):
    document = body(there[0])
    document["server"] |= change
    with pytest.raises(error, match=words):
        packages.create_from_json(store, people.boss, document)


def test_labels_that_the_server_does_not_know_are_refused(store, people, there):
    with pytest.raises(InvalidRequest, match="classes are 'no', 'yes'"):
        packages.create_from_json(store, people.boss, body(there[0], target={"classNames": ["0", "1"]}))
    package = packages.create_from_json(store, people.boss, body(there[0], target={"classNames": ["yes", "no"]}))
    assert package.class_labels == ("no", "yes")


def test_an_artefact_and_a_server_are_one_too_many(store, people, there):
    with pytest.raises(InvalidRequest, match="one of them"):
        packages.create_from_json(
            store, people.boss, body(there[0], modelDescription={"location": "artifact:" + "0" * 64})
        )


def test_a_key_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("SCORELINE_SERVER_KEY_PROD", "s3cret")
    monkeypatch.setenv("SCORELINE_SERVER_KEY_PROD_DATAROBOT", "s3cond")
    address = foreign.address_of("datarobot", "https://x", {"key": "PROD"})
    assert (address.token, address.datarobot_key) == ("s3cret", "s3cond")
    assert "s3c" not in repr(address)
