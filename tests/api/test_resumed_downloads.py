"""Downloads that go on where an earlier one broke: the same bytes, while the job runs and after it."""

from __future__ import annotations

import threading

import pytest

from tests.api.test_downloads import FIRST, HEADER, SECOND, begun
from tests.support.api import wait_for

WHOLE = HEADER + FIRST + SECOND


def finished(api):
    job_id, run = begun(api)
    for body, count in ((HEADER, 0), (FIRST, 3), (SECOND, 2)):
        api.rows(run, body, count)
    api.complete(run)
    return job_id


def get(api, job_id, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with api.client() as client:
        return client.get(f"batchPredictions/{job_id}/download/", headers=named)


def test_any_part_of_a_finished_result(api):
    job_id = finished(api)
    whole = get(api, job_id)
    assert whole.status_code == 200
    assert whole.content == WHOLE
    assert whole.headers["transfer-encoding"] == "chunked", "a break must be noticed by every client"
    assert whole.headers["accept-ranges"] == "bytes"
    for first in range(len(WHOLE)):
        rest = get(api, job_id, Range=f"bytes={first}-")
        assert (rest.status_code, rest.content) == (206, WHOLE[first:])
        assert rest.headers["content-range"] == f"bytes {first}-{len(WHOLE) - 1}/{len(WHOLE)}"
    middle = get(api, job_id, Range="bytes=10-20")
    assert middle.content == WHOLE[10:21]
    assert get(api, job_id, Range="bytes=-4").content == WHOLE[-4:]


def test_a_part_behind_the_end_is_refused_with_the_size(api):
    answer = get(api, finished(api), Range=f"bytes={len(WHOLE)}-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(WHOLE)}"
    assert f"has {len(WHOLE)} bytes" in answer.json()["message"]


def test_a_tag_of_another_result_gets_all_of_this_one(api):
    job_id, other = finished(api), finished(api)
    tag = get(api, job_id).headers["etag"]
    assert get(api, job_id, Range="bytes=5-", If_Range=tag).status_code == 206
    answer = get(api, other, Range="bytes=5-", If_Range=tag)
    assert (answer.status_code, answer.content) == (200, WHOLE)


@pytest.mark.parametrize("first", [0, 7, len(HEADER), len(HEADER) + 5])
def test_the_rest_of_a_result_that_still_grows(api, first):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    api.rows(run, FIRST, 3)
    answers = []
    reader = threading.Thread(target=lambda: answers.append(get(api, job_id, Range=f"bytes={first}-")))
    reader.start()
    wait_for(reader.is_alive)
    api.rows(run, SECOND, 2)
    api.complete(run)
    reader.join(10)
    (answer,) = answers
    assert (answer.status_code, answer.content) == (206, WHOLE[first:])
    assert answer.headers["content-range"].startswith(f"bytes {first}-")


def test_a_part_that_does_not_exist_yet_cannot_be_skipped_to(api):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    api.rows(run, FIRST + SECOND, 5)
    answers = []
    reader = threading.Thread(target=lambda: answers.append(get(api, job_id, Range="bytes=1000-")))
    reader.start()
    api.complete(run)
    reader.join(10)
    assert answers[0].status_code in {200, 416}, "the job may have ended before the request came"
