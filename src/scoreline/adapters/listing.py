"""Which files a key means: one file, all below a folder, or all that match a pattern."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from scoreline.adapters.files import FileInfo, Files
from scoreline.errors import SourceError
from scoreline.rows import arrow
from scoreline.types import JsonObject

MOST_FILES = 100_000
_SIGNS = re.compile(r"[*?\[]")
_VALUES = re.compile(r"_[^=]*=")
_AT_ONCE = 10_000


def is_many(key: str) -> bool:
    """Say whether a key means a folder (it ends in `/`) or a pattern (it has `*`, `?` or `[` in it)."""
    return key.endswith("/") or _SIGNS.search(key) is not None


def listed(files: Files, key: str) -> list[FileInfo]:
    """Return the files that a key means, sorted by their keys.

    In a pattern `*` and `?` stand for anything but `/`, `**` for anything. Of many, those are left out that are empty
    marks of a folder, and those whose name, or that of a folder on the way to them, begins with `_` or `.`. Raises
    SourceError when there is none.
    """
    if not is_many(key):
        return [files.stat(key)]
    if not key.endswith("/"):
        with suppress(SourceError):  # there may be a file of just that name
            return [files.stat(key)]
    found = _SIGNS.search(key)
    prefix = key if found is None else key[: found.start()]
    folder = prefix[: prefix.rfind("/") + 1]
    wanted = _expression(key) if found is not None else None
    infos: list[FileInfo] = []
    there = files.list(prefix)
    while some := list(itertools.islice(there, _AT_ONCE)):
        try:
            infos += _matching([info for info in some if not _hidden(info.key[len(folder) :])], wanted)
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"Reading the intake failed: the pattern {files.shown(key)} cannot be read ({str(error)[:100]}); "
                "mend it, or name a folder."
            ) from error
        if len(infos) > MOST_FILES:
            raise SourceError(
                f"Reading the intake failed: {files.shown(key)} means more than {MOST_FILES} files; name fewer."
            )
    if not infos:
        raise SourceError(
            f"Reading the intake failed: there is no file that {files.shown(key)} means; files whose names begin with "
            "'_' or '.' do not count."
        )
    return sorted(infos, key=lambda info: info.key)


def identity(infos: Sequence[FileInfo]) -> JsonObject:
    """Return what tells these files from any others."""
    if len(infos) == 1:
        return {"bytes": infos[0].size, "version": infos[0].version}
    digest = hashlib.sha256()
    for info in infos:
        digest.update(repr((info.key, info.size, info.version)).encode())
    return {"bytes": sum(info.size for info in infos), "files": len(infos), "sha256": digest.hexdigest()}


def _matching(infos: Sequence[FileInfo], pattern: str | None) -> Sequence[FileInfo]:
    """Return those whose keys match. Arrow's expressions take linear time, whatever the pattern and the keys are."""
    if pattern is None or not infos:
        return infos
    found = pc.match_substring_regex(arrow.texts([info.key for info in infos]), pattern)
    return list(itertools.compress(infos, found.to_pylist()))


def _hidden(path: str) -> bool:
    """Say whether a file is none of the data; `_x=1` is a folder of values of the column `_x`."""
    if path.endswith(("/", ".crc")) or not path:
        return True
    *folders, name = path.split("/")
    marks = (part for part in folders if not _VALUES.match(part))
    return any(part.startswith(("_", ".")) for part in (*marks, name))


def _expression(key: str) -> str:
    """Return the pattern as an expression; a bracket that is never closed stands for itself. Raises SourceError."""
    out, at = "", 0
    while at < len(key):
        sign = key[at]
        if key.startswith("**", at):
            out, at = out + ".*", at + 2
        elif sign == "*":
            out, at = out + "[^/]*", at + 1
        elif sign == "?":
            out, at = out + "[^/]", at + 1
        elif sign == "[" and (end := key.find("]", at + 2)) > 0:
            inside = key[at + 1 : end]
            inverted = inside.startswith("!")
            body = re.escape(inside[1:] if inverted else inside).replace(r"\-", "-")
            out, at = out + (f"[^/{body}]" if inverted else f"[{body}]"), end + 1
        else:
            out, at = out + re.escape(sign), at + 1
    return rf"(?s)\A(?:{out})\z"
