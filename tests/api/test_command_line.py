"""The commands that talk to a server, against one that runs as users start it."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scoreline.cli.app import run
from tests.support import tiny
from tests.support.served import SCORELINE, Served, clean_environment, names, scoreline, served, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def deployment(server: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    model = tiny.save(tmp_path_factory.mktemp("model") / "model.txt")
    done = scoreline("deploy", str(model), "--name", "churn", *tiny.DEPLOY, "--json", env=server.env)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def jobs(server: Served) -> list[dict]:
    return list(json.loads(scoreline("jobs", "list", "--json", env=server.env).stdout))


def test_deploying_prints_the_id(server: Served, deployment: str, tmp_path: Path) -> None:
    model = tiny.save(tmp_path / "model.txt")
    done = scoreline("deploy", str(model), "--name", "second", *tiny.DEPLOY, env=server.env)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 24
    assert done.stdout.strip() != deployment


@pytest.mark.parametrize("by_name", [True, False])
def test_scoring_by_name_or_id(server: Served, deployment: str, tmp_path: Path, by_name: bool) -> None:
    text, expected = tiny.rows(2000)
    (tmp_path / "in.csv").write_text(text)
    words = ("--deployment", "churn" if by_name else deployment, "--passthrough", "id", "--json")
    done = scoreline("score", "in.csv", "-o", "out.csv", *words, env=server.env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], result["scoredRows"], result["failedRows"]) == (2000, 2000, 0)
    with (tmp_path / "out.csv").open() as file:
        scored = list(csv.DictReader(file))
    assert [row["id"] for row in scored] == [f"{number:05d}" for number in range(2000)]
    assert np.array_equal([float(row["churn_yes_PREDICTION"]) for row in scored], expected)
    assert names(tmp_path) == ["in.csv", "out.csv"]


def test_the_same_options_give_the_same_file_with_and_without_a_server(
    server: Served, deployment: str, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_bytes(tiny.rows(500)[0].replace(",", "\t").encode("latin-1"))
    tiny.save(tmp_path / "model.txt")
    words = [
        "--delimiter",
        "tab",
        "--encoding",
        "latin_1",
        "--passthrough-all",
        "--include-status",
        "--threshold",
        "0.3",
    ]
    words += ["--rename", "THRESHOLD=limit", "--drop", "POSITIVE_CLASS", "--chunk-size", "2000", "--concurrency", "3"]
    local = ("--model", "model.txt", "--target", tiny.TARGET, "--class-labels", "no,yes")
    one = scoreline("score", "in.csv", "-o", "1.csv", "--deployment", deployment, *words, env=server.env, cwd=tmp_path)
    two = scoreline("score", "in.csv", "-o", "2.csv", *local, *words, cwd=tmp_path)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert len((tmp_path / "1.csv").read_text().splitlines()) == 501


def test_pipes_in_and_out(server: Served, deployment: str) -> None:
    text, expected = tiny.rows(20)
    done = scoreline("score", "-", "-o", "-", "--deployment", deployment, env=server.env, input=text)
    assert done.returncode == 0, done.stderr
    scored = list(csv.DictReader(io.StringIO(done.stdout)))
    assert np.array_equal([float(row["churn_yes_PREDICTION"]) for row in scored], expected)


@pytest.mark.parametrize(
    ("text", "words", "part"),
    [
        ("", (), "no header"),
        ("id,years\n1,2\n", (), "income"),
        ("id,age,income\n1,2,3\n", ("--passthrough", "nothing"), "nothing"),
        ("id,age,income\n1,2,3\n", ("--classes", "maybe"), "maybe"),
        ("id,age,income\n1,2,3\n", ("--chunk-size", "big"), "chunkSize"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_no_file(
    server: Served, deployment: str, tmp_path: Path, text: str, words: tuple[str, ...], part: str
) -> None:
    (tmp_path / "in.csv").write_text(text)
    shared = ("score", "in.csv", "-o", "out.csv", "--deployment", deployment)
    done = scoreline(*shared, *words, env=server.env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr or (part == "no header" and "empty" in done.stderr)
    assert names(tmp_path) == ["in.csv"]


@pytest.mark.parametrize(
    ("words", "env", "part"),
    [
        (("--deployment", "nothing"), {}, "no deployment 'nothing'"),
        (("--deployment", "churn"), {"SCORELINE_TOKEN": "wrong"}, "token"),
        (("--deployment", "churn"), {"SCORELINE_TOKEN": ""}, "SCORELINE_TOKEN"),
        (("--deployment", "churn"), {"SCORELINE_URL": "http://127.0.0.1:9"}, "No server answers"),
    ],
)
def test_a_wrong_name_token_or_address(
    server: Served, deployment: str, tmp_path: Path, words: tuple[str, ...], env: dict[str, str], part: str
) -> None:
    assert deployment
    (tmp_path / "in.csv").write_text(tiny.rows(2)[0])
    done = scoreline("score", "in.csv", "-o", "out.csv", *words, env={**server.env, **env}, cwd=tmp_path)
    assert done.returncode == 1
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_name_that_several_have_is_not_guessed(server: Served, tmp_path: Path) -> None:
    model = tiny.save(tmp_path / "model.txt")
    ids = [scoreline("deploy", str(model), "--name", "twin", *tiny.DEPLOY, env=server.env).stdout.strip() for _ in "ab"]
    (tmp_path / "in.csv").write_text(tiny.rows(2)[0])
    done = scoreline("score", "in.csv", "-o", "out.csv", "--deployment", "twin", env=server.env, cwd=tmp_path)
    assert done.returncode == 1
    assert all(one in done.stderr for one in ids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_aborts_the_job_and_leaves_no_file(
    server: Served, deployment: str, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [*SCORELINE, "score", "-", "-o", "out.csv", "--deployment", deployment],
        stdin=subprocess.PIPE,
        env={**clean_environment(), **server.env},
        cwd=tmp_path,
    )
    assert process.stdin is not None
    process.stdin.write(tiny.rows(3000)[0].encode())
    process.stdin.flush()  # and more to come: the job runs while its upload does
    until(lambda: jobs(server)[0]["status"] == "RUNNING", what="the job's start")
    process.send_signal(number)
    assert process.wait(20) == 130
    process.stdin.close()
    assert jobs(server)[0]["status"] == "ABORTED"
    assert names(tmp_path) == []


def test_looking_at_a_job(server: Served, deployment: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(tiny.rows(40)[0])
    words = ("score", "in.csv", "-o", "out.csv", "--deployment", deployment, "--json")
    job = json.loads(scoreline(*words, env=server.env, cwd=tmp_path).stdout)["job"]
    listed = scoreline("jobs", "list", "--status", "completed", "--deployment", "churn", env=server.env)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[1].startswith(job)
    shown = scoreline("jobs", "show", job, env=server.env).stdout
    assert "COMPLETED" in shown
    assert "40 scored, 0 failed, 0 skipped" in shown
    assert scoreline("jobs", "logs", job, env=server.env).stdout.strip()
    done = scoreline("jobs", "download", job, "-o", "again.csv", env=server.env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    late = scoreline("jobs", "abort", job, env=server.env)
    assert late.returncode == 1
    assert late.stderr.startswith("Error: ")


def test_failed_rows_are_listed(server: Served, deployment: str, tmp_path: Path) -> None:
    lines = tiny.rows(40)[0].splitlines()
    lines[7] = "x,old,1"
    (tmp_path / "in.csv").write_text("\n".join(lines))
    words = ("score", "in.csv", "-o", "out.csv", "--deployment", deployment, "--errors", "bad.csv", "--json")
    job = json.loads(scoreline(*words, env=server.env, cwd=tmp_path).stdout)["job"]
    head = "row_number,reason,source_row\n"
    expected = head + """7,"column 'age': 'old' is not a number","x,old,1"\n"""
    assert (tmp_path / "bad.csv").read_text() == expected
    assert scoreline("jobs", "errors", job, env=server.env).stdout == expected
    lines[1:] = ["x,old,1"] * 5
    (tmp_path / "in.csv").write_text("\n".join(lines))
    done = scoreline(*words, env=server.env, cwd=tmp_path)
    assert done.returncode == 1
    assert "5 of 5 rows (100.0 %) failed" in done.stderr
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 6
    assert names(tmp_path) == ["bad.csv", "in.csv", "out.csv"]


def test_a_missing_model_column_ends_the_job_in_words(server: Served, deployment: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,age\n1,2\n")
    done = scoreline("score", "in.csv", "-o", "out.csv", "--deployment", deployment, env=server.env, cwd=tmp_path)
    assert done.returncode == 1
    assert "the model needs the column 'income'" in done.stderr
    assert names(tmp_path) == ["in.csv"]


def test_an_unknown_job_is_told(server: Served) -> None:
    for words in (("show",), ("logs",), ("abort",), ("errors",), ("download", "-o", "-")):
        done = scoreline("jobs", words[0], "f" * 24, *words[1:], env=server.env)
        assert done.returncode == 1
        assert "f" * 24 in done.stderr


def test_tokens_made_beside_a_running_server_work_at_once(server: Served) -> None:
    secret = scoreline("token", "create", "t", "--data-dir", str(server.data)).stdout.strip()
    env = {**server.env, "SCORELINE_TOKEN": secret}
    assert scoreline("jobs", "list", env=env).returncode == 0


def test_a_folder_is_deployed_and_needs_trust(server: Served, tmp_path: Path) -> None:
    import joblib
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path / "pickled"
    folder.mkdir()
    model = LogisticRegression().fit(np.array([[1.0], [2.0], [3.0], [4.0]]), [0, 0, 1, 1])
    joblib.dump(model, folder / "model.joblib")
    words = ("deploy", str(folder), "--name", "pickled", "--target", "y", "--feature-type", "x=numeric")
    refused = scoreline(*words, env=server.env)
    assert refused.returncode == 1
    assert "trust" in refused.stderr.lower()


def test_a_model_that_is_none_is_refused_in_words(server: Served, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    done = scoreline("deploy", str(tmp_path / "notes.txt"), "--name", "x", "--target", "y", env=server.env)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    missing = scoreline("deploy", str(tmp_path / "nothing"), "--name", "x", env=server.env)
    assert missing.returncode == 1
    assert "nothing" in missing.stderr


def test_deployments_are_run_from_the_command_line(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)

    def command(*words: str, code: int = 0) -> tuple[str, str]:
        """Run a command in this process: there are many of them."""
        assert run(words) == code, capsys.readouterr()
        return capsys.readouterr()

    def deployments(*words: str, code: int = 0) -> tuple[str, str]:
        return command("deployments", *words, code=code)

    file = str(tiny.save(tmp_path / "model.txt"))
    deployment_id = command("deploy", file, "--name", "to run", *tiny.DEPLOY, "--threshold", "0.3")[0].strip()
    row = next(line for line in deployments("list")[0].splitlines() if deployment_id in line)
    assert row.split("  ")[:2] == [deployment_id, "to run"]
    assert "Binary" in row
    deployments("update", "to run", "--name", "on the run", "--importance", "LOW", "--association-id", "id")
    shown = json.loads(deployments("show", "on the run", "--json")[0])
    assert (shown["id"], shown["importance"]) == (deployment_id, "LOW")
    assert shown["settings"]["associationId"]["columnNames"] == ["id"]
    text = deployments("show", deployment_id)[0]
    assert "importance:  LOW" in text
    assert "row id:      id\n" in text
    assert "regression" in deployments("update", "on the run", "--warn-above", "1", code=1)[1]
    deployments("update", "on the run", code=2)

    new = deployments("replace", "on the run", file, "--check")[1].split("--package ")[1].strip().rstrip(".")
    assert len(json.loads(deployments("history", deployment_id, "--json")[0])) == 1
    deployments("replace", "on the run", "--package", new, "--reason", "accuracy")
    assert "already" in deployments("replace", "on the run", "--package", new, code=1)[1]
    done = json.loads(deployments("replace", "on the run", file, "--json")[0])
    assert (done["status"], done["replaced"]) == ("passing", True)
    found = json.loads(deployments("history", deployment_id, "--json")[0])
    assert [(each["number"], each["modelPackage"]["version"], each["reason"]) for each in found] == [
        (3, 3, "OTHER"),
        (2, 2, "ACCURACY"),
        (1, 1, None),
    ]
    assert found[0]["modelPackage"]["id"] == done["modelPackageId"]
    table = deployments("history", "on the run")[0]
    assert "ACCURACY" in table
    assert new in table

    deployments("deactivate", "on the run")
    (tmp_path / "in.csv").write_text(tiny.rows(5)[0])
    words = ("score", "--deployment", "on the run", "in.csv", "-o", "out.csv")
    off = scoreline(*words, env=server.env, cwd=tmp_path)
    assert (off.returncode, "inactive" in off.stderr) == (1, True)
    deployments("activate", "on the run")
    assert scoreline(*words, env=server.env, cwd=tmp_path).returncode == 0
    with (tmp_path / "out.csv").open() as out:
        assert {each["THRESHOLD"] for each in csv.DictReader(out)} == {"0.3"}
    deployments("delete", "on the run")
    assert deployment_id not in deployments("list")[0]
    assert "There is no deployment" in deployments("show", deployment_id, code=1)[1]
