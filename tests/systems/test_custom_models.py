"""Folders of DRUM custom models, run by a real DRUM in its own environment; expected values are computed here."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
import warnings
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd
import psutil
import pytest

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken, ModelCrashed, SetupError
from scoreline.models.drum import SETTING
from tests.support.served import scoreline, served, until
from tests.systems.conftest import SYSTEMS
from tests.systems.test_good_rows import check_binary

HOOKS = """
import os
import pandas as pd
from helpers.rule import risk

def init(code_dir, **kwargs):
    global WEIGHT
    with open(os.path.join(code_dir, "weight.txt")) as file:
        WEIGHT = float(file.read())

def load_model(code_dir):
    assert os.path.samefile(code_dir, os.getcwd())
    return {"weight": WEIGHT}

def transform(data, model):
    data = data.copy()
    data["twice"] = data["age"] * 2
    return data

def score(data, model, **kwargs):
    if (data["age"] < 0).any():
        raise ValueError("age is negative:\\n%s" % data["age"].min())
    if (data["age"] > 1000).any():
        os.kill(os.getpid(), 9)
    if (data["age"] == 999).any():
        raise SystemExit("nobody may leave")
    positive = risk(data["twice"], model["weight"])
    return pd.DataFrame({kwargs["negative_class_label"]: 1 - positive, kwargs["positive_class_label"]: positive})

def post_process(predictions, model):
    return predictions.round(6)
