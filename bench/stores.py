"""What an object store costs: the same jobs from and to S3 and from and to files, in turn, with one worker.

W1 is CSV, W2 the same rows as Parquet. The store is versitygw on loopback, or moto where that is not built; its own
CPU time does not count. Then our transfers alone beside boto3's, and the worker's memory over objects and folders.
"""

from __future__ import annotations

import hashlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

from bench import data, measure
from bench.ledger import Parts
from bench.server import free_port, role

_BUCKET = "bench"
_KEY, _SECRET = "AKIDOFTHEBENCH", "secret/of+the=bench"
_VERSITY = Path(sys.prefix) / "versitygw" / "versitygw"
_POLL_SECONDS = 0.05
_TRANSFER_BYTES = 256 << 20
_CHUNK_BYTES = 2 << 20
_SCORES = ("worker", "predictor", "modelproc")


@dataclass(frozen=True)
class Way:
    """A job's source and target; `parquet`: the format of both."""

    name: str
    intake: dict[str, Any]
    output: dict[str, Any]
    parquet: bool = False

    def body(self, deployment: str) -> dict[str, Any]:
        """Return what the job is made of."""
        more = {"format": "parquet"} if self.parquet else {}
        return {
            "deploymentId": deployment,
            "passthroughColumns": ["id"],
            "intakeSettings": self.intake | more,
            "outputSettings": self.output | more,
        }


class Stores(Parts):
    """API, prediction server and one worker, with an S3 server beside them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-", dir=data.DATA)))
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.client = self._server(folder)
        super().__init__(
            SCORELINE_ALLOWED_NETWORKS=self.endpoint.removeprefix("http://"),
            SCORELINE_PARTITION_BYTES=str(1 << 40),  # one worker: nothing to share
        )

    def __enter__(self) -> Self:
        super().__enter__()
        self.start_predictor()
        self.worker_pid = self.start_worker(self._stack)
        keys = {"awsAccessKeyId": _KEY, "awsSecretAccessKey": _SECRET}
        _, made = self.call("POST", "credentials/", {"name": "bench", "credentialType": "s3", **keys})
        self._credential = made["credentialId"]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._stack.close()

    def at(self, key: str) -> dict[str, Any]:
        """Return the settings of an object of the store."""
        url = f"s3://{_BUCKET}/{key}"
        return {"type": "s3", "url": url, "endpointUrl": self.endpoint, "credentialId": self._credential}

    def put(self, key: str, path: Path) -> None:
        """Put a file into the store."""
        self.client.upload_file(str(path), _BUCKET, key)

    def digest(self, place: dict[str, Any]) -> str:
        """Return the SHA-256 of a target's bytes, or of its rows where it is Parquet; it is deleted."""
        path = data.DATA / "from-store"
        if place["type"] == "filesystem":
            path = data.DATA / place["path"]
        else:
            key = place["url"].removeprefix(f"s3://{_BUCKET}/")
            self.client.download_file(_BUCKET, key, str(path))
            self.client.delete_object(Bucket=_BUCKET, Key=key)
        found = _digest(path)
        path.unlink()
        return found

    def run(self, way: Way, deployment: str) -> tuple[measure.Usage, str]:
        """Run one job; return what worker and prediction server used, and the digest of what it wrote."""
        roots = [self.predictor_pid, self.worker_pid]
        before = measure.cpu_of(roots, role)
        with measure.PssSampler([self.worker_pid], role) as sampler:
            begun = time.perf_counter()
            status, job = self.call("POST", "batchPredictions/", way.body(deployment))
            assert status == 202, job
            while (job := self.call("GET", f"batchPredictions/{job['id']}/")[1])["status"] in (
                "INITIALIZING",
                "RUNNING",
            ):
                time.sleep(_POLL_SECONDS)
            wall = time.perf_counter() - begun
        assert job["status"] == "COMPLETED", job["statusDetails"]
        after = measure.cpu_of(roots, role)
        spent = {name: used - before.get(name, 0.0) for name, used in after.items() if name in _SCORES}
        return measure.Usage(wall, sum(spent.values()), sampler.total, sampler.peaks, spent), self.digest(way.output)

    def _server(self, folder: Path) -> Any:
        """Start the S3 server and return boto3's client of it."""
        try:
            import boto3  # noqa: PLC0415 -- the rest of the bench does without
        except ImportError as error:
            raise SystemExit("bench: the comparison of stores needs boto3: run `make setup` first.") from error
        from botocore.config import Config  # noqa: PLC0415 -- as above

        address = self.endpoint.removeprefix("http://")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.partition(":")[2]]
        if _VERSITY.exists():
            (folder / "buckets").mkdir()
            command = [str(_VERSITY), "--port", address, "posix", str(folder / "buckets")]
        else:
            print("note: versitygw is not built (`make .venv/versitygw/versitygw`): the store is moto", flush=True)
        environment = {"ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": _SECRET}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(server.wait, 30)
        self._stack.callback(server.terminate)
        client = boto3.client(
            "s3",
            "us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_SECRET,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 8}),
        )
        self._stack.callback(client.close)
        client.create_bucket(Bucket=_BUCKET)
        return client


