"""Whole runs in memory: order, counts, bad rows, stops, and going on after a break."""

import hashlib
import random
import threading
import time
from dataclasses import replace

import pytest

from scoreline.errors import (
    Cancelled,
    DataRefused,
    InvalidRequest,
    LostLease,
    OutputError,
    Overloaded,
    ServerUnavailable,
    SourceError,
    TooLarge,
    TooManyBadRows,
    WrongAnswer,
)
from scoreline.pipeline import ask, pace, run, search, write
from scoreline.types import Counts, CsvDialect, Feature, FeatureType, RunLimits, Scores
from tests.unit.pipeline.stand_ins import (
    PLAN,
    DoublingScorer,
    MemoryIntake,
    MemoryLedger,
    MemoryOutput,
    SeenProgress,
    ticket,
)

HEADER = "y_PREDICTION,prediction_status,id\n"


class Setting:
    """One run with all its surroundings."""

    def __init__(self, text, *, scorer=None, encoding="utf-8", block=1000, **options):
        data = text.encode(encoding) if isinstance(text, str) else text
        blocks = [data[i : i + block] for i in range(0, len(data), block)] if isinstance(data, bytes) else data
        self.intake = MemoryIntake(blocks)
        self.scorer = scorer or DoublingScorer()
        self.output = MemoryOutput()
        self.ledger = MemoryLedger()
        self.progress = SeenProgress()
        self.ticket = ticket(**options)

    def run(self):
        before = threading.active_count()
        try:
            return run(self.ticket, self.intake, self.scorer, self.output, self.ledger, self.progress)
        finally:
            self.intake.close()
            deadline = time.monotonic() + 5
            while threading.active_count() > before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert threading.active_count() <= before

    @property
    def lines(self):
        return self.output.text.decode().splitlines()


def source(rows: int) -> str:
    return "id,x\n" + "".join(f"r{i:05d},{i}.5\n" for i in range(rows))


def expected(rows: int) -> str:
    return HEADER + "".join(f"{2 * i + 1}.0,OK,r{i:05d}\n" for i in range(rows))


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


def test_bad_cells_ragged_rows_and_bad_bytes_fail_alone():
    data = b"id,x\na,1\nb,abc\nc\n\nd,2,3\n\xff,4\ne,5"
    it = Setting(data, size=8)
    done = it.run()
    assert it.lines == [
        HEADER.strip(),
        "2.0,OK,a",
        ",ERROR: column 'x': 'abc' is not a number,b",
        '"",'.replace('""', "") + '"ERROR: expected 2 fields, found 1",c',
        ',"ERROR: expected 2 fields, found 3",d',
        ",ERROR: column 'id' is not UTF-8: byte 1 of the field is 0xff,\ufffd",
        "10.0,OK,e",
    ]
    assert done.counts == Counts(6, 2, 4)
    assert it.progress.lines[0] == "Row 2 failed: column 'x': 'abc' is not a number"
    assert len(it.progress.lines) == 4


def refuse_above(limit):
    def refuse(values):
        if any(v is not None and v > limit for v in values):
            raise DataRefused("too high for the model")

    return refuse


def test_refused_rows_are_found_by_halving():
    values = [1] * 300
    values[17] = values[200] = 1000
    text = "id,x\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values))
    it = Setting(text, size="fixed", scorer=DoublingScorer(refuse_above(500)))
    done = it.run()
    assert done.counts == Counts(300, 298, 2)
    assert it.lines[18] == ",ERROR: too high for the model,17"
    assert it.lines[201] == ",ERROR: too high for the model,200"
    assert it.lines[202] == "2.0,OK,201"
    assert len(it.scorer.calls) <= 2 * 2 * 9 + 1


def test_a_server_that_names_the_row_needs_few_calls():
    def refuse(values):
        for i, value in enumerate(values):
            if value > 500:
                raise DataRefused("row at fault", row=i)

    text = "id,x\n" + "".join(f"{i},{1000 if i in (0, 7, 99) else 1}\n" for i in range(100))
    it = Setting(text, size="fixed", scorer=DoublingScorer(refuse))
    assert it.run().counts == Counts(100, 97, 3)
    assert len(it.scorer.calls) <= 7


def test_rows_the_model_takes_no_gaps_in_fail_alone_however_many():
    def refuse(values):
        if None in values:
            raise DataRefused("column 'x' is empty", row=values.index(None))

    plan = replace(PLAN, features=(Feature("x", FeatureType.NUMERIC, nullable=False),))
    text = "id,x\n" + "".join(f"{i},{'' if i < 4000 and i % 10 == 0 else i}\n" for i in range(8000))
    it = Setting(text, plan=plan, size="fixed", scorer=DoublingScorer(refuse), abort_on_error=False)
    assert it.run().counts == Counts(8000, 7600, 400)
    assert it.scorer.calls == [7600]


def test_many_refused_rows_cost_no_good_one():
    text = "id,x\n" + "".join(f"{i},{1000 if i % 20 == 7 else 1}\n" for i in range(8000))
    it = Setting(text, size="fixed", scorer=DoublingScorer(refuse_above(500)), abort_on_error=False)
    assert it.run().counts == Counts(8000, 7600, 400)
    assert [line.split(",")[0] for line in it.lines[1:]] == ["" if i % 20 == 7 else "2.0" for i in range(8000)]
    assert len(it.scorer.calls) < 3000


