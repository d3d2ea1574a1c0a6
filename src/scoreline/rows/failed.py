"""The lines of an errors file: which rows failed, why, and what they were."""

from __future__ import annotations

from scoreline.errors import one_line

# Of one source row; more of it would not help anybody.
MOST_ROW_CHARACTERS = 1 << 20
_REASON_LENGTH = 500

HEADER = b"row_number,reason,source_row\n"


def line(number: int, reason: str, source: str) -> bytes:
    """Return the CSV record of one failed row: UTF-8, comma, quotes doubled, whatever the source's own dialect is.

    number: the row's place among the data rows, from 1. source: its own text, which stays one field whatever is in it.
    """
    shown = source if len(source) <= MOST_ROW_CHARACTERS else source[: MOST_ROW_CHARACTERS - 1] + "…"
    return f"{number},{_quoted(one_line(reason, _REASON_LENGTH))},{_quoted(shown)}\n".encode("utf-8", "replace")


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
