"""`scoreline score --plan`: what scoring would do, told from the first rows; nothing is written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import tiny
from tests.support.served import scoreline

MODEL = ("--model", "model.txt", "--target", tiny.TARGET, "--class-labels", "no,yes")
COUNT = 50_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(tmp_path / "model.txt")
    return tmp_path


def plan(folder: Path, source: str, *words: str, code: int = 0) -> dict[str, Any]:
    before = sorted(folder.iterdir())
    done = scoreline("score", source, *MODEL, "--plan", "--json", *words, cwd=folder)
    assert done.returncode == code, done.stderr
    assert sorted(folder.iterdir()) == before
    return json.loads(done.stdout)


def test_a_large_file_is_judged_by_its_first_rows(folder: Path) -> None:
    text, probabilities = tiny.rows(COUNT)
    (folder / "in.csv").write_text(text)
    found = plan(folder, "in.csv", "-o", "out.csv", "--passthrough", "id")
    assert (found["ready"], found["problems"], found["warnings"]) == (True, [], [])
    assert found["source"]["bytes"] == len(text)
    assert found["source"]["rowsAreExact"] is False
    assert found["source"]["rows"] == pytest.approx(COUNT, rel=0.02)
    assert found["sample"]["rows"] < COUNT / 2
    assert (found["sample"]["failedRows"], found["sample"]["errors"]) == (0, [])
    assert [each["name"] for each in found["outputColumns"]] == [*tiny.HEADER.split(",")[1:], "id"]
    assert [float(row["churn_yes_PREDICTION"]) for row in found["sample"]["output"]] == probabilities[:5].tolist()
    assert found["extraColumns"] == []
    _, scored = tiny.scored(COUNT)
    assert found["estimate"]["outputBytes"] == pytest.approx(len(scored), rel=0.02)
    assert 0 < found["estimate"]["seconds"] < 60


def test_a_small_packed_file_is_known_whole(folder: Path) -> None:
    (folder / "in.csv.gz").write_bytes(gzip.compress(tiny.rows(100)[0].encode()))
    found = plan(folder, "in.csv.gz")
    assert found["source"] == {"bytes": (folder / "in.csv.gz").stat().st_size, "rows": 100, "rowsAreExact": True}


def test_cells_that_are_no_numbers_are_counted_by_column(folder: Path) -> None:
    (folder / "in.csv").write_text("id,age,income,more\n1,40,1000,x\n2,old,,x\n3,NA,2000,x\n4,young,3,x\n")
    found = plan(folder, "in.csv")
    age, income = found["inputColumns"]
    assert (age["found"], age["emptyCells"], age["unreadableCells"]) == ("unreadable", 1, 2)
    assert age["example"] == "column 'age': 'old' is not a number"
    assert (income["found"], income["emptyCells"], income["unreadableCells"]) == ("ok", 1, 0)
    assert found["extraColumns"] == ["id", "more"]
    assert [(each["row"], each["reason"]) for each in found["sample"]["errors"]] == [
        (2, "column 'age': 'old' is not a number"),
        (4, "column 'age': 'young' is not a number"),
    ]


def test_what_would_end_the_job_is_told_with_all_columns(folder: Path) -> None:
    (folder / "in.csv").write_text("id,age\n1,40\n")
    found = plan(folder, "in.csv", code=1)
    assert found["ready"] is False
    assert "the model needs the column 'income'" in found["problems"][0]
    assert [(each["name"], each["found"]) for each in found["inputColumns"]] == [("age", "ok"), ("income", "missing")]
    found = plan(folder, "in.csv", "--passthrough", "name", code=1)
    assert "name" in found["problems"][0]


def test_parquet_tells_its_rows_and_which_types_are_read_as_others(folder: Path) -> None:
    table = pa.table({"age": pa.array(["40", "41", "x"]), "income": pa.array([1, 2, None], pa.int32())})
    pq.write_table(table, folder / "in.parquet")
    found = plan(folder, "in.parquet", "-o", "out.parquet")
    assert (found["source"]["rows"], found["source"]["rowsAreExact"]) == (3, True)
    age, income = found["inputColumns"]
    assert (age["found"], age["sourceType"], age["unreadableCells"]) == ("unreadable", "string", 1)
    assert (income["found"], income["sourceType"], income["emptyCells"]) == ("ok", "int32", 1)
    assert {each["name"]: each["type"] for each in found["outputColumns"]}["churn_yes_PREDICTION"] == "double"
    pq.write_table(table.slice(0, 2), folder / "in.parquet")
    assert plan(folder, "in.parquet")["inputColumns"][0]["found"] == "coerced"


def test_no_rows_are_no_problem(folder: Path) -> None:
    (folder / "in.csv").write_text("age,income\n")
    found = plan(folder, "in.csv")
    assert (found["ready"], found["source"]["rows"], found["sample"]["rows"]) == (True, 0, 0)


def test_people_read_it_as_tables(folder: Path) -> None:
    (folder / "in.csv").write_text("id,age,income\n1,40,1000\n2,old,\n")
    done = scoreline("score", "in.csv", *MODEL, "--plan", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split() == [
        "age",
        "numeric",
        "unreadable",
        "0",
        "1",
        "column",
        "'age':",
        "'old'",
        "is",
        "not",
        "a",
        "number",
    ]
    assert "source:   31 bytes, 2 rows" in lines
    assert "sample:   2 rows, of which 1 would fail" in lines
    assert "not used: id" in lines
    assert "Row 2 would fail: column 'age': 'old' is not a number" in done.stderr


def test_without_output_or_plan_the_command_says_what_is_missing(folder: Path) -> None:
    (folder / "in.csv").write_text("age,income\n")
    done = scoreline("score", "in.csv", *MODEL, cwd=folder)
    assert done.returncode == 2
    assert "--plan" in done.stderr
