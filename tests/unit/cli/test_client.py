"""Requests to a server, and how their failures are told."""

from __future__ import annotations

import json

import httpx2
import pytest

from scoreline import errors
from scoreline.cli.client import Api


def api(handle, url: str = "http://here:1/") -> Api:
    return Api(url, "secret-token", transport=httpx2.MockTransport(handle))


@pytest.mark.parametrize(
    "url", ["http://here:1", "http://here:1/", "http://here:1/api/v2", "http://here:1/api/v2/", "here:1"]
)
def test_any_spelling_of_the_address_will_do(url: str) -> None:
    seen = []
    with api(lambda request: seen.append(str(request.url)) or httpx2.Response(200, json={}), url) as server:
        server.get("version/")
    assert seen == ["http://here:1/api/v2/version/"]


def test_the_token_goes_along_and_nulls_do_not() -> None:
    seen = []
    with api(lambda request: seen.append(request) or httpx2.Response(200, json={})) as server:
        server.get("x/", search=None, limit=3)
    assert seen[0].headers["authorization"] == "Bearer secret-token"
    assert str(seen[0].url).endswith("x/?limit=3")


def test_without_a_token_nothing_is_sent() -> None:
    with pytest.raises(errors.NotAuthenticated, match="SCORELINE_TOKEN"):
        Api("http://here:1", None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.NotAuthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (422, errors.InvalidRequest),
        (400, errors.UserError),
        (500, errors.ServerUnavailable),
        (503, errors.ServerUnavailable),
    ],
)
def test_the_servers_own_sentence_is_the_error(status: int, kind: type[errors.ScorelineError]) -> None:
    with (
        api(lambda _: httpx2.Response(status, json={"message": "Because of this."})) as server,
        pytest.raises(kind) as caught,
    ):
        server.post("x/", {})
    assert caught.value.message == "Because of this."


def test_an_error_without_a_sentence_says_what_was_asked() -> None:
    with (
        api(lambda _: httpx2.Response(502, text="<html>")) as server,
        pytest.raises(errors.ServerUnavailable, match="answered 502 to GET /api/v2/x/"),
    ):
        server.get("x/")


def test_what_is_no_scoreline_is_said() -> None:
    with (
        api(lambda _: httpx2.Response(200, text="<html>hello</html>")) as server,
        pytest.raises(errors.ServerUnavailable, match="does not answer like a Scoreline server"),
    ):
        server.get("version/")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx2.ConnectError("refused"), "No server answers at http://here:1"),
        (httpx2.ReadTimeout("slow"), "did not answer in time"),
        (httpx2.RemoteProtocolError("cut"), "broke off: cut"),
    ],
)
def test_a_broken_connection_is_a_sentence_without_the_token(error: Exception, words: str) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    with api(fail) as server, pytest.raises(errors.ServerUnavailable, match=words) as caught:
        server.get("x/")
    assert "secret-token" not in caught.value.message


def test_pages_follow_the_servers_links() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if "offset=2" in str(request.url):
            return httpx2.Response(200, json={"data": [{"n": 3}], "next": None})
        return httpx2.Response(200, json={"data": [{"n": 1}, {"n": 2}], "next": "http://here:1/api/v2/x/?offset=2"})

    with api(answer) as server:
        assert [item["n"] for item in server.pages("x/")] == [1, 2, 3]


@pytest.mark.parametrize("length", [None, 6])
def test_an_upload_is_sent_as_it_comes(length: int | None) -> None:
    seen = {}

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen["body"], seen["headers"] = request.read(), request.headers
        return httpx2.Response(202)

    with api(answer) as server:
        server.upload("PUT", "x/", iter([b"abc", b"def"]), content_type="text/csv", length=length)
    assert seen["body"] == b"abcdef"
    assert seen["headers"]["content-type"] == "text/csv"
    assert seen["headers"].get("content-length") == (None if length is None else "6")
    assert ("transfer-encoding" in seen["headers"]) == (length is None)


def test_a_download_comes_in_pieces_and_its_refusal_in_words() -> None:
    with (
        api(lambda _: httpx2.Response(200, content=iter([b"a,b\n", b"1,2\n"]))) as server,
        server.download("x/") as pieces,
    ):
        assert b"".join(pieces) == b"a,b\n1,2\n"
    refusal = json.dumps({"message": "It was aborted."})
    with (
        api(lambda _: httpx2.Response(422, content=refusal)) as server,
        pytest.raises(errors.InvalidRequest, match=r"It was aborted\."),
        server.download("x/"),
    ):
        pass
