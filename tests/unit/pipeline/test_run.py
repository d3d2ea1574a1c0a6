"""Whole runs in memory: order, counts, encodings, blocks."""

import hashlib
import random
import time
from dataclasses import replace

import pytest

from scoreline.errors import (
    InvalidRequest,
    OutputError,
    SourceError,
)
from scoreline.pipeline import pace
from scoreline.types import Counts, CsvDialect, Feature, FeatureType, RunLimits
from tests.unit.pipeline.stand_ins import (
    PLAN,
    DoublingScorer,
    ticket,
)
from tests.unit.pipeline.whole import HEADER, Setting, expected, source


@pytest.mark.parametrize("size", ["auto", "fixed", "dynamic", 10, 500, 10_000])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_rows_in_order(size, concurrency):
    def dawdle(values):
        time.sleep(random.random() * 0.003)

    it = Setting(source(400), size=size, concurrency=concurrency, scorer=DoublingScorer(dawdle))
    done = it.run()
    assert it.output.text.decode() == expected(400)
    assert done.counts == Counts(400, 400)
    assert (done.bytes_in, done.bytes_out) == (len(source(400)), len(expected(400)))
    assert [r.data["first"] for r in it.output.committed] == [flush.first for flush in it.ledger.rows]
    assert it.scorer.most <= concurrency
    last = it.progress.reports[-1]
    assert (last.counts, last.bytes_in, last.bytes_out) == (done.counts, done.bytes_in, done.bytes_out)
    assert sum((flush.counts for flush in it.ledger.rows), Counts()) == done.counts
    if size == 10:
        assert it.scorer.calls == [1] * 400


def test_the_digest_is_of_the_whole_output_and_read_back_when_a_run_goes_on():
    it = Setting(source(50), size=500)
    assert it.run().sha256 == hashlib.sha256(expected(50).encode()).hexdigest()
    assert it.run().sha256 == "read back"


def test_a_result_may_have_so_many_bytes_and_no_more():
    size = len(expected(50))
    assert Setting(source(50), size=500, limits=RunLimits(max_result_bytes=size)).run().bytes_out == size
    it = Setting(source(50), size=500, limits=RunLimits(max_result_bytes=size - 1))
    with pytest.raises(OutputError, match=f"more than the {size - 1} bytes"):
        it.run()
    assert it.output.committed is None


def test_a_source_that_has_changed_ends_the_run():
    one, other = {"bytes": 5, "version": "a"}, {"bytes": 5, "version": "b"}
    for told in ([one, one], [None, one], [None, None]):
        it = Setting(source(5))
        it.intake.identities = list(told)
        assert it.run().counts == Counts(5, 5)
    for told in ([one, other], [other, one]):
        it = Setting(source(5))
        it.intake.identities = list(told)
        with pytest.raises(SourceError, match="its version is another"):
            it.run()
        assert it.output.committed is None
    it = Setting(source(5))
    it.ledger.source = other
    it.intake.identities = [one]
    with pytest.raises(SourceError, match="has changed since the job began"):
        it.run()
    assert not it.output.blocks


def test_calls_are_made_at_once_up_to_the_limit():
    it = Setting(source(64), size=80, concurrency=3, scorer=DoublingScorer(seconds=0.02))
    it.run()
    assert it.scorer.most == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "shift_jis", "utf-16-le", "cp1252"])
def test_other_encodings(encoding):
    name = "名前" if encoding == "shift_jis" else "größe"
    text = f"id,x,{name}\n" + "".join(f"r{i},{i},{name}\n" for i in range(100))
    plan = replace(PLAN, passthrough=("id", name))
    it = Setting(text, plan=plan, dialect=CsvDialect(encoding=encoding), encoding=encoding, block=7, size=200)
    done = it.run()
    wanted = f"y_PREDICTION,prediction_status,id,{name}\n" + "".join(f"{2 * i}.0,OK,r{i},{name}\n" for i in range(100))
    assert it.output.text == wanted.encode(encoding)
    assert done.bytes_in == len(text.encode(encoding))


def test_bytes_that_the_encoding_lacks_fail_their_row():
    data = "id,x\nr1,1\n名,2\n".encode("shift_jis") + b"\x81,3\nr\xff,\xff\nr5,5\n\x81"
    it = Setting(data, dialect=CsvDialect(encoding="shift_jis"), block=3, abort_on_error=False)
    assert it.run().counts == Counts(6, 3, 3)
    assert it.output.text.decode("shift_jis").splitlines()[1:] == [
        "2.0,OK,r1",
        "4.0,OK,名",
        ",ERROR: column 'id' has bytes that are not text in the encoding shift_jis,?",
        ",ERROR: column 'x' has bytes that are not text in the encoding shift_jis,r?",
        "10.0,OK,r5",
        ',"ERROR: expected 2 fields, found 1",?',
    ]


