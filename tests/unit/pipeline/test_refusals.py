"""Rows that cannot be scored and servers that do not score: what fails, what is asked again, what ends the run."""

import csv
import time
from dataclasses import replace

import pytest

from scoreline.errors import (
    DataRefused,
    Overloaded,
    ServerUnavailable,
    TooLarge,
    TooManyBadRows,
    WrongAnswer,
)
from scoreline.pipeline import ask, search
from scoreline.pipeline.tally import Tally
from scoreline.types import Counts, ErrorPlan, Feature, FeatureType, RunLimits, Scores
from tests.unit.pipeline.stand_ins import (
    PLAN,
    DoublingScorer,
)
from tests.unit.pipeline.whole import HEADER, Setting, expected, source


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
    assert any("not scored: 300 calls were spent" in line and "too high" in line for line in it.lines)


@pytest.mark.parametrize("times", [1, 2])
def test_a_call_that_takes_all_the_patience_is_made_once_more(times):
    left = [times]

    def refuse(values):
        if left[0]:
            left[0] -= 1
            time.sleep(0.05)
            raise ServerUnavailable("no answer")

    it = Setting(source(5), scorer=DoublingScorer(refuse), limits=RunLimits(patience_seconds=0.01))
    if times == 1:
        it.run()
        assert it.output.text.decode() == expected(5)
    else:
        with pytest.raises(ServerUnavailable):
            it.run()
    assert len(it.scorer.calls) == 2


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


def naming(row):
    """A server that takes no value above 500 and names the row at fault, or one that was never sent."""

    def refuse(values):
        if 1000 in values:
            raise DataRefused("too high for the model", values.index(1000) if row is None else row)

    return refuse


@pytest.mark.parametrize(
    ("bad", "refuse", "named"),
    [
        ("bad", None, "column 'x': 'bad' is not a number"),
        ("1000", refuse_above(500), None),
        ("1000", naming(None), "too high for the model"),
        ("1000", naming(99), None),
        ("1000", naming(-1), None),
    ],
    ids=["cell", "refused", "named", "named beyond", "named before"],
)
def test_without_row_level_handling_a_chunk_fails_whole(bad, refuse, named):
    text = "id,x\n" + "".join(f"{i},{bad if i == 50 else 1}\n" for i in range(100))
    it = Setting(text, size=100, scorer=DoublingScorer(refuse), row_level=False, abort_on_error=False)
    done = it.run()
    assert 1 < done.counts.failed < 50
    assert done.counts.read == 100
    failed = {row[2]: row[1].removeprefix("ERROR: ") for row in csv.reader(it.lines[1:]) if row[1] != "OK"}
    assert len(failed) == done.counts.failed
    if named is None:
        assert set(failed.values()) == {"too high for the model"}
    else:
        assert failed.pop("50") == named
        assert set(failed.values()) == {f"not scored: another row of its chunk is at fault: {named}"}
    with pytest.raises(TooManyBadRows):
        Setting(text, size=100, scorer=DoublingScorer(refuse), row_level=False).run()


def test_a_named_row_counts_within_the_chunk_where_a_server_takes_few_rows_at_once():
    def few(values):
        if len(values) > 4:
            raise TooLarge("too many")
        naming(None)(values)

    text = "id,x\n" + "".join(f"{i},{1000 if i == 50 else 1}\n" for i in range(100))
    it = Setting(text, size="fixed", scorer=DoublingScorer(few), row_level=False, abort_on_error=False)
    assert it.run().counts == Counts(100, 0, 100)
    assert [row[2] for row in csv.reader(it.lines) if row[1] == "ERROR: too high for the model"] == ["50"]


def test_a_run_that_goes_on_does_not_call_a_later_row_the_first():
    plan = ErrorPlan(max_failed_rows=2)
    tally = Tally(plan, [].append, Counts(10, 9, 1))
    with pytest.raises(TooManyBadRows, match=r"2 of 11 rows .*; one of them: Row 11 failed: bad; correct"):
        tally.add(Counts(1, 0, 1), {0: "bad"})
    tally = Tally(plan, [].append, Counts(10, 10, 0))
    with pytest.raises(TooManyBadRows, match=r"2 of 12 rows .*; the first: Row 11 failed: bad; correct"):
        tally.add(Counts(2, 0, 2), {0: "bad", 1: "worse"})
