"""What holds for every route: paths, tokens, errors, JSON, links, pages."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import httpx2
import pytest


def test_version_silences_newer_clients_and_tells_a_wrong_token(api):
    with api.client() as client:
        document = client.get("version/").json()
    with api.client("nonsense") as client:
        assert client.get("version/").status_code == 401
        assert client.get("ping/").json() == {"response": "pong"}
    assert document["major"] == 2
    assert document["minor"] >= 49
    assert document["versionString"] == f"2.{document['minor']}.0"


@pytest.mark.parametrize("path", ["batchPredictions", "batchPredictions/", "deployments", "deployments/"])
def test_paths_work_with_and_without_trailing_slash(api, path):
    with api.client() as client:
        response = client.get(path)
    assert response.status_code == 200
    assert not response.history


@pytest.mark.parametrize("word", ["Token", "token", "Bearer", "bearer", "BEARER"])
def test_both_words_for_a_token(api, word):
    with api.client(headers={"Authorization": f"{word} {api.token}"}) as client:
        assert client.get("deployments/").status_code == 200


@pytest.mark.parametrize("header", [None, "", "Token", "Token nonsense", "Basic abc", "nonsense"])
def test_wrong_or_missing_token(api, header):
    headers = {} if header is None else {"Authorization": header}
    with api.client() as client:
        del client.headers["Authorization"]
        response = client.get("batchPredictions/", headers=headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/json"
    assert response.json()["message"]
    assert "Traceback" not in response.text


def test_two_tokens_are_one_too_many(api):
    with api.client() as client:
        headers = [("Authorization", f"Bearer {api.token}"), ("Authorization", "Bearer other")]
        response = httpx2.get(f"{api.endpoint}/version/", headers=headers, trust_env=False)
        assert response.status_code == 401
        assert "twice" in response.json()["message"]
        assert client.get("version/").status_code == 200


def test_strangers_are_refused_before_their_body_is_read(api):
    with api.client("nonsense") as client:
        assert client.post("batchPredictions/", content=b"{" * 10).status_code == 401


def test_unknown_paths_and_methods_answer_in_json(api):
    with api.client() as client:
        missing = client.get("nothing/here/")
        wrong = client.put("batchPredictions/")
        outside = client.get(f"{api.url}/elsewhere")
    assert (missing.status_code, wrong.status_code, outside.status_code) == (404, 405, 404)
    assert "has no such address" in missing.json()["message"]
    assert "begin with /api/v2/" in outside.json()["message"]
    for response in (missing, wrong, outside):
        assert response.headers["content-type"] == "application/json"
        assert response.json()["message"]
    assert "POST" in wrong.json()["message"]


def test_every_answer_has_a_request_id_and_keeps_a_decent_one(api):
    with api.client() as client:
        assert client.get("version/").headers["x-request-id"]
        assert client.get("nothing/").headers["x-request-id"]
        given = client.get("version/", headers={"X-Request-Id": "abc-1"})
        odd = client.get("version/", headers={"X-Request-Id": "a b\tc"})
    assert given.headers["x-request-id"] == "abc-1"
    assert odd.headers["x-request-id"] != "a b\tc"


def test_non_ascii_text_is_escaped(api):
    with api.client() as client:
        response = client.post("batchPredictions/", json={"deploymentId": "é€"})
    assert response.status_code == 404
    assert response.content.isascii()
    assert "é€" in response.json()["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"deploymentId": NaN}', 400),
        (b'{"deploymentId": 1e999}', 400),
        (b'{"a": 1, "a": 2}', 400),
        (b'{"a": ' + b"9" * 5000 + b"}", 400),
        (b'{"a": "\xff"}', 400),
        (b'{"a": ' + b"[" * 33 + b"]" * 33 + b"}", 422),
        (b"[" * 100_000, 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', 422),
    ],
)
def test_json_is_read_strictly(api, body, status):
    with api.client() as client:
        response = client.post("batchPredictions/", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert response.json()["message"]
    assert len(response.text) < 2000
    assert ("body is too large" in response.text) == (len(body) > 1 << 20)  # it is not even parsed


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (b'{"csvSettings": {"delimiter": ",", "delimiter": ";"}}', "csvSettings.delimiter", "twice"),
        (b'{"a": [1, NaN]}', "a.1", "NaN"),
        (b'{"a": [{"b": -Infinity}]}', "a.0.b", "-Infinity"),
        (b'{"predictionThreshold": 1e999}', "predictionThreshold", "too large"),
        (b'{"thresholdLow": -1e999}', "thresholdLow", "too large"),
        (b'{"numConcurrent": ' + b"9" * 101 + b"}", "numConcurrent", "101 digits"),
        (b'{"thresholdHigh": 0.' + b"1" * 200 + b"}", "thresholdHigh", "202 digits"),
        (b'{"deploymentId": "\\ud800"}', "deploymentId", "surrogate"),
        (b'{"columnNamesRemapping": {"\\udc00": "b"}}', "columnNamesRemapping.\\udc00", "surrogate"),
        (b'{"passthroughColumns": ["a", "b\\u0000"]}', "passthroughColumns.1", "NUL"),
        (b'{"a": 1,}', "", "line 1"),
        (b'{"a": 01}', "", "line 1"),
        (b"{'a': 1}", "", "line 1"),
        (b'{"a": "\n"}', "", "line 1"),
        (b'\xef\xbb\xbf{"a": 1}', "", "BOM"),
        (b'{"a": 1} {"b": 2}', "", "Extra data"),
        ('{"a": "é"}'.encode("latin-1"), "", "byte 7"),
        ('{"a": 1}'.encode("utf-16"), "", "byte 0"),
    ],
)
def test_what_is_not_strict_json_is_named_with_its_place(api, body, where, what):
    with api.client() as client:
        for path in ("batchPredictions/", "modelPackages/fromJSON/"):
            response = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert response.status_code == 400, response.text
            assert where in response.json()["message"]
            assert what in response.json()["message"]


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"😀"', '"é\\u00e9"'])
def test_text_beyond_ascii_is_json(api, text):
    body = f'{{"deploymentId": "{api.deployment_id}", "passthroughColumns": [{text}]}}'.encode()
    with api.client() as client:
        response = client.post("batchPredictions/", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 202
    assert response.json()["jobSpec"]["passthroughColumns"] == [json.loads(text)]


def test_compressed_json_is_refused(api):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with api.client() as client:
        response = client.post("batchPredictions/", content=b"{}", headers=headers)
    assert response.status_code == 415
    assert "gzip" in response.json()["message"]


@pytest.mark.parametrize(
    ("path", "body", "field", "hint"),
    [
        ("batchPredictions/", {"passthroughColumn": ["a"]}, "passthroughColumn", "passthroughColumns"),
        ("batchPredictions/", {"passthrough_columns": ["a"]}, "passthrough_columns", "passthroughColumns"),
        ("batchPredictions/", {"csvSettings": {"delimeter": ","}}, "csvSettings.delimeter", "delimiter"),
        ("batchPredictions/", {"intakeSettings": {"multiparts": True}}, "intakeSettings.multiparts", "multipart"),
        ("batchPredictions/", {"intakeSettings": {"type": "localfile", "url": "x"}}, "intakeSettings.url", ""),
        ("batchPredictions/", {"outputSettings": {"typ": "localFile"}}, "outputSettings.typ", "type"),
        ("batchPredictions/", {"intakeSettings": {"type": "localFiles"}}, "intakeSettings.type", "localFile"),
        ("batchPredictions/fromExisting/", {"predictionJobID": "1"}, "predictionJobID", "predictionJobId"),
        ("deployments/fromModelPackage/", {"modelPackageid": "1", "label": "a"}, "modelPackageid", "modelPackageId"),
        ("modelPackages/fromJSON/", {"name": "a", "target": {"nam": "b"}}, "target.nam", "name"),
        ("modelPackages/fromJSON/", {"name": "a", "modelDescription": {"locatoin": "b"}}, "", "location"),
    ],
)
def test_unknown_fields_are_refused_with_the_nearest_name(api, path, body, field, hint):
    if path == "batchPredictions/":
        body = {"deploymentId": api.deployment_id} | body
    with api.client() as client:
        response = client.post(path, json=body)
    assert response.status_code == 422
    assert hint in response.json()["message"]
    assert not field or field in response.json()["errors"]


def test_unknown_parameters_are_refused_everywhere(api):
    job_id = api.job()["id"]
    with api.client() as client:
        for method, path in (
            ("GET", f"batchPredictions/{job_id}/"),
            ("DELETE", f"batchPredictions/{job_id}/"),
            ("PUT", f"batchPredictions/{job_id}/csvUpload/"),
            ("GET", "version/"),
            ("POST", "batchPredictions/"),
        ):
            response = client.request(method, path, params={"hidden": 1})
            assert response.status_code == 422, path
            assert list(response.json()["errors"]) == ["hidden"]
        assert client.get("ping/", params={"_": 1}).status_code == 200


def test_head_is_get_without_the_body(api):
    job_id = api.job()["id"]
    with api.client() as client:
        for path in ("version/", f"batchPredictions/{job_id}/", f"batchPredictions/{job_id}/download/"):
            response = client.head(path)
            assert response.status_code == 200
            assert not response.content
            assert response.headers["x-request-id"]
        assert client.head("batchPredictions/0/").status_code == 404
        assert client.head(f"batchPredictions/{job_id}/").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("batchPredictions", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("batchPredictions/0/", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ("batchPredictions/0/csvUpload/part/0", {"OPTIONS", "PUT"}),
    ],
)
def test_an_address_says_what_it_takes(api, path, methods):
    with api.client() as client:
        options, wrong = client.options(path), client.request("TRACE", path)
    assert (options.status_code, wrong.status_code) == (204, 405)
    for response in (options, wrong):
        assert set(response.headers["allow"].split(", ")) == methods


def test_nul_characters_in_addresses(api):
    with api.client() as client:
        assert client.get("batchPredictions/a%00b/").status_code == 404
        assert client.get("deployments/?search=a%00").status_code == 422


@pytest.mark.parametrize("kind", ["application/json; encoding=utf-8", "Application/JSON", None])
def test_the_parameters_of_a_media_type_do_not_matter(api, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    body = json.dumps({"deploymentId": api.deployment_id}).encode()
    with api.client() as client:
        assert client.post("batchPredictions/", content=body, headers=headers).status_code == 202


def test_a_body_of_another_kind_is_refused(api):
    with api.client() as client:
        response = client.post("batchPredictions/", data={"deploymentId": api.deployment_id})
    assert response.status_code == 415
    assert "application/json" in response.json()["message"]


def test_links_follow_what_the_client_asked(api):
    port = urlsplit(api.url).port
    with api.client() as client:
        direct = client.get("batchPredictions/", params={"limit": 1})
        named = client.post(
            f"http://localhost:{port}/api/v2/batchPredictions/", json={"deploymentId": api.deployment_id}
        )
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "scores.example.com:8443, inner"}
        proxied = client.post("batchPredictions/", json={"deploymentId": api.deployment_id}, headers=headers)
        nested = client.get("batchPredictions/", params={"limit": 1}, headers=headers | {"X-Forwarded-Prefix": "/a/b/"})
        odd = client.get(f"batchPredictions/{named.json()['id']}", headers={"X-Forwarded-Host": "bad host/<x>"})
    assert direct.status_code == 200
    job_id = named.json()["id"]
    assert named.headers["location"] == f"http://localhost:{port}/api/v2/batchPredictions/{job_id}/"
    assert named.json()["links"]["csvUpload"] == f"http://localhost:{port}/api/v2/batchPredictions/{job_id}/csvUpload/"
    assert proxied.headers["location"].startswith("https://scores.example.com:8443/api/v2/batchPredictions/")
    assert proxied.headers["location"].endswith("/")
    assert nested.json()["next"].startswith("https://scores.example.com:8443/a/b/api/v2/batchPredictions/?")
    assert odd.json()["links"]["self"] == f"{api.endpoint}/batchPredictions/{job_id}/"


def test_pages_repeat_the_filters_and_end(api):
    made = {api.job()["id"] for _ in range(5)}
    with api.client() as client:
        query = {"limit": 2, "status": ["INITIALIZING", "RUNNING"], "deploymentId": api.deployment_id}
        page = client.get("batchPredictions/", params=query).json()
        assert page["previous"] is None
        seen, pages = [], 0
        while True:
            seen += [job["id"] for job in page["data"]]
            assert page["count"] == len(page["data"])
            pages += 1
            if page["next"] is None:
                break
            assert "status=INITIALIZING&status=RUNNING" in page["next"]
            page = client.get(page["next"]).json()
        assert page["previous"] is not None
    assert made <= set(seen)
    assert len(seen) == len(set(seen)) == page["totalCount"]
    assert pages == -(-len(seen) // 2)


def test_unknown_or_wrong_query_parameters_are_named(api):
    with api.client() as client:
        unknown = client.get("batchPredictions/", params={"statuses": "RUNNING"})
        wrong = client.get("batchPredictions/", params={"limit": "many", "status": "DONE"})
    assert unknown.status_code == wrong.status_code == 422
    assert "did you mean 'status'" in unknown.json()["message"]
    assert set(wrong.json()["errors"]) == {"limit", "status.0"}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"], ids=["first", "last"])
def test_a_time_that_is_none_in_utc_is_named(api, moment):
    with api.client() as client:
        for path, name in (("batchPredictions/", "startDateTime"), ("registeredModels/", "createdAtEndTs")):
            response = client.get(path, params={name: moment})
            assert response.status_code == 422, response.text
            assert list(response.json()["errors"]) == [name]


def test_a_parameter_that_is_no_list_is_given_once(api):
    with api.client() as client:
        response = client.get("batchPredictions/?limit=1&limit=2")
        assert response.status_code == 422, response.text
        assert response.json()["errors"] == {"limit": "limit is there twice: give it once."}
        assert client.get("batchPredictions/?status=ABORTED&status=RUNNING").status_code == 200


def test_messages_repeat_only_the_beginning_of_what_was_sent(api):
    with api.client() as client:
        for body in ({"deploymentId": "a" * 100_000}, {"b" * 100_000: 1}):
            response = client.post("batchPredictions/", json=body)
            assert response.status_code in (404, 422)
            assert len(response.content) < 10_000


def test_what_is_not_http_is_answered_in_json(api):
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=10)
    connection.connect()
    connection.sock.sendall(b"nonsense\r\n\r\n")
    response = http.client.HTTPResponse(connection.sock)
    response.begin()
    assert response.status == 400
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.read())["message"]
    connection.close()


def test_the_document_of_the_api_is_served(api):
    with api.client("nonsense") as client:
        document = client.get("openapi.json").json()
    assert "/api/v2/batchPredictions/{job_id}/csvUpload/" in document["paths"]
    query = {each["name"] for each in document["paths"]["/api/v2/batchPredictions/"]["get"]["parameters"]}
    assert {"status", "cutoffHours", "intakeType"} <= query


def test_an_unexpected_error_is_answered_without_its_details(api, monkeypatch, caplog):
    def broken(*_args, **_options):
        raise RuntimeError("secret inside")

    monkeypatch.setattr("scoreline.jobs.service.get", broken)
    with api.client() as client:
        response = client.get("batchPredictions/0/")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/json"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in response.json()["message"]
    assert "secret inside" in caplog.text
