"""A worker is killed while it reads a URL, and before and after it sends the rows to one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fault.conftest import Case
from tests.support.cluster import Cluster
from tests.support.served import until
from tests.support.web import Web, web

pytestmark = pytest.mark.slow

KEY = "out/scored.csv"


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture
def site(server: Web) -> Iterator[Web]:
    yield server
    server.empty()


def _killed(here: Cluster, site: Web, case: Case, point: str, skip: int, given: dict[str, Any], **more: Any) -> str:
    """Make a job whose worker is killed at that moment; return its id."""
    site.put("in/data.csv", case.data, **given)
    here.faults.arm(point, skip=skip, part="worker")
    job_id = here.job(intakeSettings=site.at("in/data.csv"), outputSettings=site.at(KEY, **more))
    here.reaped(point)
    return job_id


def _nothing_staged(here: Cluster, job_id: str, but: str = "") -> None:
    staged = here.data / "spool" / "staged" / job_id
    until(
        lambda: not [path for path in staged.rglob("*") if path.is_file() and path.name != but],
        15,
        "what was staged is deleted",
    )


@pytest.mark.parametrize(
    ("point", "skip", "sent"),
    [
        ("url.block", 2, 1),
        ("ledger.recorded", 1, 1),
        ("request.sending", 0, 1),
        ("request.answered", 0, 2),
        ("request.noted", 0, 1),
    ],
)
def test_worker_killed_over_a_put(
    here: Cluster, site: Web, case: Case, tmp_path: Path, point: str, skip: int, sent: int
) -> None:
    job_id = _killed(here, site, case, point, skip, {})
    assert here.ended(job_id) == "COMPLETED", here.document(job_id)["statusDetails"]
    found = tmp_path / "found.csv"
    found.write_bytes(site.get(KEY) or b"")
    here.check_whole(job_id, case.clean, output=found)
    assert [call.body for call in site.came(KEY)] == [case.clean] * sent
    _nothing_staged(here, job_id)


def test_a_worker_frozen_before_it_sends_does_no_harm_when_it_wakes(there: Cluster, site: Web, case: Case) -> None:
    site.put("in/data.csv", case.data)
    there.faults.arm("request.sending", "stop", part="worker")
    job_id = there.job(intakeSettings=site.at("in/data.csv"), outputSettings=site.at(KEY))
    until(lambda: there.faults.happened("request.sending"), 30, "the worker is frozen")
    assert there.ended(job_id) == "COMPLETED"
    sent = [call.body for call in site.came(KEY)]
    assert set(sent) == {case.clean}  # its request may have gone before all its threads stood still
    there.mend()
    until(lambda: any("LostLease" in there.log(name) for name in ("worker", "worker2")), 15, "it wakes and lets go")
    assert [call.body for call in site.came(KEY)] == sent
    # The answer to a request that went may be noted when it wakes; what tidies each hour deletes that.
    _nothing_staged(there, job_id, but="sent")


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_job_is_aborted_while_it_sends(here: Cluster, site: Web, case: Case, method: str) -> None:
    site.put("in/data.csv", case.data)
    here.faults.arm("request.sending", "sleep", seconds=1.5, part="worker")
    job_id = here.job(intakeSettings=site.at("in/data.csv"), outputSettings=site.at(KEY, method=method))
    until(lambda: here.faults.happened("request.sending"), 30, "the request")
    with here.http() as http:
        assert http.delete(f"batchPredictions/{job_id}/").status_code in {202, 204}
    here.check_aborted(job_id, "Cancelled")
    _nothing_staged(here, job_id)
    assert case.clean not in [call.body for call in site.calls]
    assert site.get(KEY) is None


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_job_is_paused_while_it_sends(here: Cluster, site: Web, case: Case, method: str) -> None:
    site.put("in/data.csv", case.data)
    here.faults.arm("request.sending", "sleep", seconds=1.5, part="worker")
    job_id = here.job(intakeSettings=site.at("in/data.csv"), outputSettings=site.at(KEY, method=method))
    until(lambda: here.faults.happened("request.sending"), 30, "the request")
    with here.http() as http:
        assert http.post(f"batchPredictions/{job_id}/pause/").status_code == 200
        assert http.post(f"batchPredictions/{job_id}/resume/").status_code == 200
    assert here.ended(job_id) == "COMPLETED", here.document(job_id)["statusDetails"]
    assert [call.body for call in site.came(KEY)].count(case.clean) == 1


def test_worker_killed_before_the_end_of_a_post_sends_it_again(here: Cluster, site: Web, case: Case) -> None:
    job_id = _killed(here, site, case, "request.sending", 0, {}, method="POST")
    assert here.ended(job_id) == "COMPLETED", here.document(job_id)["statusDetails"]
    assert [call.body for call in site.came(KEY)].count(case.clean) == 1


@pytest.mark.parametrize(("point", "sent"), [("request.ending", 0), ("request.answered", 1)])
def test_worker_killed_over_a_post_ends_the_job_and_says_what_is_not_known(
    here: Cluster, site: Web, case: Case, point: str, sent: int
) -> None:
    job_id = _killed(here, site, case, point, 0, {}, method="POST")
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "is not known (the worker that sent it ended", "set sendAgain to true")
    assert [call.body for call in site.came(KEY)].count(case.clean) == sent
    _nothing_staged(here, job_id)


@pytest.mark.parametrize(
    ("point", "skip", "read"), [("url.block", 2, 2), ("url.kept", 0, 1), ("ledger.recorded", 1, 1)]
)
def test_worker_killed_over_a_source_that_nobody_can_tell_from_another(
    here: Cluster, site: Web, case: Case, point: str, skip: int, read: int
) -> None:
    job_id = _killed(here, site, case, point, skip, {"tag": "", "parts": False})
    assert here.ended(job_id) == "COMPLETED", here.document(job_id)["statusDetails"]
    assert site.get(KEY) == case.clean
    assert len(site.came("in/data.csv")) == read
    until(lambda: not list((here.data / "spool" / "uploads").rglob(f"*{job_id}*/*")), 15, "what was kept is deleted")
    _nothing_staged(here, job_id)