"""
LABELS = ["--target-type", "Binary", "--class-labels", "stays,leaves"]


def own(ages):
    """What the hooks above do, computed here."""
    positive = 1 / (1 + np.exp(-np.asarray(ages) * 2 * 0.01))
    return np.column_stack([1 - positive, positive]).round(6)


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "custom"
    (where / "helpers").mkdir(parents=True)
    (where / "custom.py").write_text(HOOKS)
    (where / "helpers" / "__init__.py").touch()
    (where / "helpers" / "rule.py").write_text(
        "import numpy as np\n\ndef risk(x, weight):\n    return 1 / (1 + np.exp(-x * weight))\n"
    )
    (where / "weight.txt").write_text("0.01")
    return where


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served"), env={SETTING: str(Path(str(SYSTEMS)).resolve() / "drum")}) as server:
        server.env["SCORELINE_TOKEN"] = server.token
        yield server


@pytest.fixture
def dr(installation):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        import datarobot

        datarobot.Client(token=installation.token, endpoint=f"{installation.url}/api/v2")
        yield datarobot


@pytest.fixture
def here(monkeypatch):
    """Models are run by this process itself."""
    monkeypatch.setenv(SETTING, str(Path(str(SYSTEMS)).resolve() / "drum"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def described(folder, **said):
    target = {"name": "churn", "type": "Binary", "classNames": ["stays", "leaves"]}
    (folder / "scoreline.json").write_text(json.dumps({"target": target, **said}))


def records(file):
    return list(csv.DictReader(io.StringIO(file.read_text(), newline="")))


def batch(**columns):
    import pyarrow as pa

    return pa.RecordBatch.from_pydict(columns)


def values(model, table):
    scores = models.scores(model, table)
    return scores.values.tolist()  # noqa: PD011 -- no DataFrame


def test_hooks(here, folder):
    described(folder)
    model = models.load(folder, trusted=True)
    assert (model.info.format, model.info.features, model.info.class_labels) == ("drum", (), ("stays", "leaves"))
    ages = [18.25, 1 / 3, 77.0]
    assert values(model, batch(age=ages, note=['a,"b"\nc', "", "é"])) == own(ages).tolist()
    with pytest.raises(DataRefused) as refused:
        model.predict(batch(age=[1.0, -4.5]))
    assert refused.value.message == "Model 'score' hook failed to make predictions: ValueError: age is negative: -4.5"
    with pytest.raises(DataRefused, match="nobody may leave"):
        model.predict(batch(age=[999.0]))
    with pytest.raises(ModelCrashed, match="SIGKILL"):
        model.predict(batch(age=[1001.0]))
    assert values(model, batch(age=[5.0])) == own([5.0]).tolist()  # started again


def test_trust_and_what_is_wrong_with_a_folder(here, folder, monkeypatch):
    with pytest.raises(ModelBroken, match="--trust"):
        models.load(folder, trusted=False)
    with pytest.raises(ModelBroken, match="does not say what it predicts"):
        models.load(folder, trusted=True)
    described(folder)
    (folder / "custom.py").write_text("def load_model(code_dir):\n    raise RuntimeError('no weights')\n")
    with pytest.raises(ModelBroken, match=r"'load_model' hook failed to load the model: RuntimeError: no weights"):
        models.load(folder, trusted=True)
    (folder / "custom.py").write_text("import no_such_library\n")
    with pytest.raises(ModelBroken, match="no_such_library"):
        models.load(folder, trusted=True)
    (folder / "custom.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(ModelBroken, match="ended with exit code 7"):
        models.load(folder, trusted=True)
    monkeypatch.setenv(SETTING, sys.executable)
    with pytest.raises(SetupError, match="pip install datarobot-drum"):
        models.load(folder, trusted=True)


def test_types_are_those_of_the_registration(here, tmp_path):
    """Without types, DRUM tells them by the looks of each table; with them, a table of digits stays text."""
    (tmp_path / "custom.py").write_text(
        "import pandas as pd\n"
        "def load_model(code_dir):\n    return 1\n"
        "def score(data, model, **kwargs):\n"
        "    return pd.DataFrame({'Predictions': data['zip'].astype(str).str.len() + data['n'] * 10.0})\n"
    )
    typed = {"zip": "text", "n": "numeric"}
    (tmp_path / "scoreline.json").write_text(json.dumps({"target": {"name": "y", "type": "Regression"}}))
    table = batch(zip=["007", "0110"], n=["1", "2"])
    assert values(models.load(tmp_path, trusted=True), table) == [[11.0], [23.0]]
    (tmp_path / "scoreline.json").write_text(
        json.dumps({"target": {"name": "y", "type": "Regression"}, "features": typed})
    )
    table = batch(zip=["007", "NA"], n=[1.0, 2.0])
    assert values(models.load(tmp_path, trusted=True), table) == [[13.0], [22.0]]


def test_metadata_parameters_and_surroundings(here, tmp_path):
    """What DRUM's own file says is enough; hooks see their parameters and nothing of the surroundings."""
    (tmp_path / "model-metadata.yaml").write_text(
        "name: pets\ntype: inference\ntargetType: multiclass\n"
        "inferenceModel:\n  targetName: pet\n  classLabels:\n    - yes\n    - dog\n    - hen\n"
        "runtimeParameterDefinitions:\n"
        "  - fieldName: SCALE\n    type: numeric\n    defaultValue: 3\n"
        "  - fieldName: WORD\n    type: string\n    defaultValue: none\n"
    )
    (tmp_path / "custom.py").write_text(
        "import os\nimport pandas as pd\nfrom datarobot_drum import RuntimeParameters\n"
        "def load_model(code_dir):\n"
        "    assert 'AWS_SECRET_ACCESS_KEY' not in os.environ\n"
        "    assert not [name for name in os.environ if name.startswith('SCORELINE')]\n"
        "    return RuntimeParameters.get('SCALE'), RuntimeParameters.get('WORD')\n"
        "def score(data, model, **kwargs):\n"
        "    assert model == (3, 'set')\n"
        "    return pd.DataFrame({'hen': 0.5, 'yes': data['x'], 'dog': 0.5 - data['x']})\n"
    )
    (tmp_path / "scoreline.json").write_text(json.dumps({"runtimeParameters": {"WORD": "set"}}))
    model = models.load(tmp_path, trusted=True)
    assert model.info.target_name == "pet"
    assert model.info.class_labels == ("yes", "dog", "hen")
    assert values(model, batch(x=[0.25])) == [[0.25, 0.25, 0.5]]