def compare(stores: Stores, model: Path, size: int, pairs: int) -> dict[str, Any]:
    """Run W1 and W2 from and to S3 and files in turn; return medians, and what S3 adds in percent of CPU time."""
    deployment = stores.deploy(model, "stores")
    ways = _ways(stores, size)
    seen: dict[str, list[measure.Usage]] = {way.name: [] for way in ways}
    digests: dict[str, str] = {}
    stores.run(ways[0], deployment)  # a worker's first job is slower
    for number in range(pairs):
        for way in ways if number % 2 else reversed(ways):
            usage, digest = stores.run(way, deployment)
            seen[way.name].append(usage)
            if digests.setdefault(way.name.partition(" ")[0], digest) != digest:
                raise SystemExit(f"bench: {way.name} wrote other bytes than the same rows elsewhere")
        print("  " + ", ".join(f"{name}: {runs[-1].cpu:.2f} CPU s" for name, runs in seen.items()), flush=True)
    found: dict[str, Any] = {
        name: {
            "wall": statistics.median(run.wall for run in runs),
            "cpu": statistics.median(run.cpu for run in runs),
            "peak": max(run.peaks.get("worker", 0) for run in runs),
        }
        for name, runs in seen.items()
    }
    for work in ("W1", "W2"):
        found[f"{work}, % more CPU"] = 100 * (found[f"{work} S3"]["cpu"] / found[f"{work} files"]["cpu"] - 1)
    return found


