"""Parquet files that are broken, large, or many."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.adapters import listing, tables
from scoreline.adapters.files import FileInfo
from scoreline.adapters.folder import FolderFiles
from scoreline.adapters.tables import TableIntake
from scoreline.catalog import opening
from scoreline.errors import RunStopped, SourceError
from scoreline.rows import thrift
from scoreline.types import Range, RunLimits


def opened(folder: Path, key: str = "in.parquet", form: str = "parquet") -> TableIntake:
    return TableIntake(FolderFiles(str(folder)), key, form)


def read(intake: TableIntake, row: int = 0, columns: tuple[str, ...] = ("a",)) -> list:
    return [value for batch in intake.batches(Range(), row, columns) for value in batch.column(0).to_pylist()]


@pytest.mark.parametrize("windows", [False, True])
def test_every_row_to_begin_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool) -> None:
    if windows:
        monkeypatch.setattr(tables, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(tables, "_BATCH_ROWS", 7)
    pq.write_table(pa.table({"b": [str(i) for i in range(50)], "a": range(50)}), tmp_path / "in.parquet", 20)
    intake = opened(tmp_path)
    assert intake.rows() == 50
    assert intake.schema().names == ["b", "a"]
    for row in range(51):
        assert read(intake, row) == list(range(row, 50))
    with pytest.raises(SourceError, match="ends before row 52"):
        read(intake, 51)


def test_names_with_dots(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a.b": [1], "a": [2], "c": [{"a": 3}]}), tmp_path / "in.parquet")
    [batch] = opened(tmp_path).batches(Range(), 0, ["a", "c"])
    assert batch.to_pylist() == [{"a": 2, "c": {"a": 3}}]
    assert read(opened(tmp_path), columns=("a.b",)) == [1]


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": range(3000), "s": [f"text {i % 9}" for i in range(3000)]}), path, 500)
    whole = path.read_bytes()
    bad = {"cut": whole[:-100], "head": whole[:2000], "empty": b"", "mark": b"PAR1", "csv": b"a,b\n1,2\n" * 10}
    bad["footer"] = whole[:-8] + b"\xff\xff\xff\x7fPAR1"
    for body in bad.values():
        path.write_bytes(body)
        with pytest.raises(SourceError, match=r"in\.parquet is no whole Parquet file"):
            read(opened(tmp_path), columns=("a", "s"))


def test_any_flipped_byte_gives_words_or_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": range(300), "s": [f"text {i % 9}" for i in range(300)]}), path, 100)
    whole = path.read_bytes()
    dice = random.Random(5)
    refused = 0
    for place in dice.sample(range(len(whole)), 150):
        broken = bytearray(whole)
        broken[place] ^= 1 << dice.randrange(8)
        path.write_bytes(broken)
        try:
            read(opened(tmp_path), columns=("a", "s"))
        except SourceError as error:
            refused += "in.parquet" in error.message
    assert refused > 20


def test_a_flipped_byte_of_a_page_with_a_checksum_is_found(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table = pa.table({"a": range(300)})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    whole = path.read_bytes()
    at = whole.index((200).to_bytes(8, "little"))
    for windows in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if windows:
                patch.setattr(tables, "_WHOLE_BYTES", 0)
            path.write_bytes(whole)
            assert read(opened(tmp_path)) == list(range(300))
            path.write_bytes(whole[:at] + b"\xc9" + whole[at + 1 :])
            with pytest.raises(SourceError, match=r"in\.parquet"):
                read(opened(tmp_path))


def test_timestamps_of_old_beyond_what_nanoseconds_reach(tmp_path: Path) -> None:
    moments = [datetime(1, 1, 1), datetime(2026, 1, 2, 3, 4, 5, 6), datetime(9999, 12, 31, 23, 59, 59)]  # noqa: DTZ001 -- Parquet has moments without a zone
    table = pa.table({"a": pa.array(moments, pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "in.parquet", use_deprecated_int96_timestamps=True)
    assert read(opened(tmp_path)) == moments
    taken = opening.table(lambda: (tmp_path / "in.parquet").open("rb"), RunLimits())  # as a dataset
    assert [value for (block,) in taken.blocks([0]) for value in block.to_pylist()] == moments


GROUPS, ROWS, COLUMNS, METADATA, VALUES = 4, 3, 1, 3, 5  # numbers of fields of a footer


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("rows", [-3, 50, 200])
@pytest.mark.parametrize("of", ["file", "group", "both"])
def test_a_footer_that_counts_other_rows(tmp_path: Path, of: str, rows: int, columns: bool) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": range(100)}), path)
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer, _ = thrift.read(whole[start:-8])
    [group] = footer[GROUPS][1][1]
    for fields in {"file": [footer], "group": [group], "both": [footer, group]}[of]:
        fields[ROWS] = (thrift.I64, rows)
    if columns:
        group[COLUMNS][1][1][0][METADATA][1][VALUES] = (thrift.I64, rows)
    changed = thrift.write(footer)
    path.write_bytes(whole[:start] + changed + len(changed).to_bytes(4, "little") + b"PAR1")
    if of == "both" and columns and rows == 50:
        assert read(opened(tmp_path)) == list(range(50))  # nothing in it contradicts the footer
        return
    with pytest.raises(SourceError, match=r"in\.parquet is no whole Parquet file"):
        read(opened(tmp_path))
    with pytest.raises(SourceError, match="no whole Parquet file"):
        list(opening.table(lambda: path.open("rb"), RunLimits()).blocks([0]))


class Failing(FolderFiles):
    """A place whose reading fails with what was said before."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.problem: Exception | None = None

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if self.problem is not None:
            raise self.problem
        return super().read(info, start, end)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("problem", [SourceError("it has changed"), RunStopped("stop")], ids=["changed", "stopped"])
