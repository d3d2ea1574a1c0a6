"""What each address of a job answers in each state of the job: the codes that the public API documents.

One row a state, one column an address; `-` asks for none, because it would wait.
"""

from __future__ import annotations

import pytest

CSV = {"Content-Type": "text/csv"}
ROWS = b"x,carrier\r\n1,AA\r\n"
MULTIPART = {"type": "localFile", "multipart": True}
WHOLE_FIRST = {"type": "localFile", "async": False}


def waiting(api):
    return api.job()["id"]


def queued(api):
    first, job_id = waiting(api), waiting(api)
    for each in (first, job_id):
        api.upload(each)
    api.run(first)
    return job_id


def running(api):
    job_id = waiting(api)
    api.upload(job_id)
    api.run(job_id)
    return job_id


def completed(api):
    job_id = waiting(api)
    api.upload(job_id)
    run = api.run(job_id)
    api.rows(run, b"p\r\n1\r\n", 1)
    api.complete(run)
    return job_id


def aborted(api):
    job_id = waiting(api)
    with api.client() as client:
        assert client.delete(f"batchPredictions/{job_id}/").status_code == 202
    return job_id


def failed(api):
    job_id = waiting(api)
    api.upload(job_id)
    api.fail(api.run(job_id), "It broke.")
    return job_id


def hidden(api):
    job_id = completed(api)
    with api.client() as client:
        assert client.patch(f"batchPredictions/{job_id}/", json={"hidden": True}).status_code == 200
    return job_id


def multipart(api):
    return api.job(intakeSettings=MULTIPART)["id"]


def multipart_with_a_part(api):
    job_id = multipart(api)
    with api.client() as client:
        path = f"batchPredictions/{job_id}/csvUpload/part/0/"
        assert client.put(path, content=ROWS, headers=CSV).status_code == 202
    return job_id


def multipart_done(api):
    job_id = multipart_with_a_part(api)
    with api.client() as client:
        assert client.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/").status_code == 202
    return job_id


def whole_first(api):
    return api.job(intakeSettings=WHOLE_FIRST)["id"]


def unknown(_api):
    return "0" * 24


#                          GET  hide  csvUpload  part  finalise  download  DELETE
CODES = {
    waiting:               (200, 409, 202, 409, 409, "-", 202),
    queued:                (200, 409, 409, 409, 409, "-", 202),
    running:               (200, 409, 409, 409, 409, "-", 202),
    completed:             (200, 200, 409, 409, 409, 200, 409),
    aborted:               (200, 200, 409, 409, 409, 422, 409),
    failed:                (200, 200, 409, 409, 409, 422, 409),
    hidden:                (200, 200, 409, 409, 409, 200, 409),
    multipart:             (200, 409, 409, 202, 422, "-", 202),
    multipart_with_a_part: (200, 409, 409, 202, 202, "-", 202),
    multipart_done:        (200, 409, 409, 409, 202, "-", 202),
    whole_first:           (200, 409, 202, 409, 409, "-", 202),
    unknown:               (404, 404, 404, 404, 404, 404, 404),
}  # fmt: skip
REQUESTS = {
    "get": ("GET", "", {}),
    "hide": ("PATCH", "", {"json": {"hidden": True}}),
    "csvUpload": ("PUT", "csvUpload/", {"content": ROWS, "headers": CSV}),
    "part": ("PUT", "csvUpload/part/1/", {"content": ROWS, "headers": CSV}),
    "finalise": ("POST", "csvUpload/finalizeMultipart/", {}),
    "download": ("GET", "download/", {}),
    "delete": ("DELETE", "", {}),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("state", CODES, ids=lambda state: state.__name__)
def test_codes(api, state, name):
    expected = CODES[state][list(REQUESTS).index(name)]
    if expected == "-":
        return
    job_id = state(api)
    method, path, options = REQUESTS[name]
    with api.client() as client:
        for spelling in (path, path.rstrip("/")):
            response = client.request(method, f"batchPredictions/{job_id}/{spelling}", **options)
            assert response.status_code == expected, response.text
            if method != "GET" and expected not in (404, 409):
                break  # it is done, and another time is another state
    if expected >= 400:
        assert response.headers["content-type"] == "application/json"
        assert response.json()["message"]
    elif method in ("PUT", "POST", "DELETE"):
        assert not response.content
        assert "content-type" not in response.headers


@pytest.mark.parametrize("state", [waiting, multipart], ids=lambda state: state.__name__)
@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "text/plain", None])
def test_other_types_are_refused_and_the_job_stays_open(api, state, kind):
    job_id = state(api)
    path = "csvUpload/" if state is waiting else "csvUpload/part/0/"
    with api.client() as client:
        headers = {} if kind is None else {"Content-Type": kind}
        assert client.put(f"batchPredictions/{job_id}/{path}", content=ROWS, headers=headers).status_code == 406
        assert client.put(f"batchPredictions/{job_id}/{path}", content=ROWS, headers=CSV).status_code == 202


@pytest.mark.parametrize("path", ["csvUpload/", "csvUpload/part/0/"])
def test_an_empty_upload_is_refused_and_ends_the_job(api, path):
    job_id = waiting(api) if path == "csvUpload/" else multipart(api)
    with api.client() as client:
        assert client.put(f"batchPredictions/{job_id}/{path}", content=b"", headers=CSV).status_code == 422
    assert api.status(job_id)["status"] == "ABORTED"


@pytest.mark.parametrize("number", ["-1", "1.5", "a", "01x", "1" * 30, "%31", " 1", "٣"])
def test_odd_numbers_of_parts(api, number):
    job_id = multipart(api)
    with api.client() as client:
        response = client.put(f"batchPredictions/{job_id}/csvUpload/part/{number}/", content=ROWS, headers=CSV)
    assert response.status_code == (202 if number == "%31" else 422)


@pytest.mark.parametrize("job_id", ["0", "a" * 24, "A" * 24, "%00", "..%2f..", "é", "-1", "x" * 5000, "'", "%25"])
@pytest.mark.parametrize("name", ["get", "hide", "csvUpload", "finalise", "download", "delete"])
def test_odd_ids_are_not_found(api, job_id, name):
    method, path, options = REQUESTS[name]
    with api.client() as client:
        response = client.request(method, f"batchPredictions/{job_id}/{path}", **options)
    assert response.status_code == 404
    assert response.json()["message"].isprintable()
