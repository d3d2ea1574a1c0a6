"""Encodings of CSV texts: all that are text and none that expands, executes or is something else."""

import codecs
import encodings
import pkgutil
import zlib
from encodings.aliases import aliases

import pytest

from scoreline.jobs.encodings import KNOWN, canonical, keeps

MODULES = {module.name for module in pkgutil.iter_modules(encodings.__path__)}
NAMES = sorted(MODULES | set(aliases) | set(aliases.values()))
NOT_TEXT = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
NOT_FOR_CSV = {"aliases", "charmap", "idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined"}
NOT_FOR_CSV |= {"unicode_escape", "_win_cp_codecs"}


def test_every_text_codec_of_this_python_is_known():
    found = {canonical(name) for name in NAMES} - {None}
    assert found == MODULES - NOT_TEXT - NOT_FOR_CSV - {"iso8859_1"}  # which is latin_1
    assert found <= KNOWN


@pytest.mark.parametrize("name", sorted(NOT_TEXT | NOT_FOR_CSV))
def test_no_spelling_of_other_codecs_gets_through(name):
    spellings = {alias for alias, codec in aliases.items() if codec == name} | {name, name.removesuffix("_codec")}
    for spelling in spellings:
        for odd in (
            spelling,
            spelling.upper(),
            spelling.replace("_", "-"),
            spelling.replace("_", " "),
            f" {spelling}\n",
        ):
            assert canonical(odd) is None, odd


def test_names_of_modules_and_paths_are_nothing():
    for name in ("os", "this", "antigravity", "encodings.utf_8", "..utf_8", "utf_8.py", "", "ｕtf_8", "a" * 10_000):
        assert canonical(name) is None


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_known_encodings_neither_expand_nor_execute(name):
    codec = canonical(name)
    assert codec is not None
    assert codecs.lookup(codec)._is_text_encoding
    for data in (
        zlib.compress(bytes(1 << 20)),
        bytes(range(256)) * 4,
        b"\\x41\\u0041\\N{DIGIT ONE}" * 50,
        b"+AGE-" * 50,
    ):
        decoder = codecs.getincrementaldecoder(codec)("replace")
        try:
            text = decoder.decode(data, final=True)
        except UnicodeError:  # utf-16 and utf-32 without a mark
            continue
        assert len(text) <= len(data) + 1
    if name not in ("utf_7", "hz"):  # these have signs that switch, as shift codes do
        escapes = "\\x41\\u0041\\n\\N{DIGIT ONE}%41&#65;=41"
        kept = [sign for sign in escapes if keeps(codec, sign)]
        assert len(kept) > len(escapes) - 8  # some lack a brace or a percent sign
        assert "".join(kept).encode(codec).decode(codec) == "".join(kept)
