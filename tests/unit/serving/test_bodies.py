from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import TooLarge
from scoreline.serving.bodies import form_file, gunzip
from scoreline.serving.web import HttpError


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_gunzip_takes_several_members(parts):
    packed = b"".join(map(gzip.compress, parts))
    assert gunzip(packed, 1000) == b"".join(parts)
    assert gunzip(packed + b"\0" * 8, 1000) == b"".join(parts)


def test_gunzip_stops_at_the_limit():
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 60_000
    with pytest.raises(TooLarge, match="1,000 bytes"):
        gunzip(bomb, 1000)
    assert gunzip(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000
    with pytest.raises(TooLarge):
        gunzip(gzip.compress(b"x" * 1001), 1000)


@pytest.mark.parametrize(
    "body",
    [
        b"plain",
        gzip.compress(b"hello", mtime=0)[:-3],
        gzip.compress(b"hello", mtime=0)[:12],
        zlib.compress(b"hello"),
        b"\x1f",
    ],
)
def test_gunzip_refuses_what_is_not_gzip(body):
    with pytest.raises(HttpError) as refused:
        gunzip(body, 1000)
    assert refused.value.status == 422


def form(*parts: bytes) -> bytes:
    return b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="rows.csv"\r\nContent-Type: text/csv\r\n\r\na,b\r\n1,2'


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (form(b'Content-Disposition: form-data; name="x"\r\n\r\n1', FILE), (b"a,b\r\n1,2", "text/csv", "rows.csv")),
        (form(b'Content-Disposition: form-data; name="file"\r\n\r\na\n1'), (b"a\n1", "text/csv", "")),
    ],
)
def test_form_file(body, wanted):
    assert asyncio.run(form_file(body, "multipart/form-data; boundary=edge", 1000)) == wanted


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form(b'Content-Disposition: form-data; name="other"\r\n\r\n1'), "multipart/form-data; boundary=edge"),
        (form(FILE), "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=edge"),
        (form(FILE, FILE), "multipart/form-data; boundary=edge"),
    ],
)
def test_forms_without_the_file_are_refused(body, content_type):
    with pytest.raises(HttpError) as refused:
        asyncio.run(form_file(body, content_type, 1000))
    assert refused.value.status == 422