def test_texts_and_columns_beside_the_predictions(here, tmp_path):
    (tmp_path / "custom.py").write_text(
        "import pandas as pd\n"
        "def load_model(code_dir):\n    return 1\n"
        "def score(data, model, **kwargs):\n"
        "    return pd.DataFrame({'answer': 'dear ' + data['name'], 'words': data['name'].str.len(),\n"
        "                         'sure': [0.5, float('nan')], 'kind': [True, False]})\n"
    )
    extra = {"words": "integer", "sure": "numeric", "kind": "boolean"}
    said = {"target": {"name": "answer", "type": "TextGeneration"}, "extraOutputs": extra}
    (tmp_path / "scoreline.json").write_text(json.dumps(said))
    model = models.load(tmp_path, trusted=True)
    assert model.info.outputs == 0
    scores = models.scores(model, batch(name=["Ann", "B\nob"]))
    assert scores.text.to_pylist() == ["dear Ann", "dear B\nob"]
    words, sure, kind = (column.to_pylist() for column in scores.extra)
    assert (words, sure[0], kind) == ([3, 4], 0.5, [True, False])
    assert np.isnan(sure[1])
    (tmp_path / "scoreline.json").write_text(json.dumps({**said, "extraOutputs": {"other": "text"}}))
    with pytest.raises(DataRefused, match="'other'"):
        models.load(tmp_path, trusted=True).predict(batch(name=["Ann", "Bob"]))


def test_the_process_ends_with_its_model(here, folder):
    described(folder)
    before = set(psutil.Process().children(recursive=True))
    model = models.load(folder, trusted=True)
    (started,) = set(psutil.Process().children(recursive=True)) - before
    del model
    until(lambda: not started.is_running())


def test_from_the_client_alone(dr, installation, folder, tmp_path):
    made = dr.CustomInferenceModel.create(
        "churn hooks", "Binary", target_name="churn", positive_class_label="leaves", negative_class_label="stays"
    )
    version = dr.CustomModelVersion.create_clean(made.id, folder_path=str(folder))
    registered = dr.RegisteredModelVersion.create_for_custom_model_version(version.id)
    assert registered.target["class_names"] == ["stays", "leaves"]
    deployment = dr.Deployment.create_from_registered_model_version(registered.id, "hooks")
    frame = pd.DataFrame({"id": range(500), "age": np.random.default_rng(5).uniform(18, 90, 500).round(2)})
    scored = deployment.predict_batch(frame)
    assert scored["churn_leaves_PREDICTION"].tolist() == own(frame.age)[:, 1].tolist()
    assert scored["churn_stays_PREDICTION"].tolist() == pytest.approx(own(frame.age)[:, 0].tolist(), abs=1e-12)

    frame.loc[[7, 300], "age"] = -1.0
    frame.to_csv(tmp_path / "in.csv", index=False)
    job = dr.BatchPredictionJob.score(
        deployment.id,
        intake_settings={"type": "localFile", "file": str(tmp_path / "in.csv")},
        output_settings={"type": "localFile", "path": str(tmp_path / "out.csv")},
        passthrough_columns=["id"],
        include_prediction_status=True,
        chunk_size=2000,
        num_concurrent=2,
    )
    rows = records(tmp_path / "out.csv")
    assert [row["id"] for row in rows] == [str(number) for number in range(500)]
    failed = {number: row["prediction_status"] for number, row in enumerate(rows) if row["prediction_status"] != "OK"}
    assert set(failed) == {7, 300}
    assert all("age is negative: -1.0" in text for text in failed.values())
    assert dr.BatchPredictionJob.get(job.id).get_status()["failed_rows"] == 2

    url = f"{deployment.default_prediction_server['url']}/predApi/v1.0/deployments/{deployment.id}/predictions"
    headers = {"Authorization": f"Bearer {installation.token}", "Content-Type": "text/csv", "Accept": "text/csv"}
    answer = httpx2.post(url, content=b"age,other\n20,a\n30,b\n", headers=headers)
    assert answer.status_code == 200, answer.text
    assert len(answer.headers["X-Scoreline-Model"]) == 64
    read = list(csv.DictReader(io.StringIO(answer.text)))
    assert [float(row["churn_leaves_PREDICTION"]) for row in read] == own([20, 30])[:, 1].tolist()
    refused = httpx2.post(url, content=b"age\n-20\n", headers=headers)
    assert refused.status_code == 422
    assert "age is negative: -20" in refused.json()["message"]
    assert "Traceback" not in refused.text


