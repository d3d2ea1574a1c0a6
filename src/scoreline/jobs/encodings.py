"""Which of Python's codecs may be the encoding of a CSV text.

A list of those that turn text into bytes and back. Codecs that unpack (zlib), execute escapes (unicode_escape) or serve
another purpose (idna) are not on it, nor is what a later Python may add; and a name that is not on the list is never
handed to the codec machinery, which would import a module of that name.
"""

from __future__ import annotations

import encodings
import functools
from encodings.aliases import aliases

_UNICODE = "utf_7 utf_8 utf_8_sig utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le"
_EAST_ASIAN = """
big5 big5hkscs cp932 cp949 cp950 euc_jis_2004 euc_jisx0213 euc_jp euc_kr gb18030 gb2312 gbk hz iso2022_jp iso2022_jp_1
iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr johab shift_jis shift_jis_2004 shift_jisx0213
"""
_SINGLE_BYTE = """
ascii latin_1 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9 iso8859_10 iso8859_11
iso8859_13 iso8859_14 iso8859_15 iso8859_16 koi8_r koi8_t koi8_u kz1048 ptcp154 tis_620 hp_roman8 palmos mac_arabic
mac_croatian mac_cyrillic mac_farsi mac_greek mac_iceland mac_latin2 mac_roman mac_romanian mac_turkish cp037 cp273
cp424 cp437 cp500 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866
cp869 cp874 cp875 cp1006 cp1026 cp1125 cp1140 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
"""
KNOWN = frozenset((_UNICODE + _EAST_ASIAN + _SINGLE_BYTE).split())
_SAMPLE = "id,name\n"


@functools.cache
def canonical(name: str) -> str | None:
    """Return Python's own spelling of a text encoding (`Latin-1` is `latin_1`), None when it is not one for CSV."""
    if not name.isascii():
        return None
    plain = encodings.normalize_encoding(name.strip()).lower()
    codec = aliases.get(plain, plain)
    if codec not in KNOWN:
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
