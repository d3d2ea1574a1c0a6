"""Runs that are stopped, break, and go on."""

import gzip
import threading
import time

import pyarrow as pa
import pytest

from scoreline.errors import (
    Cancelled,
    LostLease,
    OutputError,
    Overloaded,
    SourceError,
)
from scoreline.pipeline.bytesource import ByteSource
from scoreline.rows import forms
from scoreline.types import Counts, CsvDialect
from tests.unit.pipeline.stand_ins import (
    DoublingScorer,
)
from tests.unit.pipeline.whole import HEADER, Setting, expected, source


def stopped(it, after=0.3, within=15):
    began = time.monotonic()
    timer = threading.Timer(after, it.progress.stop.set)
    timer.start()
    with pytest.raises(Cancelled):
        it.run()
    timer.join()
    assert time.monotonic() - began < after + within
    assert it.output.committed is None


def test_stop_while_the_intake_waits():
    it = Setting(source(1))
    it.intake.given = [b"id,", it.intake.wait]
    stopped(it)
    it = Setting(source(1))
    it.intake.given = [source(10).encode(), it.intake.wait]
    stopped(it, after=1.5)
    assert it.output.text.decode() == expected(10)  # what had come was scored meanwhile


def test_stop_cuts_calls_and_drops_answers():
    scorer = DoublingScorer()

    def hang(values):
        scorer.closed.wait(20)
        raise RuntimeError("the client was closed")

    scorer.refuse = hang
    it = Setting(source(500), size=500, scorer=scorer)
    stopped(it)
    assert it.output.text.decode() == HEADER
    assert len(scorer.calls) == 2


def test_stop_while_it_waits_to_try_again():
    def refuse(values):
        raise Overloaded("busy", 60)

    stopped(Setting(source(50), scorer=DoublingScorer(refuse)))


def test_a_progress_or_ledger_may_say_why():
    it = Setting(source(50))

    def lost(flush):
        raise LostLease("Another worker has the job.")

    it.ledger.record = lost
    with pytest.raises(LostLease):
        it.run()


def test_an_error_of_the_source_comes_after_the_rows_before_it():
    def broken():
        raise SourceError("the upload broke off")

    it = Setting(source(50), size=100)
    it.intake.given += [broken]
    with pytest.raises(SourceError, match="broke off"):
        it.run()
    assert it.output.committed is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("after", [0, 1, 2, 5, 11])
def test_going_on_after_a_break(encoding, after, monkeypatch):
    monkeypatch.setattr(forms.CsvForm, "flush_seconds", 0.0)
    text = "\n" + source(300)
    dialect = CsvDialect(encoding=encoding)
    whole = Setting(text, size=300, dialect=dialect, encoding=encoding)
    whole.run()
    it = Setting(text, size=300, dialect=dialect, encoding=encoding)
    keep = it.ledger.record

    def record(flush):
        if len(it.ledger.rows) >= after:
            raise LostLease("killed here")
        keep(flush)

    it.ledger.record = record
    with pytest.raises(LostLease):
        it.run()
    assert len(it.ledger.rows) == after
    it.ledger.record = keep
    it.scorer = DoublingScorer()
    done = it.run()
    assert it.output.text == whole.output.text
    assert done.counts == Counts(300, 300)
    assert (done.bytes_in, done.bytes_out) == (len(text.encode(encoding)), len(whole.output.text))
    assert sum(it.scorer.calls) == 300 - sum(flush.counts.read for flush in it.ledger.rows[:after])
    assert it.output.opened == [{"name": "memory"}] * 2
    again = Setting(text, size=300, dialect=dialect, encoding=encoding)
    again.ledger, again.output = it.ledger, it.output
    assert again.run().counts == Counts(300, 300)  # died between commit and the note that it is done
    assert again.scorer.calls == []


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_going_on_in_packed_data(encoding, packing, monkeypatch):
    """Positions count unpacked text: what is packed is unpacked from its start again."""
    monkeypatch.setattr(forms.CsvForm, "flush_seconds", 0.0)
    plain = source(300).encode(encoding)
    data = gzip.compress(plain) if packing == "gzip" else pa.Codec("zstd").compress(plain, asbytes=True)
    it = Setting(data, size=300, block=100, dialect=CsvDialect(encoding=encoding))
    keep = it.ledger.record

    def record(flush):
        if len(it.ledger.rows) >= 5:
            raise LostLease("killed here")
        keep(flush)

    it.ledger.record = record
    with pytest.raises(LostLease):
        it.run()
    it.ledger.record = keep
    begin = it.intake.blocks

    def late(part, offset):
        time.sleep(0.3)  # what watches the run looks before anything has come again
        yield from begin(part, offset)

    it.intake.blocks = late
    done = it.run()
    assert it.output.text.decode(encoding) == expected(300)
    assert (done.counts, done.bytes_in) == (Counts(300, 300), len(data))
    assert max(seen.bytes_in for seen in it.progress.reports) == len(data)


def test_a_run_that_lost_rows_is_not_completed(monkeypatch):
    """What was written is held against what was read, before anything is committed."""
    every = ByteSource.chunks

    def but_the_last(self, number, target):
        chunks = list(every(self, number, target))
        return iter(chunks[:-1])

    monkeypatch.setattr(ByteSource, "chunks", but_the_last)
    it = Setting(source(50), size=100)
    with pytest.raises(OutputError, match="it holds the source up to 583 of 595"):
        it.run()
    assert it.output.committed is None
