"""The DataRobot Prediction API, as its callers see it."""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest

from tests.unit.serving import models_for_tests as models

X = [0.5, -1.25, 3.0]
Z = [1.0, 0.0, -2.5]
CSV = b'id,x,z\n007,0.5,1\n a ,-1.25,0\n"q,",3.0,-2.5\n'
RECORDS = [{"id": i, "x": x, "z": z} for i, x, z in zip(["007", " a ", "q,"], X, Z, strict=True)]


def path(name: str) -> str:
    return f"/predApi/v1.0/deployments/d-{name}/predictions"


def expected(made, name: str) -> np.ndarray:
    return made.boosters[name].predict(np.column_stack([X, Z]))


def post(client, name, body=CSV, params=None, **headers):
    given = {"Content-Type": "text/csv"} | {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post(path(name), content=body, headers=given, params=params)


def test_regression_json(client, made):
    response = post(client, "regression", X_Request_Id="abc-1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == "abc-1"
    assert response.headers["x-datarobot-execution-time"].isdecimal()
    assert response.headers["x-datarobot-model-cache-hit"] in {"true", "false"}
    data = response.json()["data"]
    assert [record["rowId"] for record in data] == [0, 1, 2]
    assert [record["prediction"] for record in data] == expected(made, "regression").tolist()
    assert {record["deploymentApprovalStatus"] for record in data} == {"APPROVED"}
    assert post(client, "regression").headers["x-datarobot-model-cache-hit"] == "true"


def test_binary_json_and_csv(client, made):
    wanted = expected(made, "binary")
    data = post(client, "binary", params={"passthroughColumns": "id"}).json()["data"]
    assert [record["predictionValues"][0] for record in data] == [
        {"label": "yes", "value": p, "threshold": 0.5} for p in wanted.tolist()
    ]
    assert [record["prediction"] for record in data] == ["yes" if p > 0.5 else "no" for p in wanted]
    assert [record["passthroughValues"] for record in data] == [{"id": "007"}, {"id": " a "}, {"id": "q,"}]
    answer = post(client, "binary", params={"passthroughColumnsSet": "all"}, Accept="text/csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0]) == [
        "y_yes_PREDICTION", "y_no_PREDICTION", "y_PREDICTION", "THRESHOLD", "POSITIVE_CLASS", "id", "x", "z",
    ]  # fmt: skip
    assert [row["y_yes_PREDICTION"] for row in rows] == [repr(p) for p in wanted.tolist()]
    assert [row["x"] for row in rows] == ["0.5", "-1.25", "3.0"]


def test_multiclass_csv(client, made):
    wanted = expected(made, "multiclass")
    rows = list(csv.DictReader(io.StringIO(post(client, "multiclass", Accept="text/csv").text)))
    labels = ["low", "mid", "high"]
    assert [[row[f"y_{label}_PREDICTION"] for label in labels] for row in rows] == [
        [repr(p) for p in line] for line in wanted.tolist()
    ]
    assert [row["y_PREDICTION"] for row in rows] == [labels[i] for i in wanted.argmax(axis=1)]


@pytest.mark.parametrize("spelling", ["/api/v2/deployments/d-regression/predictions", path("regression") + "/"])
@pytest.mark.parametrize("authorization", ["token user", "BEARER user", "Basic YW5uQGV4YW1wbGUuY29tOnVzZXI="])
def test_spellings_of_path_and_token(client, spelling, authorization):
    response = client.post(
        spelling, content=CSV, headers={"Content-Type": "text/plain; charset=UTF-8", "Authorization": authorization}
    )
    assert response.status_code == 200


def test_all_forms_of_the_body_give_the_same(client):
    wanted = post(client, "regression").json()
    assert post(client, "regression", gzip.compress(CSV), Content_Encoding="gzip").json() == wanted
    assert client.post(path("regression"), json=RECORDS).json() == wanted
    for name, kind in (("rows.csv", "text/csv"), ("rows.csv", "application/octet-stream")):
        assert client.post(path("regression"), files={"file": (name, CSV, kind)}).json() == wanted


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/json", "application/json, text/csv;q=0.5", "text/csv;q=0, */*"]
)
def test_json_is_the_default(client, accept):
    assert post(client, "regression", Accept=accept).headers["content-type"] == "application/json"


def test_no_rows(client):
    assert post(client, "binary", b"x,z\n").json() == {"data": []}
    assert post(client, "binary", b"x,z\n", Accept="text/csv").text == (
        "y_yes_PREDICTION,y_no_PREDICTION,y_PREDICTION,THRESHOLD,POSITIVE_CLASS\n"
    )


def test_missing_values_are_missing_values(client, made):
    data = post(client, "regression", b"x,z\n,NA\n").json()["data"]
    assert data[0]["prediction"] == made.boosters["regression"].predict(np.array([[np.nan, np.nan]]))[0]


@pytest.mark.parametrize(
    ("status", "words", "name", "arguments"),
    [
        (401, "Invalid API token", "regression", {"Authorization": "Bearer wrong"}),
        (401, "No credentials provided", "regression", {"Authorization": ""}),
        (401, "Invalid API token", "regression", {"Authorization": "Basic dTpw"}),
        (401, "No credentials provided", "regression", {"Authorization": "Basic d"}),
        (401, "No credentials provided", "regression", {"Authorization": "Digest dTpw"}),
        (404, "Deployment d-nothing was not found", "nothing", {}),
        (404, "was not found", "regression", {"Authorization": "Bearer stranger"}),
        (422, "'resting' is inactive", "resting", {}),
        (400, "Passthrough columns not found: nope", "regression", {"params": {"passthroughColumns": ["id", "nope"]}}),
        (422, "'wd': wd is not allowed key", "regression", {"params": {"wd": "1"}}),
        (422, "maxExplanations=3 is not supported yet", "regression", {"params": {"maxExplanations": "3"}}),
        (415, "Content-Type 'image/png' is not supported", "regression", {"Content_Type": "image/png"}),
        (415, "Content-Encoding 'br'", "regression", {"Content_Encoding": "br"}),
        (406, "Accept allows neither", "regression", {"Accept": "image/png"}),
        (
            422,
            "row 1 (counted from 0): column 'z': 'abc' is not a number",
            "regression",
            {"body": b"x,z\n1,2\n1,abc\n"},
        ),
        (422, "lacks columns that the model needs: 'z'", "regression", {"body": b"x\n1\n"}),
        (422, "no header line", "regression", {"body": b""}),
        (422, "not gzip", "regression", {"Content_Encoding": "gzip"}),
        (422, "'x' more than once", "regression", {"body": b"x,z,x\n1,2,3\n"}),
    ],
)
def test_refusals(client, status, words, name, arguments):
    response = post(client, name, **arguments)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert response.content.isascii()
    assert words in response.json()["message"]


def test_a_bad_row_is_numbered(client):
    assert post(client, "regression", b"x,z\n1,2\n1,abc\n").json()["row"] == 1


def test_what_the_model_refuses_is_told(client):
    response = post(client, "moody", f"x,z\n{models.RAISE},1\n".encode())
    assert response.status_code == 422
    assert "this row is no good" in response.json()["message"]


def test_bodies_over_50_mb(client):
    limit = 50 << 20
    response = post(client, "regression", b"x" * (limit + 1))
    assert (response.status_code, response.headers["content-type"]) == (413, "application/json")
    response = post(client, "regression", iter([b"x" * (1 << 20)] * 51))
    assert response.status_code == 413
    bomb = gzip.compress(b"0" * (limit + 1), 1)
    response = post(client, "regression", bomb, Content_Encoding="gzip")
    assert response.status_code == 413
    assert post(client, "regression").status_code == 200


def test_unrouted(client):
    for method, where, status in (("GET", "/nowhere", 404), ("GET", path("regression"), 405)):
        response = client.request(method, where)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]
        assert response.json()["message"]


def test_unstructured_is_refused_in_words(client):
    response = client.post("/predApi/v1.0/deployments/d-regression/predictionsUnstructured", content=b"hello")
    assert response.status_code == 422
    assert "not supported yet" in response.json()["message"]


@pytest.mark.parametrize("deployment", ["..", "%2e%2e%2fpackages%2fregression", "a b", "ä"])
def test_ids_cannot_reach_elsewhere(client, api, deployment):
    def asked() -> int:  # whose the token is may be asked again at any time
        return sum(count for call, count in api.asked.items() if "introspect" not in call)

    before = asked()
    response = client.post(f"/predApi/v1.0/deployments/{deployment}/predictions", content=CSV)
    assert response.status_code == 404
    assert asked() == before
