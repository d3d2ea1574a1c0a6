"""A job scores every row with the model that its deployment had when it was created, whatever happens meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import lightgbm
import numpy as np

from tests.support.served import served, until

ROWS = 30_000
COLUMNS = ("a", "b", "c")


def _model(folder: Path, seed: int) -> tuple[Path, lightgbm.Booster]:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(500, len(COLUMNS)))
    data = lightgbm.Dataset(rows, rows @ generator.normal(size=len(COLUMNS)), feature_name=list(COLUMNS))
    parameters = {"objective": "regression", "verbose": -1, "num_leaves": 7, "num_threads": 1, "seed": 1}
    booster = lightgbm.train(parameters, data, 10)
    file = folder / f"{seed}.txt"
    booster.save_model(file)
    return file, booster


def _register(http: httpx2.Client, file: Path) -> str:
    location = http.post("modelArtifacts/", content=file.read_bytes()).json()["location"]
    body = {
        "name": file.stem,
        "target": {"name": "y", "type": "Regression"},
        "modelDescription": {"location": location},
    }
    made = http.post("modelPackages/fromJSON/", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _numbers(text: str) -> list[float]:
    return [float(line) for line in text.splitlines()[1:]]


def test_a_job_keeps_its_model_through_a_replacement_and_the_death_of_its_worker(tmp_path: Path) -> None:
    rows = np.round(np.random.default_rng(5).normal(size=(ROWS, len(COLUMNS))), 4)
    lines = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in rows.tolist())]
    half = "\n".join(lines[: ROWS // 2]) + "\n", "\n".join(lines[ROWS // 2 :]) + "\n"
    (old_file, old), (new_file, new) = _model(tmp_path, 1), _model(tmp_path, 2)
    expected, others = (booster.predict(rows, num_threads=1).tolist() for booster in (old, new))
    with (
        served(tmp_path) as server,
        httpx2.Client(
            base_url=f"{server.url}/api/v2/",
            headers={"Authorization": f"Bearer {server.token}"},
            trust_env=False,
            timeout=60,
        ) as http,
    ):
        first, second = _register(http, old_file), _register(http, new_file)
        deployment = http.post("deployments/fromModelPackage/", json={"modelPackageId": first, "label": "d"}).json()[
            "id"
        ]
        job = http.post("batchPredictions/", json={"deploymentId": deployment, "chunkSize": 20_000}).json()
        more = threading.Event()

        def body() -> Iterator[bytes]:
            yield half[0].encode()
            assert more.wait(60)
            yield half[1].encode()

        def upload() -> None:
            headers = {"Content-Type": "text/csv", "Authorization": f"Bearer {server.token}"}
            httpx2.put(job["links"]["csvUpload"], content=body(), headers=headers, trust_env=False, timeout=60)

        def scored() -> int:
            return int(http.get(job["links"]["self"]).json()["scoredRows"])

        thread = threading.Thread(target=upload)
        thread.start()
        try:
            until(scored, 60, "the first rows")
            before = scored()
            change = {"modelPackageId": second, "reason": "ACCURACY"}
            assert http.patch(f"deployments/{deployment}/model/", json=change).status_code == 202
            worker = server.part("worker")
            assert worker is not None
            worker.kill()
            until(lambda: server.part("worker") not in (None, worker), what="another worker")
        finally:
            more.set()
            thread.join()
        until(lambda: http.get(job["links"]["self"]).json()["status"] == "COMPLETED", 60, "the job's end")
        assert 0 < before < ROWS
        assert _numbers(http.get(job["links"]["download"]).text) == expected
        later = http.post("batchPredictions/", json={"deploymentId": deployment}).json()
        headers = {"Content-Type": "text/csv"}
        http.put(later["links"]["csvUpload"], content=(half[0] + half[1]).encode(), headers=headers)
        assert _numbers(http.get(later["links"]["download"]).text) == others
    assert expected != others
