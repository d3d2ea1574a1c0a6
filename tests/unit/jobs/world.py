"""A small installation in the database: users, a model package, a deployment, prediction servers, and jobs on them.

Rows are written directly, so that these tests stand apart from the parts that normally write them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import sqlalchemy as sa

from scoreline.access import Caller
from scoreline.jobs import states
from scoreline.jobs import store as rows
from scoreline.jobs.model import Job, JobState, UploadState
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.store import Store, new_id, now
from scoreline.store.tables import access as access_tables
from scoreline.store.tables import registry as registry_tables
from scoreline.store.tables.jobs import jobs
from scoreline.types import Counts, Feature, FeatureType, Flush, Position, Receipt, TargetType

TARGET = Target("late", TargetType.BINARY, (Feature("hour", FeatureType.NUMERIC),), ("no", "yes"), "yes", 0.5)


@dataclass
class World:
    store: Store
    org_id: str
    user_id: str
    package_id: str
    deployment_id: str
    server_id: str

    @property
    def caller(self) -> Caller:
        return Caller(self.user_id, "ada", self.org_id, "user", frozenset({"code"}))

    def server(self, slots: int = 1, name: str | None = None) -> str:
        with self.store.begin() as connection:
            return _server(connection, self.user_id, self.org_id, slots, name or f"server {new_id()}")

    def job(self, *, server_id: str | None = None, queued: bool = True, spec: JobSpec | None = None, **values) -> str:
        job_id = new_id()
        spec = replace(spec or JobSpec(), deployment_id=self.deployment_id, num_concurrent=2)
        row = {
            "id": job_id,
            "owner_id": self.user_id,
            "org_id": self.org_id,
            "deployment_id": self.deployment_id,
            "package_id": self.package_id,
            "package_hash": "ab" * 32,
            "server_id": server_id or self.server_id,
            "target": rows.target_to_json(TARGET),
            "spec": spec.to_document(),
            "intake_type": spec.intake_type,
            "output_type": spec.output_type,
            "source": "api",
            "state": JobState.INITIALIZING,
            "upload_state": UploadState.DONE if queued else UploadState.WAITING,
            "created_at": now(),
        }
        with self.store.begin() as connection:
            rows.insert(connection, row | values)
            if queued:
                states.enqueue(connection, job_id)
        return job_id

    def package(self, **values) -> str:
        """Copy the model package, with changes; return its id."""
        packages = registry_tables.packages
        with self.store.begin() as connection:
            row = dict(connection.execute(sa.select(packages).where(packages.c.id == self.package_id)).mappings().one())
            version = connection.scalar(sa.select(sa.func.max(packages.c.version))) + 1
            row |= {"id": new_id(), "version": version, "model_id": f"model-{version}", "created_at": now()} | values
            connection.execute(packages.insert().values(row))
        return row["id"]

    def get(self, job_id: str) -> Job:
        with self.store.read() as connection:
            job = rows.find(connection, job_id)
        assert job is not None
        return job

    def logs(self, job_id: str) -> list[str]:
        with self.store.read() as connection:
            return rows.logs(connection, [job_id])[job_id]

    def column(self, job_id: str, name: str):
        with self.store.read() as connection:
            return connection.scalar(sa.select(jobs.c[name]).where(jobs.c.id == job_id))

    def set(self, job_id: str, **values) -> None:
        with self.store.begin() as connection:
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(values))


def build(store: Store, *, slots: int = 1) -> World:
    org_id, user_id, package_id, model_id, deployment_id = (new_id() for _ in range(5))
    owned = {"owner_id": user_id, "org_id": org_id, "created_at": now()}
    with store.begin() as connection:
        connection.execute(access_tables.organisations.insert().values(id=org_id, name=f"o{org_id}", created_at=now()))
        connection.execute(
            access_tables.users.insert().values(
                id=user_id,
                org_id=org_id,
                username="ada",
                role="user",
                rights=["code"],
                created_at=now(),
            )
        )
        connection.execute(
            registry_tables.registered_models.insert().values(
                id=model_id,
                name="flights",
                target_name="late",
                target_type="Binary",
                tags=[],
                last_version=1,
                modified_at=now(),
                **owned,
            )
        )
        connection.execute(
            registry_tables.packages.insert().values(
                id=package_id,
                registered_model_id=model_id,
                version=1,
                name="flights",
                artifact="ab" * 32,
                format="lightgbm",
                trusted=False,
                target_name="late",
                target_type="Binary",
                class_labels=["no", "yes"],
                positive_class="yes",
                threshold=0.5,
                features=[{"name": "hour", "type": "numeric", "nullable": True}],
                model_id="model-1",
                description={},
                tags=[],
                **owned,
            )
        )
        server_id = _server(connection, user_id, org_id, slots, "default")
        connection.execute(
            registry_tables.deployments.insert().values(
                id=deployment_id,
                package_id=package_id,
                server_id=server_id,
                label="flights",
                status="active",
                additional_metadata=[],
                settings={},
                updated_at=now(),
                model_deployed_at=now(),
                **owned,
            )
        )
        connection.execute(
            registry_tables.deployment_models.insert().values(
                deployment_id=deployment_id, number=1, package_id=package_id, user_id=user_id, at=now()
            )
        )
    return World(store, org_id, user_id, package_id, deployment_id, server_id)


def _server(connection, user_id: str, org_id: str, slots: int, name: str) -> str:
    server_id = new_id()
    connection.execute(
        registry_tables.prediction_servers.insert().values(
            id=server_id,
            owner_id=user_id,
            org_id=org_id,
            name=name,
            url="http://127.0.0.1:9",
            datarobot_key="k",
            slots=slots,
            concurrency=4,
            everyone=False,
            created_at=now(),
            seen_at=now(),
        )
    )
    return server_id


def flush(first: int, last: int, rows_read: int = 0, failed: int = 0, size: int = 10) -> Flush:
    """A flush as the pipeline makes them: chunk 0 is the header."""
    counts = Counts(rows_read, rows_read - failed, failed, 0)
    receipt = Receipt({"segment": f"{first:010d}-{last:010d}.1", "size": size, "crc32": 7})
    return Flush(first, last, Position(1000 * (last + 1), last + 1, rows_read), counts, receipt, size)


def wait_for(true, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
