"""Secrets that are in use in this process, so that no text that leaves it shows one: job logs, reasons, process logs.

Masking goes by value, since nobody can tell in which sentence of which library a key turns up.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

MASK = "[redacted]"
# Shorter ones are masked where they stand as a word of their own only: else every text would be full of masks.
_SHORT = 6

_lock = threading.Lock()
_known: Counter[str] = Counter()
_pattern: re.Pattern[str] | None = None


@contextmanager
def hiding(values: Iterable[str]) -> Iterator[None]:
    """Have `mask` hide these values, in every thread, until the block ends; empty ones are left out."""
    mine = [value for value in values if value]
    _change(mine, 1)
    try:
        yield
    finally:
        _change(mine, -1)


def mask(text: str) -> str:
    """Return the text with every secret in use replaced, also where it is written as JSON, in a URL or as Base64."""
    pattern = _pattern
    return text if pattern is None else pattern.sub(MASK, text)


def texts(document: object) -> Iterator[str]:
    """Yield every text in a document of JSON values: what a secret document has to hide."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from texts(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from texts(value)


def _change(values: list[str], by: int) -> None:
    global _pattern  # noqa: PLW0603 -- one for the process, as the log is
    if not values:
        return
    with _lock:
        for value in values:
            _known[value] += by
        for value in [value for value, count in _known.items() if count <= 0]:
            del _known[value]
        shapes = sorted({shape for value in _known for shape in _shapes(value)}, key=len, reverse=True)
        _pattern = re.compile("|".join(map(_expression, shapes))) if shapes else None


def _shapes(value: str) -> set[str]:
    plain = {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe="", errors="replace"),
        base64.b64encode(value.encode("utf-8", "surrogatepass")).decode(),
    }
    # What stands in an error's text is written once more as JSON by the log.
    return plain | {json.dumps(shape)[1:-1] for shape in plain}


def _expression(shape: str) -> str:
    escaped = re.escape(shape)
    return rf"(?<!\w){escaped}(?!\w)" if len(shape) < _SHORT else escaped
