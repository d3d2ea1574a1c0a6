"""`scoreline score --model`: the whole way with no server."""

from __future__ import annotations

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

from tests.support import kinds, tiny
from tests.support.served import SCORELINE, clean_environment, names, scoreline, until

MODEL = ("--model", "model.txt", "--target", tiny.TARGET, "--class-labels", "no,yes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(tmp_path / "model.txt")
    return tmp_path


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_values_are_the_models_own_and_text_stays_text(folder: Path) -> None:
    text, expected = tiny.rows(1000)
    (folder / "in.csv").write_text(text)
    done = scoreline("score", "in.csv", "-o", "out.csv", *MODEL, "--passthrough", "id", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], result["scoredRows"], result["failedRows"]) == (1000, 1000, 0)
    scored = table((folder / "out.csv").read_text())
    assert list(scored[0]) == [*tiny.HEADER.split(",")[1:], "id"]
    assert [row["id"] for row in scored] == [f"{number:05d}" for number in range(1000)]
    assert np.array_equal([float(row["churn_yes_PREDICTION"]) for row in scored], expected)
    assert all(row["churn_PREDICTION"] == ("yes" if p > 0.5 else "no") for row, p in zip(scored, expected, strict=True))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("multilabel", ("--target", "tags", "--class-labels", "red,big", "--label-threshold", "big=0.1")),
        ("anomaly", ()),
        ("clustering", ()),
    ],
)
def test_other_kinds_of_targets_write_their_golden_files(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    joblib.dump(getattr(kinds, kind)(), tmp_path / "model.joblib")
    source = str(kinds.GOLDEN / f"{kind}.rows.csv")
    model = ("--model", "model.joblib", "--trust", *words)
    done = scoreline("score", source, "-o", "out.csv", *model, "--passthrough", "id", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_bytes() == (kinds.GOLDEN / f"{kind}.csv").read_bytes()


@pytest.mark.parametrize("by", ["name", "pipe"])
def test_packed_files(folder: Path, by: str) -> None:
    text, expected = tiny.rows(2000)
    with gzip.open(folder / "in.csv.gz", "wt") as file:
        file.write(text)
    packed = (folder / "in.csv.gz").read_bytes()
    source, given = ("in.csv.gz", None) if by == "name" else ("-", packed)
    done = subprocess.run(
        [*SCORELINE, "score", source, "-o", "out.csv", *MODEL],
        check=False,
        input=given,
        cwd=folder,
        env=clean_environment(),
    )
    assert done.returncode == 0
    scored = table((folder / "out.csv").read_text())
    assert np.array_equal([float(row["churn_yes_PREDICTION"]) for row in scored], expected)


def test_nothing_is_said_where_nobody_watches(folder: Path) -> None:
    (folder / "in.csv").write_text(tiny.rows(10)[0])
    done = scoreline("score", "in.csv", "-o", "out.csv", *MODEL, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_reads_and_writes_pipes(folder: Path) -> None:
    text, expected = tiny.rows(25)
    done = scoreline("score", "-", "-o", "-", *MODEL, "--no-probabilities", cwd=folder, input=text)
    assert done.returncode == 0, done.stderr
    scored = table(done.stdout)
    assert len(scored) == 25
    assert list(scored[0]) == ["churn_PREDICTION", "THRESHOLD", "POSITIVE_CLASS"]
    assert [row["churn_PREDICTION"] for row in scored] == ["yes" if p > 0.5 else "no" for p in expected]


def test_options_reach_the_output(folder: Path) -> None:
    text, expected = tiny.rows(30)
    (folder / "in.csv").write_bytes(text.replace(",", ";").encode("utf-16"))
    words = ["--delimiter", ";", "--encoding", "utf-16", "--threshold", "0.9", "--positive-class", "no"]
    words += ["--rename", "churn_PREDICTION=answer", "--drop", "THRESHOLD", "--include-status", "--classes", "no"]
    done = scoreline("score", "in.csv", "-o", "out.csv", *MODEL, *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = (folder / "out.csv").read_bytes().decode("utf-16").splitlines()
    assert lines[0] == "churn_no_PREDICTION;answer;POSITIVE_CLASS;prediction_status"
    answers = [line.split(";")[1] for line in lines[1:]]
    assert answers == ["no" if 1 - p > 0.9 else "yes" for p in expected]


def test_bad_rows_keep_their_place_and_are_told(folder: Path) -> None:
    text, _ = tiny.rows(100)
    lines = text.splitlines()
    lines[50] = "00049,old,1000"
    (folder / "in.csv").write_text("\n".join(lines) + "\n")
    done = scoreline("score", "in.csv", "-o", "out.csv", *MODEL, "--passthrough", "id", cwd=folder)
    assert done.returncode == 0
    assert "1 of 100 rows could not be scored" in done.stderr
    assert "--include-status" in done.stderr
    scored = table((folder / "out.csv").read_text())
    assert [number for number, row in enumerate(scored) if not row["churn_PREDICTION"]] == [49]
    words = ("score", "in.csv", "-o", "out.csv", *MODEL)
    assert scoreline(*words, "--errors", "bad.csv", cwd=folder).returncode == 0
    [listed] = table((folder / "bad.csv").read_text())
    assert (listed["row_number"], listed["source_row"]) == ("50", "00049,old,1000")
    assert listed["reason"] == "column 'age': 'old' is not a number"
    lines[1:] = [f"{number},old,1" for number in range(30)]
    (folder / "in.csv").write_text("\n".join(lines) + "\n")
    assert scoreline(*words, "--errors", "bad.csv", cwd=folder).returncode == 1  # no row is left
    assert len(table((folder / "bad.csv").read_text())) == 30
    assert scoreline(*words, "--errors", "./out.csv", cwd=folder).returncode == 2
    assert names(folder) == ["bad.csv", "in.csv", "model.txt", "out.csv"]


@pytest.mark.parametrize(
    ("text", "words", "part"),
    [
        ("", (), "no header"),
        ("id,years\n1,2\n", (), "income"),
        ("id,age,income\n1,2,3\n", ("--passthrough", "nothing"), "nothing"),
        ("id,age,income\n1,2,3\n", ("--encoding", "utf-99"), "encoding"),
        ("id,age,income\n1,2,3\n", ("--target-type", "Regression"), "target.type"),
        ("id,age,income\n1,2,3\n", ("--positive-class", "maybe"), "maybe"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_no_file(
    folder: Path, text: str, words: tuple[str, ...], part: str
) -> None:
    (folder / "in.csv").write_text(text)
    done = scoreline("score", "in.csv", "-o", "out.csv", *MODEL, *words, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr
    assert names(folder) == ["in.csv", "model.txt"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("in.csv", "-o", "out.csv", "--model", "nowhere.txt"), "nowhere.txt"),
        (("nothing.csv", "-o", "out.csv", *MODEL), "nothing.csv"),
        (("in.csv", "-o", "nowhere/out.csv", *MODEL), "nowhere/out.csv"),
        (("in.csv", "-o", ".", *MODEL), "folder"),
        (("in.csv", "-o", "out.csv", "--model", "in.csv", "--target", "x"), "in.csv"),
    ],
)
def test_a_wrong_place_is_named(folder: Path, words: tuple[str, ...], part: str) -> None:
    (folder / "in.csv").write_text(tiny.rows(3)[0])
    done = scoreline("score", *words, cwd=folder)
    assert done.returncode == 1
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_old_output_stays_when_the_run_fails(folder: Path) -> None:
    (folder / "in.csv").write_text("id,years\n1,2\n")
    (folder / "out.csv").write_text("old\n")
    assert scoreline("score", "in.csv", "-o", "out.csv", *MODEL, cwd=folder).returncode == 1
    assert (folder / "out.csv").read_text() == "old\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_no_half_file(folder: Path, number: signal.Signals) -> None:
    text = tiny.rows(5000)[0]
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*SCORELINE, "score", "-", "-o", "out.csv", *MODEL],
            stdin=subprocess.PIPE,
            stderr=said,
            env=clean_environment(),
            cwd=folder,
        )
        assert process.stdin is not None
        process.stdin.write(text.encode())
        process.stdin.flush()  # and more to come: the run waits in the middle of its source
        until(lambda: [name for name in names(folder) if name.endswith(".part")], what="the begun output")
        process.send_signal(number)
        assert process.wait(20) == 130
        process.stdin.close()
    assert names(folder) == ["model.txt", "said.txt"]


def test_what_only_a_server_needs_is_not_loaded(folder: Path) -> None:
    """A file of ten rows is scored before SQLAlchemy would be there."""
    (folder / "in.csv").write_text(tiny.rows(10)[0])
    words = ["score", "in.csv", "-o", "out.csv", *MODEL]
    code = f"import sys; from scoreline.cli.app import run; print(run({words}), *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=folder, env=clean_environment()
    )
    result, *loaded = done.stdout.split()
    assert result == "0", done.stderr
    assert not {"sqlalchemy", "scoreline.store", "yaml", "httpx2", "fastapi", "pandas"} & set(loaded)
