"""Airflow with DataRobot's own provider: its operator scores here, and its sensor sees how jobs end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import stores, tiny
from tests.support.server import running_server
from tests.systems.conftest import environment

ROWS = 2_000
SCRIPT = Path(__file__).parent / "airflow_dag.py"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("airflow")
    with ExitStack() as stack:
        store = stack.enter_context(stores.s3(folder))
        server = stack.enter_context(running_server(folder, SCORELINE_ALLOWED_NETWORKS="127.0.0.1/32"))
        deployment = server.deploy(tiny.save(folder / "model.txt"), "churn", tiny.TARGET, classNames=list(tiny.LABELS))
        env = environment("airflow") | {
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW_CONN_DATAROBOT_DEFAULT": json.dumps(
                {
                    "conn_type": "http",
                    "extra": {"extra__http__endpoint": server.endpoint, "extra__http__api_key": server.token},
                }
            ),
        }
        subprocess.run(["airflow", "db", "migrate"], env=env, check=True, capture_output=True, timeout=200)
        yield SimpleNamespace(store=store, server=server, deployment=deployment, env=env, folder=folder)


def dag(world: SimpleNamespace, **settings: Any) -> dict[str, Any]:
    done = subprocess.run(
        ["python", str(SCRIPT), json.dumps(settings)],
        env=world.env,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_dag_scores_files_and_objects_and_waits_for_them(world: SimpleNamespace) -> None:
    data, scored = tiny.scored(ROWS)
    source, target = world.folder / "in.csv", world.folder / "out.csv"
    source.write_bytes(data)
    world.store.put("in/data.csv", data)
    with world.server.http() as http:
        key = http.post(
            "credentials/",
            json={
                "name": "s3",
                "credentialType": "s3",
                "awsAccessKeyId": stores.KEY,
                "awsSecretAccessKey": stores.SECRET,
            },
        ).json()["credentialId"]

    def place(name: str) -> dict[str, Any]:
        url = f"s3://{world.store.bucket}/{name}"
        return {"type": "s3", "url": url, "credential_id": key, "endpoint_url": world.store.url}

    common = {"deployment_id": world.deployment, "passthrough_columns": ["id"]}
    found = dag(
        world,
        file={
            **common,
            "intake_settings": {"type": "localFile", "file": str(source)},
            "output_settings": {"type": "localFile", "path": str(target)},
        },
        object={**common, "intake_settings": place("in/data.csv"), "output_settings": place("out/data.csv")},
    )
    assert found["state"] == "success"
    assert {name: each["state"] for name, each in found["tasks"].items()} == dict.fromkeys(
        ["score_file", "wait_file", "score_object", "wait_object"], "success"
    )
    assert target.read_bytes() == scored
    assert world.store.get("out/data.csv") == scored
    with world.server.http() as http:
        for name in ("file", "object"):
            job = http.get(f"batchPredictions/{found['tasks'][f'score_{name}']['job']}/").json()
            assert (job["status"], job["scoredRows"]) == ("COMPLETED", ROWS)


def test_the_sensor_fails_with_the_jobs_own_reason(world: SimpleNamespace) -> None:
    world.store.put("in/wrong.csv", b"id,age\n1,2\n")
    url = f"s3://{world.store.bucket}/in/wrong.csv"
    with world.server.http() as http:
        listed = http.get("credentials/").json()["data"]
        key = listed[0]["credentialId"]
    place = {"type": "s3", "url": url, "credential_id": key, "endpoint_url": world.store.url}
    found = dag(
        world,
        wrong={
            "deployment_id": world.deployment,
            "intake_settings": place,
            "output_settings": place | {"url": f"s3://{world.store.bucket}/out/wrong.csv"},
        },
    )
    assert found["state"] == "failed"
    assert {name: each["state"] for name, each in found["tasks"].items()} == {
        "score_wrong": "success",
        "wait_wrong": "failed",
    }
    assert world.store.get("out/wrong.csv") is None
