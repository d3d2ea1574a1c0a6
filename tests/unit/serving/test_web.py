from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from scoreline import errors
from scoreline.serving.web import HANDLERS, HttpError, RequestIds


def answer_to(error: Exception, **headers: str) -> httpx2.Response:
    async def fail(_request):
        raise error

    app = RequestIds(Starlette(routes=[Route("/", fail)], exception_handlers=HANDLERS))

    async def ask():
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get("/", headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (errors.NotAuthenticated("who"), 401, {"message": "who"}),
        (errors.Forbidden("no"), 403, {"message": "no"}),
        (errors.NotFound("größe"), 404, {"message": "größe"}),
        (errors.TooLarge("big"), 413, {"message": "big"}),
        (errors.InvalidRequest("bad", "field"), 422, {"message": "bad"}),
        (errors.DataRefused("row", 3), 422, {"message": "row", "row": 3}),
        (errors.DataRefused("rows"), 422, {"message": "rows"}),
        (errors.SourceError("header"), 422, {"message": "header"}),
        (errors.ModelBroken("model"), 422, {"message": "model", "reason": "model"}),
        (errors.ServerUnavailable("gone"), 502, {"message": "gone"}),
        (errors.Overloaded("busy", 7), 503, {"message": "busy"}),
        (HttpError(415, "what"), 415, {"message": "what"}),
        (errors.SetupError("odd"), 500, {"message": "odd"}),
    ],
)
def test_errors_have_one_shape(error, status, body):
    response = answer_to(error)
    assert (response.status_code, response.json()) == (status, body)
    assert response.headers["content-type"] == "application/json"
    assert response.content.isascii()
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers.get("retry-after") == ("7" if status == 503 else None)


def test_an_unexpected_error_tells_nothing_of_itself(capsys):
    response = answer_to(RuntimeError("secret detail"))
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert "secret" not in response.text


@pytest.mark.parametrize("given", ["a b", "x" * 200, 'a"b'])
def test_odd_request_ids_are_replaced(given):
    assert answer_to(errors.NotFound("no"), **{"X-Request-Id": given}).headers["x-request-id"] != given
    assert answer_to(errors.NotFound("no"), **{"X-Request-Id": "trace:1"}).headers["x-request-id"] == "trace:1"