def test_a_chunk_without_a_row_that_is_taken_is_given_up():
    text = "id,x\n" + "".join(f"{i},1000\n" for i in range(2000))
    it = Setting(text, size="fixed", scorer=DoublingScorer(refuse_above(500)), abort_on_error=False)
    assert it.run().counts == Counts(2000, 0, 2000)
    assert len(it.scorer.calls) <= search.LEAST_CALLS + search.PROBES + 1
    assert any("not scored: none of the rows" in line and "too high" in line for line in it.lines)
    assert len(it.progress.lines) == 101


def test_the_search_has_an_end():
    text = "id,x\n" + "".join(f"{i},{1000 if i % 3 else 1}\n" for i in range(2000))
    limits = RunLimits(refusal_calls=150)
    it = Setting(text, size="fixed", scorer=DoublingScorer(refuse_above(500)), abort_on_error=False, limits=limits)
    counts = it.run().counts
    assert counts.read == 2000
    assert counts.scored > 50
    assert len(it.scorer.calls) == 301
    assert any("not scored: too many rows" in line and "too high" in line for line in it.lines)


def test_too_large_requests_are_split_and_no_row_fails():
    def refuse(values):
        if len(values) > 30:
            raise TooLarge("the request is over the limit")

    it = Setting(source(400), size="auto", scorer=DoublingScorer(refuse))
    assert it.run().counts == Counts(400, 400)
    assert it.output.text.decode() == expected(400)


def test_a_row_that_alone_is_too_large():
    def refuse(values):
        if 3.5 in values:
            raise TooLarge("over the limit")

    it = Setting(source(10), scorer=DoublingScorer(refuse))
    assert it.run().counts == Counts(10, 9, 1)
    assert it.lines[4] == ",ERROR: over the limit,r00003"


@pytest.mark.parametrize("problem", [Overloaded("busy", 0.0), Overloaded("busy"), ServerUnavailable("gone")])
def test_a_busy_server_is_asked_again(problem, monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.001)
    left = [problem] * 4

    def refuse(values):
        if left:
            raise left.pop()

    it = Setting(source(50), scorer=DoublingScorer(refuse))
    assert it.run().counts == Counts(50, 50)
    assert it.progress.lines == [f"Trying again: {problem.message}"]


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.001)

    def refuse(values):
        raise ServerUnavailable("nobody answers")

    it = Setting(source(50), scorer=DoublingScorer(refuse), limits=RunLimits(patience_seconds=0.05))
    with pytest.raises(ServerUnavailable, match="nobody answers"):
        it.run()
    assert it.output.committed is None


def test_answers_of_another_length_are_never_shifted(monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.001)

    class Short(DoublingScorer):
        def score(self, features, options):
            whole = super().score(features, options)
            return Scores(whole.values[1:])

    it = Setting(source(50), scorer=Short())
    with pytest.raises(WrongAnswer, match="49 predictions for 50 rows"):
        it.run()
    assert len(it.scorer.calls) == ask.WRONG_ANSWERS


def test_a_prediction_that_is_no_number_fails_its_row():
    it = Setting("id,x\na,1\nb,\nc,3\n")
    assert it.run().counts == Counts(3, 2, 1)
    assert it.lines[1:] == ["2.0,OK,a", ",ERROR: the model's prediction is not a finite number,b", "6.0,OK,c"]


def test_too_many_bad_rows_end_the_run():
    text = source(2000) + "".join(f"b{i},bad\n" for i in range(1000)) + source(20_000)[5:]
    it = Setting(text, size=2000)
    with pytest.raises(TooManyBadRows, match="the first: Row 2001 failed: column 'x': 'bad' is not a number;"):
        it.run()
    assert it.output.committed is None
    assert it.scorer.closed.is_set()
    counts = sum((flush.counts for flush in it.ledger.rows), Counts())
    assert counts.failed > 0.1 * counts.read
    assert counts.failed >= 100


def test_bad_rows_at_the_start_alone_end_the_run():
    bad = "id,x\n" + "".join(f"b{i},bad\n" for i in range(1000))
    with pytest.raises(TooManyBadRows):
        Setting(bad + source(50_000)[5:], size="fixed").run()
    few = Setting("id,x\na,bad\n")
    with pytest.raises(TooManyBadRows, match="1 of 1 rows"):
        few.run()
    allowed = Setting("id,x\na,bad\n", abort_on_error=False)
    assert allowed.run().counts == Counts(1, 0, 1)
    assert allowed.output.committed is not None


def test_ten_percent_is_not_too_much():
    text = "id,x\n" + "".join(f"{i},{'bad' if i % 10 == 9 else 1}\n" for i in range(2000))
    it = Setting(text, size=500)
    assert it.run().counts == Counts(2000, 1800, 200)
    assert len(it.progress.lines) == 101


@pytest.mark.parametrize("scorer", [DoublingScorer(), DoublingScorer(refuse_above(500))])
def test_without_row_level_handling_a_chunk_fails_whole(scorer):
    bad = "bad" if scorer.refuse is None else "1000"
    text = "id,x\n" + "".join(f"{i},{bad if i == 50 else 1}\n" for i in range(100))
    it = Setting(text, size=100, scorer=scorer, row_level=False, abort_on_error=False)
    done = it.run()
    assert 1 < done.counts.failed < 50
    assert done.counts.read == 100
    with pytest.raises(TooManyBadRows):
        Setting(text, size=100, scorer=scorer, row_level=False).run()


def stopped(it, after=0.3, within=1.5):
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
    monkeypatch.setattr(write, "FLUSH_SECONDS", 0.0)
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