def test_what_a_place_says_is_what_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, windows: bool
) -> None:
    if windows:
        monkeypatch.setattr(tables, "_WHOLE_BYTES", 0)
    pq.write_table(pa.table({"a": np.random.default_rng(1).random(400_000)}), tmp_path / "in.parquet", 200_000)
    files = Failing(str(tmp_path))
    batches = TableIntake(files, "in.parquet", "parquet").batches(Range(), 0, ["a"])
    next(batches)
    files.problem = problem
    with pytest.raises(type(problem), match=str(problem)):
        list(batches)


def test_a_huge_row_group_is_read_in_pieces(tmp_path: Path) -> None:
    rows = 6_000_000
    pq.write_table(
        pa.table({f"c{i}": np.random.default_rng(i).random(rows) for i in range(4)}),
        tmp_path / "in.parquet",
        rows,
        use_dictionary=False,
    )
    intake = opened(tmp_path)
    before, peak, total = pa.total_allocated_bytes(), 0, 0.0
    for batch in intake.batches(Range(), 0, ["c0", "c1", "c2"]):
        peak = max(peak, pa.total_allocated_bytes() - before)
        total += batch.num_rows
    assert total == rows
    assert (tmp_path / "in.parquet").stat().st_size > 180 << 20
    assert peak < 40 << 20


def lay_folder(folder: Path) -> None:
    for name in ("p/b.parquet", "p/a.parquet", "p/sub/c.parquet", "q.parquet"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"a": [ord(path.stem) * 10 + i for i in range(2)], "s": ["", ""]}), path)
    for name in ("p/_SUCCESS", "p/.a.parquet.crc", "p/_temporary/x.parquet", "p/a.parquet.crc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not Parquet")


@pytest.mark.parametrize(
    ("key", "stems"),
    [
        ("p/", "abc"),
        ("p/*.parquet", "ab"),
        ("p/**", "abc"),
        ("*/[b-z].parquet", "b"),
        ("p/?.parquet", "ab"),
        ("p/[!a].parquet", "b"),
        ("**.parquet", "abcq"),
        ("q.parquet", "q"),
    ],
)
def test_files_that_a_key_means(tmp_path: Path, key: str, stems: str) -> None:
    lay_folder(tmp_path)
    intake = opened(tmp_path, key)
    wanted = [ord(stem) * 10 + i for stem in stems for i in range(2)]
    for row in range(len(wanted) + 1):
        assert read(intake, row) == wanted[row:]
    identity = intake.identity()
    assert identity == intake.identity()
    assert opened(tmp_path, key).identity() == identity
    pq.write_table(pa.table({"a": [1], "s": [""]}), tmp_path / ("p/azz.parquet" if len(stems) > 1 else "q.parquet"))
    if key in {"p/", "p/**", "q.parquet"}:
        assert intake.identity() != identity


def test_a_pattern_costs_little_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 200}.csv").write_bytes(b"x\n1\n")
    began = time.monotonic()
    with pytest.raises(SourceError, match="no file that"):
        listing.listed(FolderFiles(str(tmp_path)), "**a" * 60 + "X")
    assert time.monotonic() - began < 60
    with pytest.raises(SourceError, match=r"the pattern \[z-a\]\.csv cannot be read"):
        listing.listed(FolderFiles(str(tmp_path)), "[z-a].csv")


def test_folders_of_values_are_no_marks(tmp_path: Path) -> None:
    for name in ("_x=1/_y=2/p.csv", "_x/p.csv", ".x=1/p.csv", "_x=1/_p=1.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x\n1\n")
    assert [info.key for info in listing.listed(FolderFiles(f"{tmp_path}"), "**")] == ["_x=1/_y=2/p.csv"]


def test_the_same_paths_without_a_root(tmp_path: Path) -> None:
    lay_folder(tmp_path)
    files = FolderFiles(None)
    assert [Path(info.key).name for info in listing.listed(files, f"{tmp_path}/p/")] == [
        "a.parquet",
        "b.parquet",
        "c.parquet",
    ]


def test_nothing_and_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_folder(tmp_path)
    for key in ("p/*.csv", "p/_temporary/../none*"):
        with pytest.raises(SourceError, match="no file that"):
            opened(tmp_path, key)
    with pytest.raises(SourceError, match="cannot read none/"):
        opened(tmp_path, "none/")
    monkeypatch.setattr(listing, "MOST_FILES", 2)
    with pytest.raises(SourceError, match="more than 2 files"):
        opened(tmp_path, "p/")


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    lay_folder(tmp_path)
    pq.write_table(pa.table({"s": [""], "a": [1]}), tmp_path / "p/b.parquet")
    assert len(read(opened(tmp_path, "p/"))) == 5
    pq.write_table(pa.table({"a": ["1"], "s": [""]}), tmp_path / "p/b.parquet")
    with pytest.raises(SourceError, match=r"column 'a': p/a\.parquet has int64, p/b\.parquet has string"):
        opened(tmp_path, "p/")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "p/b.parquet")
    with pytest.raises(SourceError, match=r"column 's': p/a\.parquet has string, p/b\.parquet has no such column"):
        opened(tmp_path, "p/")
