"""The log lines of all parts, on their way to the terminal and to a file."""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

_FILE_BYTES = 10 << 20
_FILES = 5
_HANDLED = ("timestamp", "level", "event", "process", "exception")
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class LogView:
    """Takes lines from several threads. People at a terminal see them rendered, everyone else as they are: JSON."""

    def __init__(self, folder: Path, *, level: str = "INFO", stream: TextIO | None = None) -> None:
        """Write to `folder`/scoreline.log (10 MB, the last five kept) and to `stream` (standard error)."""
        self._out = stream or sys.stderr
        self._level = _LEVELS.get(level.upper(), 20)
        self._pretty = self._out.isatty()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = _LineFile(folder / "scoreline.log", maxBytes=_FILE_BYTES, backupCount=_FILES - 1, encoding="utf-8")

    def line(self, part: str, text: str) -> None:
        """Show one line that a part wrote."""
        event = _parsed(text)
        shown = text if event is not None else f"[{part}] {text}"
        with self._lock:
            self._file.emit(logging.LogRecord(part, logging.INFO, "", 0, shown, None, None))
            self._print(_rendered(part, event) if event is not None and self._pretty else shown)

    def say(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Show what the supervisor itself has to say."""
        if _LEVELS[level.upper()] >= self._level:
            now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            record = {**fields, "event": event, "level": level, "timestamp": now, "process": "serve"}
            self.line("serve", json.dumps(record, ensure_ascii=False, default=str))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _print(self, text: str) -> None:
        try:
            self._out.write(text + "\n")
            self._out.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more (a closed terminal): the file has it


class _LineFile(RotatingFileHandler):
    """A log file whose own failures (a full disk) must not stop the server."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the library's name
        """Drop the line."""


def _parsed(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _rendered(part: str, event: dict[str, object]) -> str:
    time = str(event.get("timestamp", ""))[11:19]
    level = str(event.get("level", "info"))
    mark = "" if level in ("info", "debug") else f"{level}: "
    rest = " ".join(f"{name}={value}" for name, value in event.items() if name not in _HANDLED)
    trace = f"\n{event['exception']}" if "exception" in event else ""
    return f"{time} [{event.get('process', part)}] {mark}{event['event']}{' ' if rest else ''}{rest}{trace}"