def test_a_broken_escape_fails_the_rows_that_it_meets():
    """Python reads what stands behind an unknown escape as Latin-1, which the output's encoding does not have."""
    data = "id,x\n名,1\n".encode("iso2022_jp") + b"\x1bq,2\n\xe4,3\nB,4\n" + "名,5\n".encode("iso2022_jp")
    it = Setting(data, dialect=CsvDialect(encoding="iso2022_jp"), block=3, abort_on_error=False)
    assert it.run().counts == Counts(5, 3, 2)
    rows = it.output.text.decode("iso2022_jp").splitlines()[1:]
    assert [row.rsplit(",", 1)[1] for row in rows] == ["名", "?q", "?", "B", "名"]
    assert [row.split(",")[0] for row in rows] == ["2.0", "", "", "8.0", "10.0"]


def test_a_message_with_signs_that_the_encoding_lacks():
    long = "ä" * 100
    it = Setting(f"id,x\na,{long}\nb,1\n", dialect=CsvDialect(encoding="latin-1"), encoding="latin-1")
    assert it.run().counts == Counts(2, 1, 1)
    assert it.output.text.decode("latin-1").splitlines()[1:] == [
        f",ERROR: column 'x': '{'ä' * 59}?' is not a number,a",
        "2.0,OK,b",
    ]


def test_a_header_that_is_no_text_in_the_encoding():
    with pytest.raises(SourceError, match="header has bytes that are not text in the encoding ascii"):
        Setting("größe,x\n1,2\n", dialect=CsvDialect(encoding="ascii")).run()


def test_an_unknown_encoding():
    with pytest.raises(SourceError, match="'klingon'"):
        Setting("id,x\n", dialect=CsvDialect(encoding="klingon")).run()


def test_a_character_that_the_output_lacks():
    # A name of the output that the source's encoding has no way to write.
    plan = replace(PLAN, remap=(("y_PREDICTION", "y€"),))
    with pytest.raises(OutputError, match="no character '€'"):
        Setting("id,x\nr,1\n", plan=plan, dialect=CsvDialect(encoding="latin-1")).run()


def test_delimiters_that_cannot_be():
    for dialect in (CsvDialect("€"), CsvDialect(",", ","), CsvDialect("\n"), CsvDialect("", '"')):
        with pytest.raises(InvalidRequest):
            Setting("id,x\n", dialect=dialect).run()


@pytest.mark.parametrize("text", ["id,x\n", "id,x", "\ufeffid,x\r\n\r\n\n"])
def test_a_header_alone_is_a_whole_file(text):
    it = Setting(text)
    done = it.run()
    assert it.output.text.decode() == HEADER
    assert done.counts == Counts()
    assert it.scorer.calls == []
    assert it.output.committed is not None


@pytest.mark.parametrize("text", ["", "\ufeff", " \n"])
def test_nothing_at_all(text):
    it = Setting(text)
    with pytest.raises(SourceError, match="the intake contains no header"):
        it.run()
    assert it.ledger.state is None


def test_what_the_header_lacks_is_said_before_anything_is_written():
    for text, said in [
        ("id,z\n1,2\n", "'x'"),
        ("x,z\n1,2\n", "'id'"),
        ("id,x,id\n1,2,3\n", "'id' more than once"),
    ]:
        it = Setting(text)
        with pytest.raises(SourceError, match=said):
            it.run()
        assert it.ledger.state is None
        assert it.scorer.calls == []


def test_a_model_column_that_is_optional_may_be_absent():
    """Not seen as a fault of the rows, but told."""
    more = (Feature("w", FeatureType.TEXT, optional=True), Feature("n", FeatureType.INTEGER, optional=True))
    plan = replace(PLAN, features=(*PLAN.features, *more))
    seen = []

    class Looking(DoublingScorer):
        def score(self, features, options):
            seen.append(features.to_pydict())
            return super().score(features, options)

    it = Setting("id,x\na,1\n", plan=plan, scorer=Looking())
    done = it.run()
    assert done.counts == Counts(1, 1)
    assert seen == [{"x": [1.0], "w": [None], "n": [None]}]
    assert len(it.progress.lines) == 1
    assert "lacks the model's 2 columns 'w', 'n'" in it.progress.lines[0]
    assert it.progress.lines == [f"Warning: {warning}" for warning in done.warnings]
    needed = replace(plan, features=(*plan.features, Feature("m", FeatureType.NUMERIC)))
    it = Setting("id,x\na,1\n", plan=needed)
    with pytest.raises(SourceError, match="the 3 columns 'w', 'n', 'm'"):
        it.run()
    assert it.ledger.state is None


def test_first_rows_are_out_at_once_and_then_in_blocks():
    it = Setting(source(3000), size=200, scorer=DoublingScorer(seconds=0.001))
    it.run()
    assert [(flush.first, flush.last) for flush in it.ledger.rows][:2] == [(0, 0), (1, 1)]
    assert len(it.ledger.rows) <= 4


def test_pace_grows_with_quick_chunks_and_shrinks_with_slow_ones():
    it = pace.Pace(ticket().pace)
    assert it.target() == pace.FIRST_BYTES
    for _ in range(10):
        it.done(it.target(), 0.05)
    assert it.target() == pace.MOST_BYTES
    it.done(it.target(), 8.0)
    assert it.target() == pace.MOST_BYTES // 8
    it.too_large(300_000)
    for _ in range(10):
        it.done(it.target(), 0.01)
    assert it.target() == 150_000
    assert pace.Pace(ticket(size=77).pace).target() == 77
