"""The bench's own data, made once and kept in `bench/data/`.

W1: 30 columns: an id, a timestamp, 20 numbers with gaps, 5 categories as text, a free text with quoted commas and
newlines in about 1 % of the rows, a code with leading zeros, and the target. Blocks of rows are seeded by their number,
so a file of any size begins with the same rows.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

DATA = Path(__file__).parent / "data"
NUMBERS = [f"n{i:02d}" for i in range(20)]
CATEGORIES = [f"c{i}" for i in range(5)]
HEADER = ["id", "ts", *NUMBERS, *CATEGORIES, "note", "code", "target"]
TARGET = "target"
LABELS = ("0", "1")

_LEVELS = (4, 8, 12, 24, 50)
_BLOCK_ROWS = 33_000
_RECORD_END = re.compile(rb'\n(?=["0-9])|\n\Z')  # in a note, a letter follows on the newline
_WORDS = (
    "late",
    "paid",
    "called back",
    "no answer",
    "moved",
    "new address",
    "asked for a refund",
    "second visit",
    "ok",
)


def csv_file(megabytes: int, *, quoted: bool = False) -> Path:
    """Return a W1 file of about so many megabytes (10^6 bytes), made if it is missing; `quoted` quotes every field."""
    path = DATA / f"w1-{megabytes}{'-quoted' if quoted else ''}.csv"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        half_made = path.with_suffix(".part")
        left = megabytes * 1_000_000
        with half_made.open("wb") as file:
            for block in _blocks(quoted=quoted):
                whole = block if len(block) <= left else block[: _RECORD_END.search(block, left).start() + 1]
                left -= file.write(whole)
                if left <= 0:
                    break
        half_made.rename(path)
    return path


def parquet_file(megabytes: int) -> Path:
    """Return the rows of the W1 file of that size as Parquet, W2, made if it is missing."""
    path = DATA / f"w2-{megabytes}.parquet"
    if not path.exists():
        types = dict.fromkeys(["ts", *CATEGORIES, "note", "code"], pa.string()) | dict.fromkeys(NUMBERS, pa.float64())
        half_made = path.with_suffix(".part")
        with (
            pa.csv.open_csv(
                csv_file(megabytes),
                parse_options=pa.csv.ParseOptions(newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
                read_options=pa.csv.ReadOptions(block_size=32 << 20),
            ) as batches,
            pq.ParquetWriter(half_made, batches.schema) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
        half_made.rename(path)
    return path


def first_rows(count: int) -> Path:
    """Return a file with the first `count` rows."""
    path = DATA / f"w1-{count}-rows.csv"
    if not path.exists():
        frame = pd.read_csv(csv_file(10), dtype=str, nrows=count, keep_default_na=False)
        DATA.mkdir(exist_ok=True)
        frame.to_csv(path, index=False)
    return path


def _blocks(*, quoted: bool) -> Iterator[bytes]:
    mark = '"' if quoted else ""
    yield (",".join(f"{mark}{name}{mark}" for name in HEADER) + "\n").encode()
    number = 0
    while True:
        yield _block(number, quoted=quoted)
        number += 1


def _block(number: int, *, quoted: bool) -> bytes:
    random = np.random.default_rng([7, number])
    rows = _BLOCK_ROWS
    values = np.round(random.normal(0, 1, (len(NUMBERS), rows)) * 10.0 ** (np.arange(20)[:, None] % 4), 6)
    levels = [random.integers(0, size, rows) for size in _LEVELS]
    logit = values[0] - 0.1 * np.abs(values[1]) + 0.8 * (values[2] > 20) * values[4] + 0.7 * np.sin(levels[4])
    logit += 0.5 * (levels[1] % 3 == 0) * values[8] - 0.3 * levels[0]
    target = random.random(rows) < 1 / (1 + np.exp(-logit))
    gaps = random.random(values.shape) < 0.06
    start = np.datetime64("2025-01-01T00:00:00") + np.int64(number) * rows
    columns = [
        pc.cast(pa.array(np.arange(number * rows, (number + 1) * rows) + 1), pa.string()),
        pa.array(np.datetime_as_string(start + np.arange(rows)), pa.string()),
        *(
            pc.cast(pa.array(column, mask=gap), pa.string()).fill_null("")
            for column, gap in zip(values, gaps, strict=True)
        ),
        *(_levels(chosen, size) for chosen, size in zip(levels, _LEVELS, strict=True)),
        _notes(random, rows, quoted=quoted),
        pc.utf8_lpad(pc.cast(pa.array(random.integers(0, 10**7, rows)), pa.string()), 8, "0"),
        pc.cast(pa.array(target.astype(np.int8)), pa.string()),
    ]
    if quoted:
        lines = pc.binary_join_element_wise(*columns, '","')
        whole = pc.binary_join_element_wise(pa.scalar('"'), lines, pa.scalar('"\n'), "")
    else:
        lines = pc.binary_join_element_wise(*columns, ",")
        whole = pc.binary_join_element_wise(lines, pa.scalar(""), "\n")
    text = io.BytesIO(memoryview(whole.buffers()[2])).getvalue()
    return text[: whole.offset + int(np.frombuffer(whole.buffers()[1], np.int32)[rows])]


def _levels(chosen: np.ndarray, size: int) -> pa.Array:
    names = pa.array([f"level {chr(97 + i % 26)}{i}" for i in range(size)])
    return names.take(pa.array(chosen))


def _notes(random: np.random.Generator, rows: int, *, quoted: bool) -> pa.Array:
    plain = [f"{a} {b}" for a in _WORDS for b in _WORDS]
    odd = [f'said ""{a}"", then\n{b}, twice' for a in _WORDS for b in _WORDS]
    pool = pa.array(plain + (odd if quoted else [f'"{text}"' for text in odd]))
    chosen = random.integers(0, len(plain), rows) + len(plain) * (random.random(rows) < 0.01)
    return pool.take(pa.array(chosen))


def free_space_for(megabytes: int) -> None:
    """End with a sentence when the disk cannot hold data, upload, spool and results of a run of this size."""
    disk = os.statvfs(Path(__file__).parent)
    need = 5 * megabytes * 1_000_000
    if disk.f_bavail * disk.f_frsize < need:
        raise SystemExit(f"bench: {need >> 30} GiB of free space are needed beside {DATA}; use a smaller --size.")
