"""JSON in, strictly, and JSON out as the official client reads it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scoreline.api.problems import HttpProblem
from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

MOST_BODY_BYTES = 1 << 20
DEEPEST = 32
_MOST_DIGITS = 100
_BODY_SECONDS = 30.0
_LONGEST_SHOWN = 100


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

    Raises HttpProblem 408 for a body that does not come, 415 for another media type or a compressed one, and 400 for
    what is not strict JSON; InvalidRequest for a body that is too large, too deep or no object.
    """
    kind = media_type(request.headers.get("content-type"))
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _body(request)
    except TimeoutError:
        raise HttpProblem(408, f"The request's body did not come within {_BODY_SECONDS:g} s: send it again.") from None
    if not body:
        return {}
    if kind not in ("application/json", ""):
        raise HttpProblem(
            415, f"The request's body is {kind[:100]!r}: send JSON with `Content-Type: application/json`."
        )
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise HttpProblem(415, f"The request's body is compressed with {coding[:50]!r}: send JSON as it is.")
    document = parse(bytes(body))
    if not isinstance(document, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    return document


async def _body(request: Request) -> bytearray:
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MOST_BODY_BYTES:
            raise InvalidRequest(f"The request's body is too large: at most {MOST_BODY_BYTES} bytes of JSON are read.")
    return body


def parse(body: bytes) -> Any:
    """Parse JSON: no NaN, no key twice, no endless nesting, no number or text that others could not read.

    Raises HttpProblem 400, which says where, or InvalidRequest for nesting.
    """
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=lambda word: _Flaw(f"{word} is not a JSON number"),
            parse_int=_integer,
            parse_float=_float,
        )
    except UnicodeDecodeError as exc:
        raise HttpProblem(400, f"The request's body is not UTF-8 text: byte {exc.start} cannot be read.") from exc
    except ValueError as exc:
        raise HttpProblem(400, f"The request's body is not valid JSON: {exc}.") from exc
    except RecursionError:
        raise _too_deep() from None
    for where, reason in _flaws(document, "", DEEPEST):
        raise HttpProblem(400, f"The request's body is not valid JSON: {where or 'the body'} {reason}.")
    return document


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands for a value that is not JSON, until its place is known. `key`: the one that is there twice."""

    reason: str
    key: str | None = None


def _flaws(value: Any, where: str, levels: int) -> Iterator[tuple[str, str]]:
    """Yield place and reason of each flaw. Raises InvalidRequest for nesting deeper than `levels`."""
    if isinstance(value, _Flaw):
        yield where if value.key is None else _inside(where, value.key), value.reason
    elif isinstance(value, str):
        if reason := _unreadable(value):
            yield where, reason
    elif isinstance(value, dict | list):
        if levels == 0:
            raise _too_deep()
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            place = _inside(where, str(key))
            if isinstance(key, str) and (reason := _unreadable(key)):
                yield place, f"as a key {reason}"
            yield from _flaws(inner, place, levels - 1)


def _inside(where: str, key: str) -> str:
    """Return the place of a key, so that it can be shown."""
    shown = key[:_LONGEST_SHOWN].encode("ascii", "backslashreplace").decode()
    return f"{where[-_LONGEST_SHOWN:]}.{shown}" if where else shown


def _unreadable(text: str) -> str | None:
    """Say why a text cannot be stored or sent on, None when it can."""
    if "\0" in text:
        return "holds a NUL character"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair"
    return None


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The request's body is nested too deeply: at most {DEEPEST} levels are read.")


def _object(pairs: list[tuple[str, Any]]) -> JsonObject | _Flaw:
    found: JsonObject = {}
    for key, value in pairs:
        if key in found:
            return _Flaw("is there twice", key)
        found[key] = value
    return found


def _integer(digits: str) -> int | _Flaw:
    return _Flaw(f"is a number of {len(digits)} digits") if len(digits) > _MOST_DIGITS else int(digits)


def _float(digits: str) -> float | _Flaw:
    if len(digits) > _MOST_DIGITS:
        return _Flaw(f"is a number of {len(digits)} digits")
    value = float(digits)
    return value if math.isfinite(value) else _Flaw(f"is too large a number: {digits[:30]}")