def test_from_the_command_line(installation, drum, folder, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("age,zip\n" + "".join(f"{age},007\n" for age in range(20, 60)))
    words = ["deploy", str(folder), "--name", "by hand", "--target", "churn", "--feature", "age=numeric", *LABELS]
    refused = scoreline(*words, env=installation.env)
    assert refused.returncode != 0
    assert "--trust" in refused.stderr
    made = scoreline(*words, "--trust", "--json", env=installation.env)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["format"] == "drum"
    done = scoreline("score", "--deployment", "by hand", str(rows), "-o", str(tmp_path / "o.csv"), env=installation.env)
    assert done.returncode == 0, done.stderr
    scored = records(tmp_path / "o.csv")
    check_binary([{"left_no_PREDICTION": row["churn_stays_PREDICTION"], "left_yes_PREDICTION":
                   row["churn_leaves_PREDICTION"], "left_PREDICTION":
                   {"stays": "no", "leaves": "yes"}[row["churn_PREDICTION"]]} for row in scored],
                 own(range(20, 60)).tolist())  # fmt: skip

    # A pickled pipeline with a file of hooks that changes nothing: the other environment's scikit-learn loads it.
    lone = drum.folder / "binary"
    (lone / "custom.py").write_text("def transform(data, model):\n    return data\n")
    words = ["deploy", str(lone), "--name", "lone", "--target", "left", "--target-type", "Binary"]
    made = scoreline(*words, "--class-labels", "no,yes", "--trust", env=installation.env)
    (lone / "custom.py").unlink()
    assert made.returncode == 0, made.stderr
    out = tmp_path / "lone.csv"
    done = scoreline("score", "--deployment", "lone", str(drum.rows), "-o", str(out), env=installation.env)
    assert done.returncode == 0, done.stderr
    check_binary(records(out), drum.own())


def test_a_row_that_ends_the_process_fails_alone(installation, folder, tmp_path):
    words = ["--name", "deadly", "--target", "churn", *LABELS, "--trust"]
    made = scoreline("deploy", str(folder), *words, env=installation.env)
    assert made.returncode == 0, made.stderr
    rows = tmp_path / "rows.csv"
    rows.write_text("age\n" + "".join(f"{2000 if number == 37 else number}\n" for number in range(100)))
    out = tmp_path / "out.csv"
    done = scoreline(
        "score", "--deployment", "deadly", str(rows), "-o", str(out), "--include-status", env=installation.env
    )
    assert done.returncode == 0, done.stderr
    scored = records(out)
    assert [number for number, row in enumerate(scored) if row["prediction_status"] != "OK"] == [37]


def test_no_process_outlives_the_server(tmp_path, folder):
    """Killed, the server leaves nothing behind, not even a hook that never comes back and holds the interpreter."""
    (folder / "custom.py").write_text(
        "import pandas as pd\n"
        "def load_model(code_dir):\n    return 1\n"
        "def score(data, model, **kwargs):\n"
        "    if (data['x'] > 1).any():\n        'a' * 30 + 'b'; import re; re.match('(a*)*c', 'a' * 60)\n"
        "    return pd.DataFrame({'Predictions': data['x'] * 1.0})\n"
    )
    env = {SETTING: str(Path(str(SYSTEMS)).resolve() / "drum")}
    with served(tmp_path, env=env) as server:
        words = ["--name", "hangs", "--target", "y", "--target-type", "Regression", "--trust", "--json"]
        made = scoreline("deploy", str(folder), *words, env=server.env)
        assert made.returncode == 0, made.stderr
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "text/csv"}
        found = httpx2.get(f"{server.url}/api/v2/predictionServers/", headers=headers).json()["data"][0]["url"]
        url = f"{found}/predApi/v1.0/deployments/{json.loads(made.stdout)['id']}/predictions"
        assert httpx2.post(url, content=b"x\n1\n", headers=headers).status_code == 200
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(url, content=b"x\n2\n", headers=headers, timeout=2)
        bridges = [each for each in server.tree() if "drum_bridge.py" in " ".join(each.cmdline())]
        assert bridges
        predictor = server.part("predictor")
        os.kill(predictor.pid, 9)
        until(lambda: not any(each.is_running() for each in bridges), what="the end of the bridges")
        time.sleep(0.1)
