"""A running installation as a client sees it, and what must hold in it after every fault."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import sqlalchemy as sa

from scoreline.spool import Spool, open_spool
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs, ledger
from tests.support.served import until
from tests.support.server import ADMIN_TOKEN


class Installation:
    """`url` is where clients call, `deployment` scores the rows of `tests.support.tiny`.

    data: the data folder. database_url: None for SQLite in it. spool_url: None for a spool in the data folder.
    """

    url: str
    deployment: str
    data: Path
    database_url: str | None
    spool_url: str | None = None

    def log(self, name: str) -> str:
        """Return the last lines of a part's log."""
        raise NotImplementedError

    # What a client does

    def http(self, **options: Any) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return httpx2.Client(base_url=f"{self.url}/api/v2/", headers=headers, trust_env=False, timeout=30, **options)

    def job(self, **settings: Any) -> str:
        """Create a job over many small chunks; return its id."""
        body = {"deploymentId": self.deployment, "passthroughColumns": ["id"], "chunkSize": 20_000} | settings
        with self.http() as http:
            made = http.post("batchPredictions/", json=body)
        assert made.status_code == 202, made.text
        return str(made.json()["id"])

    def put(self, job_id: str, data: bytes, path: str = "") -> httpx2.Response:
        with self.http() as http:
            return http.put(
                f"batchPredictions/{job_id}/csvUpload/{path}", content=data, headers={"Content-Type": "text/csv"}
            )

    def document(self, job_id: str) -> dict[str, Any]:
        with self.http() as http:
            return dict(http.get(f"batchPredictions/{job_id}/").json())

    def status(self, job_id: str) -> str:
        with suppress(httpx2.HTTPError, ValueError, KeyError):
            return str(self.document(job_id)["status"])
        return "?"

    def ended(self, job_id: str, seconds: float = 60.0) -> str:
        """Wait for the end of a job; return its state."""
        end = time.monotonic() + seconds
        while (state := self.status(job_id)) not in ("COMPLETED", "ABORTED"):
            assert time.monotonic() < end, f"{state}; {self.log('worker')}"
            time.sleep(0.05)
        return state

    def download(self, job_id: str, **headers: str) -> bytes:
        with self.http() as http:
            return http.get(f"batchPredictions/{job_id}/download/", headers=headers).content

    def spool(self) -> Spool:
        return open_spool(self.spool_url or self.data / "spool")

    # What must hold after every fault

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = Store(self.database_url or f"sqlite:///{self.data / 'scoreline.db'}")
        try:
            store.migrate()
            yield store
        finally:
            store.dispose()

    def check_whole(self, job_id: str, clean: bytes, *, output: Path | None = None) -> None:
        """The job is COMPLETED with the bytes of a clean run, every row once, and leaves nothing but its result."""
        document = self.document(job_id)
        assert document["status"] == "COMPLETED", document["statusDetails"]
        written = self.download(job_id) if output is None else output.read_bytes()
        assert written == clean, f"{len(written)} bytes instead of {len(clean)}"
        rows = clean.count(b"\n") - 1
        assert (document["scoredRows"], document["failedRows"], document["skippedRows"]) == (rows, 0, 0)
        with self.store() as store, store.read() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().one()
            blocks = (
                connection.execute(sa.select(ledger).where(ledger.c.job_id == job_id).order_by(ledger.c.first_chunk))
                .mappings()
                .all()
            )
        assert row["lease_owner"] is None
        assert sum(block["rows_read"] for block in blocks) == rows == row["rows_read"]
        assert sum(block["bytes_out"] for block in blocks) == len(clean) == row["bytes_out"]
        following = [block["last_chunk"] + 1 for block in blocks][:-1]
        assert [block["first_chunk"] for block in blocks] == [0, *following]
        listed = {block["receipt"]["segment"] for block in blocks} if output is None else set()
        until(lambda: self.staged(job_id) == self._result_of(job_id, listed), 15, f"{self.staged(job_id)} are left")
        if output is not None:
            assert [path.name for path in output.parent.iterdir() if path.name.startswith(f".{output.name}")] == []

    def check_aborted(self, job_id: str, *words: str) -> str:
        """The job is ABORTED for the reason told, and nothing of it is left."""
        document = self.document(job_id)
        assert document["status"] == "ABORTED", document["status"]
        reason = str(document["statusDetails"])
        for word in words:
            assert word in reason, reason
        until(lambda: not self.staged(job_id), 15, f"{self.staged(job_id)} are left")
        until(lambda: not self._owner(job_id), 15, f"{self._owner(job_id)} has not let it go")
        return reason

    def _owner(self, job_id: str) -> str | None:
        with self.store() as store, store.read() as connection:
            return connection.scalar(sa.select(jobs.c.lease_owner).where(jobs.c.id == job_id))

    def staged(self, job_id: str) -> set[str]:
        """Files of a job in the spool, half-written ones included; the list of failed rows excepted."""
        if self.spool_url is not None:
            return {key for kind in ("uploads", "results") for key in self.spool().blobs.list(f"{kind}/{job_id}")}
        root = self.data / "spool"
        found = set()
        for kind in ("uploads", "results"):
            for folder, _, names in os.walk(root / kind / job_id):  # unlike rglob it bears what is deleted meanwhile
                found |= {str(Path(folder, name).relative_to(root)) for name in names}
        return found

    @staticmethod
    def _result_of(job_id: str, segments: set[str]) -> set[str]:
        if not segments:
            return set()
        return {f"results/{job_id}/{name}.seg" for name in segments} | {f"results/{job_id}/manifest.json"}
