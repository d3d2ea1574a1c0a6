"""The API as a process: ports, the end, and what happens to uploads at the end."""

from __future__ import annotations

import socket
import time

import pytest

from scoreline.api import serve
from scoreline.errors import SetupError
from scoreline.jobs import service
from scoreline.settings import Settings
from scoreline.store import Store
from tests.support.api import SlowUpload, running_api, wait_for


def test_a_port_that_is_taken_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("scoreline.logs.configure", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(Settings(data_dir=tmp_path, port=port))


def test_the_end_of_the_server_interrupts_uploads_with_a_reason(tmp_path, migrated_sqlite):
    with running_api(tmp_path, migrated_sqlite) as api:
        job_id = api.job()["id"]
        slow = SlowUpload(api, f"{job_id}/csvUpload/", "Content-Length: 1000")
        slow.send(b"x,carrier\n1,AA\n")
        wait_for(lambda: api.status(job_id)["queued"])
        start = time.monotonic()
    assert time.monotonic() - start < 40
    slow.close()
    store = Store(f"sqlite:///{tmp_path / 'scoreline.db'}")
    job = service.get(store, api.user, job_id)
    store.dispose()
    assert (job.state, job.upload_state) == ("INITIALIZING", "interrupted")
    assert "went down after 15 bytes" in job.status_details
