"""Options of `score`: the job document they make, and which do not go together."""

from __future__ import annotations

import pytest

from scoreline.cli.model_options import ModelWords
from scoreline.cli.score_words import ScoreWords
from scoreline.jobs.spec import JobSpec
from tests.support.served import scoreline


def test_saying_nothing_leaves_all_to_the_server() -> None:
    assert ScoreWords().document() == {}


def test_everything_that_can_be_said() -> None:
    words = ScoreWords(
        passthrough='id,"a, b"',
        include_status=True,
        threshold=0.25,
        probabilities=False,
        classes="x,y",
        rename=["p=q"],
        drop=["THRESHOLD"],
        chunk_size="1000",
        concurrency=3,
        delimiter="tab",
        quotechar="'",
        encoding="latin_1",
        abort_on_error=False,
    )
    document = words.document()
    assert document == {
        "passthroughColumns": ["id", "a, b"],
        "includePredictionStatus": True,
        "includeProbabilities": False,
        "includeProbabilitiesClasses": ["x", "y"],
        "predictionThreshold": 0.25,
        "columnNamesRemapping": [
            {"inputName": "p", "outputName": "q"},
            {"inputName": "THRESHOLD", "outputName": None},
        ],
        "chunkSize": 1000,
        "numConcurrent": 3,
        "csvSettings": {"delimiter": "tab", "quotechar": "'", "encoding": "latin_1"},
        "abortOnError": False,
    }
    spec = JobSpec.from_document(document)
    assert spec.remap == (("p", "q"), ("THRESHOLD", None))


def test_all_columns() -> None:
    assert ScoreWords(passthrough_all=True).document() == {"passthroughColumnsSet": "all"}


def test_a_chunk_size_in_words_stays_a_word() -> None:
    assert ScoreWords(chunk_size="dynamic").document() == {"chunkSize": "dynamic"}


def test_what_is_said_about_a_model_is_a_registration() -> None:
    words = ModelWords("churn", "Binary", "yes", "no,yes", 0.3, ["zip=text"])
    assert words.document("m", "artifact:00") == {
        "name": "m",
        "target": {"name": "churn", "type": "Binary", "classNames": ["no", "yes"], "predictionThreshold": 0.3},
        "modelDescription": {"location": "artifact:00"},
        "positiveClass": "yes",
        "features": {"zip": "text"},
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "--deployment"),
        (("--deployment", "d", "--model", "m"), "--deployment"),
        (("--deployment", "d", "--target", "t"), "--model"),
        (("--deployment", "d", "--trust"), "--model"),
        (("--model", "m", "--passthrough", "a", "--passthrough-all"), "--passthrough-all"),
        (("--model", "m", "--rename", "a"), "name=value"),
        (("--model", "m", "--threshold", "2"), "threshold"),
    ],
)
def test_options_that_contradict_each_other_are_refused(more: tuple[str, ...], words: str) -> None:
    done = scoreline("score", "in.csv", "-o", "out.csv", *more, env={"COLUMNS": "200"})
    assert done.returncode == 2
    assert words in done.stderr