def memory(stores: Stores, model: Path, sizes: list[int]) -> dict[str, float]:
    """Return the worker's peak in MB for objects and folders of these sizes in MB, in CSV, to an object."""
    deployment = stores.deploy(model, "memory")
    found = {}
    for size in sizes:
        source = data.csv_file(size)
        stores.put("in/one.csv", source)
        for number in range(10):
            stores.put(f"folder/{number}.csv", data.csv_file(size // 10))
        for name, key in (("object", "in/one.csv"), ("folder", "folder/")):
            usage, _ = stores.run(Way(name, stores.at(key), stores.at("out/memory.csv")), deployment)
            found[f"{name} of {size} MB"] = usage.peaks["worker"] / 1e6
            print(f"  {name} of {size} MB: worker's peak {found[f'{name} of {size} MB']:.0f} MB", flush=True)
    return found


def transfers(stores: Stores, runs: int) -> dict[str, float]:
    """Return the CPU seconds of this process for reading and writing the same bytes, by us and by boto3.

    "sent" is the transfer alone; "written" what an output does: it stages the bytes durably before they go.
    """
    payload = io.BytesIO()
    with data.csv_file(100).open("rb") as file:
        block = file.read()
    while payload.tell() < _TRANSFER_BYTES:
        payload.write(block[: _TRANSFER_BYTES - payload.tell()])
    body = payload.getvalue()
    stores.client.put_object(Bucket=_BUCKET, Key="transfer", Body=body)
    ways: dict[str, Callable[[], None]] = {
        "read by us": lambda: _read(stores),
        "read by boto3": lambda: stores.client.download_fileobj(_BUCKET, "transfer", _Nowhere()),
        "sent by us": lambda: _send(stores, body),
        "written by us": lambda: _write(stores, body),
        "sent by boto3": lambda: stores.client.upload_fileobj(io.BytesIO(body), _BUCKET, "transfer-out"),
    }
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs + 1):
        for name, work in ways.items():
            begun = time.process_time()
            work()
            seen[name].append(time.process_time() - begun)
    return {name: statistics.median(times[1:]) for name, times in seen.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
    # Row groups follow the pace of a run; what is in them does not.
    digest, table = hashlib.sha256(), pq.read_table(path).combine_chunks()
    for batch in table.to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()


def _ways(stores: Stores, size: int) -> list[Way]:
    found = []
    for work, source, parquet in (("W1", data.csv_file(size), False), ("W2", data.parquet_file(size), True)):
        ending = source.suffix
        stores.put(f"in/{source.name}", source)
        files = ({"type": "filesystem", "path": source.name}, {"type": "filesystem", "path": f"scored-stores{ending}"})
        found += [
            Way(f"{work} files", *files, parquet),
            Way(f"{work} S3", stores.at(f"in/{source.name}"), stores.at(f"out/scored{ending}"), parquet),
        ]
    return found


class _Nowhere(io.RawIOBase):
    """Takes what is written."""

    def writable(self) -> bool:
        return True

    def write(self, piece: Any, /) -> int:
        return len(piece)


def _ticket(stores: Stores, spool: Any, key: str) -> Any:
    from scoreline.types import (  # noqa: PLC0415 -- the rest of the bench does without
        CsvDialect,
        ErrorPlan,
        PacePlan,
        Range,
        RunTicket,
        ScoringPlan,
        ServerAddress,
        TargetType,
    )

    return RunTicket(
        job_id="b" * 24,
        fence=1,
        part=Range(),
        intake=stores.at(key),
        output=stores.at(f"{key}-out"),
        dialect=CsvDialect(),
        plan=ScoringPlan(TargetType.REGRESSION, "y", ()),
        pace=PacePlan(),
        errors=ErrorPlan(),
        server=ServerAddress(stores.endpoint, "p", "t"),
        spool=spool.url,
        package_hash="0" * 64,
    )


def _keys(_: str) -> Any:
    from scoreline.credentials import S3Secret  # noqa: PLC0415 -- as above

    return S3Secret(_KEY, _SECRET)


def _read(stores: Stores) -> None:
    from scoreline.adapters import s3  # noqa: PLC0415 -- as above
    from scoreline.spool import open_spool  # noqa: PLC0415 -- as above

    ticket = _ticket(stores, open_spool(stores.folder / "transfers"), "transfer")
    with closing(s3.open_intake(ticket, open_spool(stores.folder / "transfers"), _keys)) as intake:
        for _ in intake.blocks(ticket.part, 0):
            pass


def _send(stores: Stores, body: bytes) -> None:
    from scoreline.adapters import s3  # noqa: PLC0415 -- as above
    from scoreline.adapters.staging import first_span  # noqa: PLC0415 -- as above
    from scoreline.spool import open_spool  # noqa: PLC0415 -- as above

    uploads, key = s3.open_uploads(_ticket(stores, open_spool(stores.folder / "transfers"), "transfer"), _keys)
    with closing(uploads):
        upload, parts, span = uploads.begin(key, "bench", again=False), [], first_span(uploads.most_part)
        while span.start < len(body):
            last = span.end >= len(body)
            part = uploads.part(upload, span.number, span.start, body[span.start : span.end], last=last)
            parts.append({**part, "number": span.number})
            span = span.next(uploads.most_part)
        uploads.complete(upload, parts, len(body), new=False)


def _write(stores: Stores, body: bytes) -> None:
    from scoreline.adapters import s3  # noqa: PLC0415 -- as above
    from scoreline.spool import open_spool  # noqa: PLC0415 -- as above
    from scoreline.types import ScoredChunk  # noqa: PLC0415 -- as above

    spool = open_spool(stores.folder / "transfers")
    with closing(s3.open_output(_ticket(stores, spool, "transfer"), spool, _keys)) as output:
        output.open(output.prepare())
        chunks = range(0, len(body), _CHUNK_BYTES)
        receipts = [
            output.write(ScoredChunk(number, number, body[start : start + _CHUNK_BYTES], 1))
            for number, start in enumerate(chunks)
        ]
        output.commit(receipts)
