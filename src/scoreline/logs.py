"""The log of a process: one line an event, JSON unless somebody watches at a terminal; see `configure`."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from scoreline import redact
from scoreline.errors import SetupError
from scoreline.settings import Settings

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def configure(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Send structlog's events and those of the standard library to `stream` (stderr), each with the process's name.

    Tracebacks never show local variables, which may hold secrets, and secrets in use are masked. Raises SetupError for
    an unknown level.
    """
    level = settings.log_level.upper()
    if level not in _LEVELS:
        raise SetupError(f"SCORELINE_LOG_LEVEL {settings.log_level[:20]!r} is not one of {', '.join(_LEVELS)}.")
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _with_process(process),
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_last_steps(out),
                _masked,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _last_steps(out: TextIO) -> list[structlog.typing.Processor]:
    if out.isatty():
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _masked(_logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict) -> str:
    """Work on the whole line, as it is written."""
    return redact.mask(str(line))


def _with_process(name: str) -> structlog.typing.Processor:
    def add(
        _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event.setdefault("process", name)
        return event

    return add
