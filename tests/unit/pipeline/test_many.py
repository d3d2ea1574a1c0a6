"""Runs over folders of CSV files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from scoreline.adapters.folder import FolderFiles
from scoreline.adapters.many import ManyFiles
from scoreline.errors import OutputError, SourceError
from scoreline.pipeline import run
from scoreline.rows.forms import CsvForm
from scoreline.types import Counts, CsvDialect
from tests.unit.pipeline.stand_ins import DoublingScorer, MemoryLedger, MemoryOutput, SeenProgress, ticket
from tests.unit.pipeline.whole import expected


class Folder:
    """A folder and runs over it."""

    def __init__(self, folder: Path, **more) -> None:
        self.folder = folder
        self.output, self.ledger, self.progress = MemoryOutput(), MemoryLedger(), SeenProgress()
        self.ticket = ticket(**more)

    def lay(self, files: dict[str, bytes]) -> None:
        for name, body in files.items():
            path = self.folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def run(self, scorer=None, key="in/"):
        intake = ManyFiles(FolderFiles(str(self.folder)), key)
        try:
            return run(self.ticket, intake, scorer or DoublingScorer(), self.output, self.ledger, self.progress)
        finally:
            intake.close()


def rows(start: int, end: int) -> str:
    return "".join(f"r{i:05d},{i}.5\n" for i in range(start, end))


def parts(encoding: str = "utf-8") -> dict[str, bytes]:
    head = "id,x\n"
    return {
        "a.csv": (head + rows(0, 300)).encode(encoding),
        "b/c.csv": (head + rows(300, 301)).rstrip().encode(encoding),
        "b/d.csv.gz": gzip.compress(("\n" + head + rows(301, 500)).encode(encoding)),
        "b/e.csv": head.encode(encoding),
        "f.csv": (head.replace("\n", "\r\n") + rows(500, 700)).encode(encoding),
        "g.csv": b"",
        "h.csv": head.encode(encoding),
        "_SUCCESS": b"",
        ".a.csv.crc": b"x",
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_one_header_and_all_rows(tmp_path: Path, encoding: str) -> None:
    it = Folder(tmp_path, size=1000, dialect=CsvDialect(encoding=encoding))
    it.lay(parts(encoding))
    done = it.run()
    assert done.counts == Counts(700, 700)
    assert it.output.text.decode(encoding) == expected(700)
    assert done.bytes_in == sum(len(body) for name, body in parts(encoding).items() if name[0] not in "_.")


def test_going_on_in_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CsvForm, "flush_seconds", 0.0)
    it = Folder(tmp_path, size=700)
    it.lay(parts())
    for stop in (100, 299, 300, 301, 400, 499, 500, 650):

        def refuse(values, stop=stop):
            if stop + 0.5 in values:
                raise OutputError("broken")

        with pytest.raises(OutputError, match="broken"):
            it.run(DoublingScorer(refuse))
    assert it.run().counts == Counts(700, 700)
    assert it.output.text.decode() == expected(700)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"id,y\n1,2\n", r"differ in column 2: in/a\.csv has 'x', in/b\.csv has 'y'"),
        (b"id\n1\n", r"differ in column 2: in/a\.csv has 'x', in/b\.csv has none"),
        (b"id,x,z\n1,2,3\n", r"differ in column 3: in/a\.csv has none, in/b\.csv has 'z'"),
        (b'id,x\n1,"2\n', r"is never closed.*\(in in/b\.csv\)\."),
        (b"\x1f\x8b\x08\0broken", r"\(in in/b\.csv\)"),
        (b"PAR1", "it is Parquet.*in/b"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path: Path, body: bytes, says: str) -> None:
    it = Folder(tmp_path)
    it.lay({"a.csv": b"id,x\n1,2\n", "b.csv": body})
    with pytest.raises(SourceError, match=says):
        it.run()


def test_rows_of_each_file_are_told(tmp_path: Path) -> None:
    it = Folder(tmp_path, size=500)
    it.lay(parts())
    it.run()
    assert it.progress.lines[-1] == (
        "Rows of each file: in/a.csv 300, in/b/c.csv 1, in/b/d.csv.gz 199, in/b/e.csv 0, in/f.csv 200, in/h.csv 0."
    )
