"""Files with no row, one row, no last line end, a mark or mixed line ends: each row is there once, and no other one."""

from __future__ import annotations

import pytest

from tests.fault.conftest import Case
from tests.support.cluster import Cluster

SHAPES = {
    "header": lambda lines: lines[0],
    "header without end": lambda lines: lines[0].rstrip(b"\n"),
    "one row": lambda lines: b"".join(lines[:2]),
    "no last end": lambda lines: b"".join(lines[:900]).rstrip(b"\n"),
    "mark": lambda lines: b"\xef\xbb\xbf" + b"".join(lines[:900]),
    "mixed ends": lambda lines: b"".join(
        line.replace(b"\n", b"\r\n") if number % 3 else line for number, line in enumerate(lines[:900])
    ),
    "quoted line ends": lambda lines: b"".join(
        [lines[0].replace(b"\n", b",note\n"), *(line.replace(b"\n", b',"a\nb"\n') for line in lines[1:900])]
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_is_there_once_whatever_the_file_looks_like(here: Cluster, case: Case, shape: str) -> None:
    data = SHAPES[shape](case.data.splitlines(keepends=True))
    rows = {"header": 0, "header without end": 0, "one row": 1}.get(shape, 899)
    job_id = here.job(chunkSize=1_000)
    assert here.put(job_id, data).status_code == 202
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, b"".join(case.clean.splitlines(keepends=True)[: rows + 1]))
