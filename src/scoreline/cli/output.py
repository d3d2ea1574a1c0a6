"""What commands print: sentences for people on standard error, answers and JSON on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import typer

from scoreline.types import JsonObject


def show_error(message: str) -> None:
    """Print one sentence about what went wrong."""
    typer.echo(f"Error: {message}", err=True)


def show_note(message: str) -> None:
    """Print one sentence that a person should read, even where the output is a file."""
    typer.echo(message, err=True)


def show_json(value: JsonObject | list[JsonObject]) -> None:
    """Print an answer for a program."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print an answer for a person: aligned columns, nothing cut, so that it can also be piped."""
    table = [tuple(columns), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(value: datetime | str | None) -> str:
    """Return a time as people read it, in their own time zone; empty for none."""
    if value is None:
        return ""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def is_terminal() -> bool:
    """True when a person watches standard error."""
    return sys.stderr.isatty()
