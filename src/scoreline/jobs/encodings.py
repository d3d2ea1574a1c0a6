"""Which of Python's codecs may be the encoding of a CSV text.

Only codecs that turn text into bytes and back. Those that unpack (zlib), execute escapes (unicode_escape) or serve
another purpose (idna) are left out, and a name that is not on the list is never handed to the codec machinery, which
would import a module of that name.
"""

from __future__ import annotations

import encodings
import functools
import pkgutil
from encodings.aliases import aliases

_NOT_FOR_CSV = frozenset(
    {"aliases", "charmap", "idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
)
_SAMPLE = "id,name\n"


@functools.cache
def canonical(name: str) -> str | None:
    """Return Python's own spelling of a text encoding (`Latin-1` is `latin_1`), None when it is not one for CSV."""
    if not name.isascii():
        return None
    plain = encodings.normalize_encoding(name.strip()).lower()
    codec = aliases.get(plain, plain)
    if codec not in _codecs():
        return None
    try:
        works = _SAMPLE.encode(codec).decode(codec) == _SAMPLE
    except (LookupError, UnicodeError):
        return None
    return codec if works else None


def keeps(encoding: str, text: str) -> bool:
    """Tell whether the encoding has these characters and gives them back as they were."""
    try:
        return text.encode(encoding).decode(encoding) == text
    except UnicodeError:
        return False


@functools.cache
def _codecs() -> frozenset[str]:
    modules = {module.name for module in pkgutil.iter_modules(encodings.__path__)}
    return frozenset((modules | set(aliases.values())) - _NOT_FOR_CSV)
