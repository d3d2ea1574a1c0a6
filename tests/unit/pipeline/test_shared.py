"""Parts of a source that other runs score ahead: the output, the counts and the log are those of one run."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from scoreline.adapters import cutting
from scoreline.adapters.folder import FolderFiles
from scoreline.adapters.many import ManyFiles
from scoreline.adapters.tables import TableIntake
from scoreline.errors import DataRefused, RunStopped, SourceError, TooManyBadRows
from scoreline.pipeline import Shared, Stage, run, run_ahead
from scoreline.pipeline.borders import first_record
from scoreline.pipeline.gate import Gate
from scoreline.spool import open_spool
from scoreline.types import CsvDialect, PacePlan, Range, RunLimits
from tests.unit.pipeline.stand_ins import (
    DoublingScorer,
    MemoryIntake,
    MemoryLedger,
    MemoryOutput,
    SeenProgress,
    ticket,
)
from tests.unit.pipeline.whole import expected, source


class CutIntake(MemoryIntake):
    """Bytes that can be cut, as those of a file."""

    def partitions(self, want):
        return cutting.evenly(self.size(), want)


class Helped:
    """A run of which another one scores the parts that `chosen` picks, before the first turn comes."""

    def __init__(
        self, opened, folder: Path, *, least: int, chosen=lambda _: True, spoil=lambda _: None, **more
    ) -> None:
        self.output, self.ledger, self.progress = MemoryOutput(), MemoryLedger(), SeenProgress()
        self.ticket = replace(ticket(**more), limits=RunLimits(partition_bytes=least))
        self.folder, self.opened, self.chosen, self.spoil = folder, opened, chosen, spoil
        self.stage = Stage(open_spool(folder), self.ticket.job_id)
        self.scored: dict[int, object] = {}
        self.reached, self.turns = 0, []
        self.refuse = None
        self.helper = DoublingScorer()

    def run(self):
        with_errors = MemoryOutput()
        self.errors = with_errors
        intake = self.opened()
        try:
            scorer = DoublingScorer(self.refuse)
            shared = Shared(self, self.stage)
            return run(
                replace(self.ticket, errors_file={"type": "memory"}),
                *(intake, scorer, self.output, self.ledger, self.progress),
                errors=with_errors,
                shared=shared,
            )
        finally:
            intake.close()

    # Partitions

    def plan(self, borders):
        ends = [*borders, None]
        wanted = [Range(i, start, ends[i]) for i, start in enumerate([0, *borders]) if i and self.chosen(i)]
        self.helper = DoublingScorer(self.refuse)
        kept = replace(self.ticket, errors_file={"type": "memory"})
        queue = Ahead(wanted, self.scored)
        while queue.wanted:
            intake = self.opened()
            with suppress(SourceError):  # such a part is left to the run that writes
                run_ahead(kept, intake, self.helper, queue, SeenProgress(), stage=self.stage)
            intake.close()
        self.spoil(self)
        return borders

    def reach(self, number):
        self.reached = max(self.reached, number)

    def turn(self, number):
        self.turns.append(number)
        return self.scored.get(number)

    def runs(self):
        return 1

    def close(self):
        pass


class Ahead:
    """A queue of parts."""

    def __init__(self, wanted, scored) -> None:
        self.wanted, self.done = list(wanted), scored
        self.name = ""

    def next(self):
        self.part = self.wanted.pop(0) if self.wanted else None
        self.name = f"{self.part.index:06d}.1" if self.part else ""
        return self.part

    def scored(self, part):
        self.done[self.part.index] = part
        return True

    def leave(self):
        self.done[self.part.index] = None

    def runs(self):
        return 1

    def pin_source(self, identity):
        return identity


def memory(data: bytes):
    return lambda: CutIntake([data[i : i + 1000] for i in range(0, len(data), 1000)])


def staged(helped: Helped) -> list[Path]:
    return [path for path in (helped.folder / "parts").rglob("*") if path.is_file()]


def same(one: Helped, other: Helped) -> None:
    """Both wrote the same rows and listed the same failed ones, by number."""
    assert one.output.text == other.output.text
    assert one.errors.text == other.errors.text
    assert sum(f.counts.read for f in one.ledger.rows) == sum(f.counts.read for f in other.ledger.rows)
    assert one.output.committed


@pytest.mark.parametrize("chosen", [lambda _: True, lambda n: n % 2, lambda n: n > 6, lambda n: n == 1])
def test_the_output_is_that_of_one_run(tmp_path, chosen):
    data = source(2000).encode()
    helped = Helped(memory(data), tmp_path, least=2000, chosen=chosen, size=700)
    done = helped.run()
    assert helped.output.text.decode() == expected(2000)
    assert (done.counts.read, done.counts.scored, done.bytes_in) == (2000, 2000, len(data))
    parts = len(data) // 2000
    assert helped.turns == list(range(1, parts))
    assert {n for n, part in helped.scored.items() if part} == {n for n in range(1, parts) if chosen(n)}
    assert sum(helped.helper.calls) == sum(part.counts.read for part in helped.scored.values() if part)
    assert not staged(helped)


FIELDS = st.sampled_from(
    ["1.5", "2", "x", '"3"', '"a\nb"', '"a,b"', '"q""q"', '""', "", 'in"side', '"1\r\n2,3\n"', '"\n\n"']
)
ENDS = st.sampled_from(["\n", "\r\n", "\n\n"])


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS, ENDS), min_size=8, max_size=60),
    least=st.integers(16, 120),
    seed=st.integers(),
)
def test_any_text_gives_what_one_run_gives(tmp_path_factory, rows, least, seed):
    folder = tmp_path_factory.mktemp("text")
    data = ("id,x\n" + "".join(f"{a},{b}{end}" for a, b, end in rows)).encode()
    chance = random.Random(seed)
    helped = Helped(
        memory(data), folder, least=least, chosen=lambda _: chance.random() < 0.7, size=40, abort_on_error=False
    )
    alone = Helped(memory(data), folder, least=1 << 30, abort_on_error=False)
    helped.run()
    alone.run()
    same(helped, alone)
    assert not staged(helped)


def test_a_part_that_begins_in_the_middle_of_a_field_is_thrown_away(tmp_path):
    """Within one long quoted field lines look like records."""
    inside = "".join(f"z{i},{i}\n" for i in range(300))
    data = f'id,x\na,1\n"{inside}","2"\n{source(100)[5:]}'.encode()
    helped = Helped(memory(data), tmp_path, least=600)
    alone = Helped(memory(data), tmp_path, least=1 << 30)
    helped.run()
    alone.run()
    same(helped, alone)
    assert [line for line in helped.progress.lines if "from a wrong place" in line]
    assert not staged(helped)


def test_a_staged_part_that_is_lost_or_damaged_is_scored_again(tmp_path):
    def spoil(helped: Helped) -> None:
        files = sorted(staged(helped))
        files[0].unlink()
        body = bytearray(files[2].read_bytes())
        body[len(body) // 2] ^= 1
        files[2].write_bytes(body)

    helped = Helped(memory(source(2000).encode()), tmp_path, least=4000, spoil=spoil)
    helped.run()
    assert helped.output.text.decode() == expected(2000)
    assert sum("scored ahead in vain" in line for line in helped.progress.lines) == 2


def test_rows_that_fail_have_their_numbers_and_end_the_run_where_one_run_ends(tmp_path):
    def refuse(values):
        if any(value is not None and value >= 900 for value in values):
            raise DataRefused("too large")

    data = source(1500).encode()
    texts = []
    for least in (3000, 1 << 30):
        helped = Helped(memory(data), tmp_path, least=least, size=500, max_failed_rows=100, max_failed_share=0.05)
        helped.refuse = refuse
        with pytest.raises(TooManyBadRows) as caught:
            helped.run()
        texts.append(helped.errors.text)
        assert "first: Row 901 failed" in str(caught.value)
    assert texts[0].startswith(b"901,")
    assert b"\n1000," in texts[0]
    assert texts[0][: len(texts[1])] == texts[1][: len(texts[0])]


def test_a_run_goes_on_within_a_part_that_was_scored_ahead(tmp_path):
    data = source(2000).encode()
    helped = Helped(memory(data), tmp_path, least=4000, size=700)
    written = helped.output.write

    def write(chunk):
        if chunk.last > 4:
            raise RunStopped("enough")
        return written(chunk)

    helped.output.write = write
    with pytest.raises(RunStopped):
        helped.run()
    helped.output.write = written
    helped.chosen = lambda _: False
    helped.run()
    assert helped.output.text.decode() == expected(2000)


def test_folders_are_cut_between_files_and_parquet_between_row_groups(tmp_path):
    for number in range(12):
        rows = source(40 + number)[5:] if number % 4 else ""
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number:02d}.csv").write_text("id,x\n" + rows)
    many = lambda: ManyFiles(FolderFiles(str(tmp_path)), "in/")  # noqa: E731
    helped = Helped(many, tmp_path / "spool", least=1000, chosen=lambda n: n != 2)
    alone = Helped(many, tmp_path / "spool", least=1 << 30)
    helped.run()
    alone.run()
    same(helped, alone)
    assert set(helped.scored) == {1, 3}
    assert helped.progress.lines == alone.progress.lines  # rows of each file
    table = pa.table({"id": [f"r{i:05d}" for i in range(3000)], "x": [i + 0.5 for i in range(3000)]})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=170)
    size = (tmp_path / "in.parquet").stat().st_size
    helped = Helped(
        lambda: TableIntake(FolderFiles(str(tmp_path)), "in.parquet", "parquet"),
        tmp_path / "spool",
        least=size // 7,
        chosen=lambda n: n % 3,
    )
    done = helped.run()
    assert helped.output.text.decode() == expected(3000)
    assert done.counts.read == 3000
    assert len(helped.turns) == 6
    assert all(part.begin % 170 == 0 for part in helped.scored.values())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,2\n3,4\n5,6\n", 4),
        ("\n3,4\n5,6\n", 1),
        ("\r\n3,4\n", 2),
        ('b"\n3,"x\ny"\n5,"6"\n', 3),
        ('x\ny"\n5,"6"\n7,8\n', 5),
        ("1,2", None),
        ("1,2\n", None),
        ('"\n,\n"', None),
    ],
)
def test_where_a_record_seems_to_begin(text, found):
    assert first_record(text.encode(), CsvDialect(), 2, whole=True) == found


def test_places_to_cut():
    assert cutting.evenly(None, 5) == [Range()]
    assert cutting.evenly(10, 3) == [Range(0, 0, 3), Range(1, 3, 6), Range(2, 6, None)]
    assert cutting.near([0, 7, 8, 9], 10, 2) == [Range(0, 0, 7), Range(1, 7, None)]
    assert cutting.near([0], 10, 4) == [Range(0, 0, None)]


def test_the_calls_of_a_job_are_divided_among_its_runs():
    gate = Gate(PacePlan(concurrency=5), lambda: None)
    limits = []
    for gate.runs in (1, 2, 3, 9):
        limits.append(gate.limit)
    assert limits == [5, 2, 1, 1]
