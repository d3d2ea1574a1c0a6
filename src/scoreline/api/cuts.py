"""Whether an uploaded part was cut: the multipart mode of a popular client counts characters but sends bytes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from scoreline.errors import InvalidRequest
from scoreline.types import CsvDialect

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_SAMPLE = "id,1\r\n"
_MARK = "\ufeff"


class PartCheck:
    """Reads one part and refuses it when it is not whole rows; to be handed to `PartWriter.finish`."""

    def __init__(self, number: int, dialect: CsvDialect, *, sent_as_utf8: bool) -> None:
        """`sent_as_utf8`: the client sends UTF-8 whatever the job's encoding is."""
        self._number = number
        self._dialect = dialect
        self._foreign = sent_as_utf8 and codecs.lookup(dialect.encoding).name not in ("utf-8", "utf-8-sig", "ascii")
        self._encoding = "utf-8" if sent_as_utf8 else dialect.encoding

    def __call__(self, blocks: Iterator[bytes]) -> None:
        """Read the part. Raises InvalidRequest for one that is compressed, cut, or in another encoding than the job."""
        scan = _Scan(self._dialect)
        decoder = codecs.getincrementaldecoder(self._encoding)()
        first = True
        for block in blocks:
            if first and block.startswith(_COMPRESSED):
                raise InvalidRequest(f"Part {self._number} is compressed: send compressed data as one upload.")
            first = False
            if self._foreign:
                self._check_readable(block)
            try:
                scan.feed(decoder.decode(block))
            except UnicodeError:
                return  # the run itself will say where the text is wrong
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise self._cut("in the middle of a character") from None
        if scan.inside:
            raise self._cut("inside a quoted field")
        if scan.last not in ("\n", "\r"):
            raise self._cut("in the middle of a row")

    def _check_readable(self, block: bytes) -> None:
        if block.isascii() and _SAMPLE.encode(self._dialect.encoding) == _SAMPLE.encode("ascii"):
            return
        raise InvalidRequest(
            f"Part {self._number} is UTF-8 while the job's csvSettings.encoding is {self._dialect.encoding}: the "
            "client's multipart mode always sends UTF-8; switch `multipart` off in the intake settings, and send the "
            "file as one upload."
        )

    def _cut(self, where: str) -> InvalidRequest:
        return InvalidRequest(
            f"Part {self._number} of the upload ends {where}, so rows are missing: some clients cut parts with "
            "non-ASCII text; switch `multipart` off in the intake settings, and send the file as one upload."
        )


class _Scan:
    """Follows the quotes of a CSV text. A quote opens a field only at the field's start."""

    def __init__(self, dialect: CsvDialect) -> None:
        self._quote = dialect.quotechar
        self._opens_after = frozenset((dialect.delimiter, "\n", "\r"))
        self.inside = False
        self.last = "\n"  # the character before the next block
        self._begun = False
        self._closed = False  # the last character closed a field, unless the next one is a quote, too

    def feed(self, text: str) -> None:
        """Go on with the next stretch of text."""
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix(_MARK)
        if not text:
            return
        quote, at = self._quote, 0
        while True:
            if self._closed and at < len(text):
                self._closed = False
                if text[at] == quote:
                    self.inside = True
                    at += 1
            at = text.find(quote, at)
            if at < 0:
                break
            if self.inside:
                self.inside, self._closed = False, True
            elif (text[at - 1] if at else self.last) in self._opens_after:
                self.inside = True
            at += 1
        self.last = text[-1]
