"""The one line of a server's refusal that helps a reader. Stack traces and rows that a server repeats never get out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from scoreline import redact
from scoreline.errors import one_line
from scoreline.scorers.transport import Reply

_LENGTH = 300
_MOST_PLAIN = 20_000
# The last line of a trace: `package.module.SomeError: what`.
_RAISED = re.compile(r"^\s*(?:[A-Za-z_][\w.]*\.)?([A-Za-z_]\w*(?:Error|Exception|Interrupt)): ?(.*)$", re.MULTILINE)
# A value's repr within a sentence: `Exception: SomeError("what")`.
_SHOWN = re.compile(r"([A-Za-z_]\w*(?:Error|Exception))\((['\"])(.*?)\2[,)]", re.DOTALL)
# These say something about the server's machine; all others are taken to be about the rows.
_MACHINE = frozenset(
    {
        "MemoryError",
        "OSError",
        "IOError",
        "ConnectionError",
        "ConnectionResetError",
        "ConnectionRefusedError",
        "BrokenPipeError",
        "TimeoutError",
        "ReadTimeoutError",
        "PermissionError",
        "FileNotFoundError",
        "ImportError",
        "ModuleNotFoundError",
        "SystemError",
        "CancelledError",
        "KeyboardInterrupt",
        "NotImplementedError",
    }
)
_OF_MEMORY = re.compile(r"out of memory|cannot allocate|bad_alloc", re.IGNORECASE)
_ABOUT_ROWS = re.compile(
    r"column|feature|dtype|pars(?:e|ing)|convert|sample\(s\)|categor|missing|input data|schema|NaN", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Reason:
    """`text`: one line. `data`: it blames the rows, as far as can be told."""

    text: str
    data: bool


def find(reply: Reply) -> Reason:
    """Read a refusal in any of the usual forms: JSON with a message, a plain text, a trace. Secrets are masked."""
    reason = _read(reply)
    return Reason(redact.mask(reason.text), reason.data)


def _read(reply: Reply) -> Reason:
    document = reply.document()
    told = next((document[key] for key in ("message", "error", "detail") if document.get(key)), None)
    if isinstance(told, dict):
        told = told.get("message") or told
    if told is not None and not isinstance(told, str):
        told = json.dumps(told)
    trace = document.get("stack_trace")
    if told is None and not document:
        told = _plain(reply)
    raised = _raised(trace) if isinstance(trace, str) else None
    raised = raised or _raised(told or "")
    if raised is not None:
        name, text = raised
        data = name not in _MACHINE and not _OF_MEMORY.search(text)
        return Reason(one_line(f"{name}: {text}" if text else name, _LENGTH), data)
    text = _cut(told or "")
    return Reason(text, bool(_ABOUT_ROWS.search(text)) and not _OF_MEMORY.search(text))


def _plain(reply: Reply) -> str:
    media = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return "" if media == "text/html" else redact.mask(reply.body.decode("utf-8", "replace"))[-_MOST_PLAIN:]


def _raised(text: str) -> tuple[str, str] | None:
    """Return the name and the first line of the last exception that a text tells of."""
    if "Traceback (most recent call last)" in text or "\n" in text:
        found = _RAISED.findall(text)
        if found:
            return found[-1][0], found[-1][1].strip()
    shown = _SHOWN.search(text)
    if shown is None:
        return None
    message = shown[3].replace("\\'", "'").replace('\\"', '"').split("\\n", 1)
    return shown[1], message[0].strip()


def _cut(text: str) -> str:
    """Drop what surrounds the reason: a trace, and rows that are shown before it."""
    text = text.split("Traceback (most recent call last)", 1)[0].split("\n  File ", 1)[0]
    text = text.rsplit("Error: ", 1)[-1] if "\n" in text else text
    return one_line(text.removeprefix("ERROR: "), _LENGTH)
