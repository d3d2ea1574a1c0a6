"""Decode ISO 2022 block by block, as Python decodes the whole; what would not come out again as it went in is lost.

Python's decoders of these encodings look at 16 bytes of an escape and keep 8 of them from block to block: one that is
broken, near a block's end, has them give up. And they let escapes that they do not know pass as signs, which in an
output would change the meaning of the signs behind them.
"""

from __future__ import annotations

import codecs
import re

_SHIFTING = {"iso2022_kr": "\x1b\x0e\x0f"}  # elsewhere the last two are signs like others
_HIGH = "".join(map(chr, range(0x80, 0x100)))  # bytes behind an unknown escape come out like this


# Half characters, which no text of these encodings has.
_LOST = "\udcff"
_NONE_CUT, _MOST_CUT = "\udc00", "\udc40"


def _mark(problem: UnicodeError) -> tuple[str, int]:
    assert isinstance(problem, UnicodeDecodeError)
    if problem.reason.startswith("incomplete"):
        return chr(ord(_NONE_CUT) + problem.end - problem.start), problem.end
    return _LOST, problem.end


_HANDLER = "scoreline.lost-or-cut"
codecs.register_error(_HANDLER, _mark)


def is_iso2022(encoding: str) -> bool:
    """Say whether an encoding that exists is one of these."""
    return codecs.lookup(encoding).name.startswith("iso2022")


class Decoder:
    """An incremental decoder; half a character, U+DCFF, stands for bytes that are no text."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(_HANDLER)
        self._no_text = re.compile(f"[{re.escape(_odd_signs(encoding))}]")
        self._held = b""

    def decode(self, block: bytes, final: bool = False) -> str:
        """Return the text that is sure by now."""
        block = self._held + block
        # As if it were the end, so that a sequence that is not whole is told, not kept.
        text = self._no_text.sub(_LOST, self._decoder.decode(block, True))
        self._held = b""
        if _NONE_CUT < text[-1:] < _MOST_CUT:
            self._held = block[ord(_NONE_CUT) - ord(text[-1]) :]
            text = text[:-1] + (_LOST if final else "")
        return text


def _odd_signs(encoding: str) -> str:
    return _SHIFTING.get(codecs.lookup(encoding).name, "\x1b") + "".join(
        sign for sign in _HIGH if not _has(encoding, sign)
    )


def _has(encoding: str, sign: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
