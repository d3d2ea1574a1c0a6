"""Sending data to a job by hand, and what becomes of the job."""

from __future__ import annotations

from scoreline.jobs import store as rows
from tests.support.api import wait_for

CSV = b"x,carrier\n1,AA\n2,BB\n"


def put(api, path, content=CSV, kind="text/csv", **headers):
    given = {} if kind is None else {"Content-Type": kind}
    with api.client() as client:
        return client.put(f"batchPredictions/{path}", content=content, headers=given | headers)


def stream(api, job_id):
    """Return the name of the stream that a run of the job reads."""
    with api.store.read() as connection:
        return f"uploads/{job_id}/{rows.find(connection, job_id).upload_stream}"


def stored(api, job_id):
    return b"".join(api.spool.reader(stream(api, job_id)).blocks())


def aborted(api, job_id):
    """Return the reason once the job is aborted."""
    wait_for(lambda: api.status(job_id)["status"] == "ABORTED")
    return api.status(job_id)["statusDetails"]
