"""Asked are small HTTP servers of the tests' own, who say what a prediction server says, and what a broken one says."""

import socket
import threading
from dataclasses import replace

import pytest

from scoreline.access import tokens
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotAuthenticated, NotFound
from scoreline.registry import artifacts, packages, servers
from scoreline.registry.inspect import inspect
from scoreline.registry.records import info_to_json
from tests.support.fixtures import one_database
from tests.unit.registry.conftest import BINARY, body

GOOD = (200, {"info": info_to_json(BINARY), "check": {"outputs": 2}})


def dead_server(store, people, name="default"):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers.upsert(store, people.predictor, name, f"http://127.0.0.1:{port}", 1, slots=1)


def test_what_the_model_says_is_kept(store, people, inspected, predictor):
    server = predictor(GOOD)
    sha256 = inspected(people.ann, None, trusted=True)
    assert inspect(store, people.ann, sha256, sample={"age": "5"}).info == BINARY
    assert artifacts.get(store, people.bob, sha256).info == BINARY
    ((path, request, secret, caller),) = server.asked
    assert (path, request) == (
        "/scoreline/v1/inspect",
        {"artifact": sha256, "trusted": True, "sample": {"age": "5"}},
    )
    assert (caller.kind, caller.rights, caller.user_id) == ("service", {"inspect"}, people.ann.user_id)
    assert caller.expires_at is not None
    with pytest.raises(NotAuthenticated):
        tokens.authenticate(store, secret)


def test_registration_inspects_what_nobody_has_looked_at(store, people, inspected, predictor):
    server = predictor(GOOD)
    sha256 = inspected(people.ann, None)
    assert packages.create_from_json(store, people.ann, body(sha256)).class_labels == ("no", "yes")
    packages.create_from_json(store, people.ann, body(sha256))
    assert len(server.asked) == 1


def test_the_number_of_outputs_is_what_came_out(store, people, inspected, predictor):
    silent = replace(BINARY, target_type=None, class_labels=None, outputs=1)
    predictor((200, {"info": info_to_json(silent), "check": {"outputs": 3}}))
    assert inspect(store, people.ann, inspected(people.ann, None)).info == replace(silent, outputs=3)


def test_without_a_prediction_server_the_command_is_named(store, people, inspected, monkeypatch):
    sha256 = inspected(people.ann, None)
    monkeypatch.setattr("scoreline.registry.inspect._PAUSE_SECONDS", 60.0)  # longer than it waits
    with pytest.raises(Conflict, match="`scoreline predictor`"):
        packages.create_from_json(store, people.ann, body(sha256))
    monkeypatch.undo()
    dead_server(store, people)
    with pytest.raises(Conflict, match=r"does not answer .*`scoreline predictor`"):
        inspect(store, people.ann, sha256, wait=0.1)


def test_a_server_that_makes_itself_known_a_little_later_is_waited_for(store, people, inspected, predictor):
    sha256 = inspected(people.ann, None)
    later = threading.Timer(0.3, lambda: predictor(GOOD))
    later.start()
    try:
        assert inspect(store, people.ann, sha256, wait=10).info == BINARY
    finally:
        later.join()


def test_another_server_answers_for_a_dead_one(store, people, inspected, predictor):
    dead_server(store, people)
    predictor(GOOD, name="spare")
    assert inspect(store, people.ann, inspected(people.ann, None), wait=0).info == BINARY


def test_a_busy_server_is_asked_again(store, people, inspected, predictor):
    server = predictor((503, {"message": "busy"}), GOOD)
    assert inspect(store, people.ann, inspected(people.ann, None), wait=5).info == BINARY
    assert len(server.asked) == 2


@one_database
@pytest.mark.parametrize(
    "case",
    [
        ((422, {"message": "The model 'm' cannot be used: it is damaged."}), InvalidRequest, "it is damaged"),
        ((503, {"message": "busy"}), Conflict, "is busy"),
        ((401, {"message": "who?"}), Conflict, r"answered 401 \(who\?\)"),
        ((500, b"<html>"), Conflict, "answered 500"),
        ((200, b"<html>"), Conflict, "answered 200"),
        ((200, []), Conflict, "answered 200"),
        ((200, {"info": {}, "check": {"outputs": 1}}), Conflict, "not understood"),
        ((200, {"info": GOOD[1]["info"], "check": 5}), Conflict, "not understood"),
        ((200, {"info": GOOD[1]["info"], "check": {"outputs": 3}}), InvalidRequest, "2 classes but gives 3 outputs"),
    ],
)
def test_a_bad_answer_is_told_and_nothing_is_kept(store, people, inspected, predictor, case):
    answer, error, words = case
    predictor(answer)
    sha256 = inspected(people.ann, None)
    with pytest.raises(error, match=words):
        inspect(store, people.ann, sha256, wait=0)
    assert artifacts.get(store, people.ann, sha256).info is None


def test_who_may_ask(store, people, inspected):
    sha256 = inspected(people.ann, None)
    with pytest.raises(Forbidden):
        inspect(store, people.watcher, sha256)
    with pytest.raises(NotFound):
        inspect(store, people.eve, sha256)
