"""JSON in, strictly, and JSON out as the official client reads it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import Response

from scoreline.api.problems import HttpProblem
from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

MOST_BODY_BYTES = 1 << 20
DEEPEST = 32
_MOST_DIGITS = 100


class JsonResponse(Response):
    """A JSON answer: ASCII only, and a content type without parameters, which the client compares as a whole."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the document's bytes."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def media_type(content_type: str | None) -> str:
    """Return the media type of a Content-Type header in lower case, without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


async def json_body(request: Request) -> JsonObject:
    """Read the request's body, a JSON object; an empty body is an empty object.

    Raises HttpProblem 415 for another media type and 400 for what is not strict JSON; InvalidRequest for a body that is
    too large, too deep or no object.
    """
    kind = media_type(request.headers.get("content-type"))
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MOST_BODY_BYTES:
            raise InvalidRequest(f"The request's body is too large: at most {MOST_BODY_BYTES} bytes of JSON are read.")
    if not body:
        return {}
    if kind not in ("application/json", ""):
        raise HttpProblem(415, f"The request's body is {kind!r}: send JSON with `Content-Type: application/json`.")
    document = parse(bytes(body))
    if not isinstance(document, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    return document


def parse(body: bytes) -> Any:
    """Parse JSON: no NaN, no key twice, no endless nesting. Raises HttpProblem 400, or InvalidRequest for nesting."""
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except UnicodeDecodeError as exc:
        raise HttpProblem(400, f"The request's body is not UTF-8 text: byte {exc.start} cannot be read.") from exc
    except ValueError as exc:
        raise HttpProblem(400, f"The request's body is not valid JSON: {exc}.") from exc
    except RecursionError:
        document = None
        too_deep = True
    else:
        too_deep = _deeper(document, DEEPEST)
    if too_deep:
        raise InvalidRequest(f"The request's body is nested too deeply: at most {DEEPEST} levels are read.")
    return document


def _deeper(value: Any, levels: int) -> bool:
    """Say whether arrays and objects are nested deeper than `levels`."""
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return False
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    found: JsonObject = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:100]!r} is there twice")
        found[key] = value
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:30]} is too large")
    return value
