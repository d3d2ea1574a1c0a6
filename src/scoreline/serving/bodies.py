"""Request bodies: read with a limit on size and patience, unpacked, taken out of a form."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from scoreline.connection import is_cut
from scoreline.errors import TooLarge
from scoreline.serving.web import HttpError

_STEP = 1 << 20
_FORM_OVERHEAD = 1 << 16


async def blocks(request: Request, limit: int, idle: float) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes.

    Raises TooLarge beyond `limit` bytes, at once when the length is announced; HttpError 408 when nothing comes for
    `idle` seconds, 400 when more came than was announced; ClientDisconnect.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    total = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle):
                block = await anext(stream)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise HttpError(408, f"The request body stopped coming for {idle:g} s.") from None
        if block:
            total += len(block)
            if total > limit:
                raise too_large(limit)
            yield block
    if is_cut(request.scope):
        raise HttpError(
            400,
            "The body is longer than its Content-Length says, so rows are missing: count bytes, not characters.",
        )


async def read(request: Request, limit: int, idle: float) -> bytes:
    """The whole body, unpacked when `Content-Encoding: gzip` says so; both sizes are limited. Raises as `blocks`."""
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in {"", "identity", "gzip", "x-gzip"}:
        raise HttpError(415, f"Content-Encoding {coding!r} is not supported; send gzip or none.")
    body = b"".join([block async for block in blocks(request, limit, idle)])
    return await asyncio.to_thread(gunzip, body, limit) if coding.endswith("gzip") else body


def gunzip(body: bytes, limit: int) -> bytes:
    """Unpack gzip, one member or several. Raises TooLarge beyond `limit` bytes, HttpError 422 for what is not gzip."""
    parts: list[bytes] = []
    total = 0
    rest = body
    try:
        while rest:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                part = member.decompress(rest, min(_STEP, limit + 1 - total))
                rest = member.unconsumed_tail
                total += len(part)
                if total > limit:
                    raise too_large(limit)
                if not part and not rest and not member.eof:
                    raise HttpError(422, "The gzip body ends too early.")
                parts.append(part)
            rest = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise HttpError(422, f"The body is not gzip, which Content-Encoding announces ({error}).") from None
    return b"".join(parts)


async def form_file(body: bytes, content_type: str, limit: int) -> tuple[bytes, str, str]:
    """The field `file` of a multipart form: its bytes, media type and file name. Raises HttpError 422."""

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        Headers({"content-type": content_type}), once(), max_files=1, max_fields=16, max_part_size=limit
    )
    try:
        form = await parser.parse()
    except (MultiPartException, HTTPException, KeyError) as error:
        detail = getattr(error, "message", "") or "no boundary"
        raise HttpError(422, f"The body is not a multipart form that can be read ({detail}).") from None
    try:
        field = form.get("file")
        if isinstance(field, UploadFile):
            return await field.read(), field.content_type or "", field.filename or ""
        if isinstance(field, str):
            return field.encode(), "text/csv", ""
    finally:
        await form.close()
    raise HttpError(422, 'The multipart form has no field "file".')


def too_large(limit: int) -> TooLarge:
    """The refusal for bodies beyond `limit` bytes."""
    return TooLarge(f"The request body is larger than the limit of {limit:,} bytes; send the rows in several requests.")
