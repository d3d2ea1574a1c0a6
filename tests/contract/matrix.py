"""One row for each adapter that is built; `test_intake` and `test_output` run every test for every row.

A new adapter adds a row here: how to lay a source ready for it, and how to see what its target holds.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoreline.credentials import Keys, no_keys
from scoreline.errors import OutputError, SpoolFull
from scoreline.spool import Spool, finalise, part_writer
from scoreline.spool.folder import FolderBlobs
from scoreline.types import (
    CsvDialect,
    ErrorPlan,
    PacePlan,
    Range,
    RunLimits,
    RunTicket,
    ScoringPlan,
    ServerAddress,
    TargetType,
)

JOB = "0123456789abcdef01234567"


PATIENCE = 4.0  # seconds

servers: dict[str, Callable[[str], Any]] = {}
"""`get`: a function from a store's name to its server, as the fixture of that name gives it."""


def ticket(intake: dict, output: dict, spool: Spool, *, fence: int = 1, dialect: CsvDialect | None = None) -> RunTicket:
    """A run as adapters see it: the scoring part does not matter to them."""
    return RunTicket(
        job_id=JOB,
        fence=fence,
        part=Range(),
        intake=intake,
        output=output,
        dialect=dialect or CsvDialect(),
        plan=ScoringPlan(TargetType.REGRESSION, "y", ()),
        pace=PacePlan(),
        errors=ErrorPlan(),
        server=ServerAddress("http://127.0.0.1:1", "p", "t"),
        spool=spool.url,
        package_hash="0" * 64,
        limits=RunLimits(patience_seconds=PATIENCE),
    )


@dataclass(frozen=True)
class IntakeRow:
    """An intake under test.

    lay: make the source hold the joined blocks, each as a piece of its own where the source knows pieces.
    files: the files that hold the source's bytes; flipping one of their bytes must be detected if `checked`.
    pieces_end_lines: a line end is added after a piece that has none. keys: opens its credentials.
    """

    name: str
    lay: Callable[[Spool, Path, Sequence[bytes]], dict]
    files: Callable[[Spool, Path], Sequence[Path]]
    checked: bool = True
    pieces_end_lines: bool = False
    keys: Keys = no_keys


@dataclass(frozen=True)
class OutputRow:
    """An output under test. settings: its settings; content: what a reader sees, None for nothing; traces: leftovers.

    files: the files that hold written blocks before the commit. read_back: after it, too, their digest can be had.
    """

    name: str
    settings: Callable[[Path], dict]
    content: Callable[[Spool, Path], bytes | None]
    traces: Callable[[Spool, Path], Sequence[str]]
    files: Callable[[Spool, Path], Sequence[Path]]
    full: type[Exception]
    keys: Keys = no_keys
    read_back: bool = True


def _root(spool: Spool) -> Path:
    assert isinstance(spool.blobs, FolderBlobs)
    return spool.blobs.root


def _lay_upload(spool: Spool, _: Path, blocks: Sequence[bytes]) -> dict:
    with spool.writer(f"uploads/{JOB}/0") as writer:
        for block in blocks:
            writer.write(block)
            writer.seal()
        writer.finish()
    return {"type": "localFile"}


def _lay_parts(spool: Spool, _: Path, blocks: Sequence[bytes]) -> dict:
    spool.delete_stream(f"uploads/{JOB}")
    for number, block in enumerate(blocks or [b""]):
        with part_writer(spool, JOB, number) as writer:
            writer.write(block)
            writer.finish(replace=True)
    finalise(spool, JOB)
    return {"type": "localFile", "multipart": True, "async": False}


def _lay_file(_: Spool, folder: Path, blocks: Sequence[bytes]) -> dict:
    (folder / "in.csv").write_bytes(b"".join(blocks))
    return {"type": "filesystem", "path": str(folder / "in.csv")}


def _lay_dataset(spool: Spool, _: Path, blocks: Sequence[bytes]) -> dict:
    body = b"".join(blocks)
    spool.put_object("datasets/1", io.BytesIO(body))
    digest = hashlib.sha256(body).hexdigest()
    return {"type": "dataset", "object": "datasets/1", "name": "rows", "bytes": len(body), "sha256": digest}


def _upload_files(spool: Spool, _: Path) -> Sequence[Path]:
    return sorted((_root(spool) / "uploads").rglob("*.seg"))


def _result(spool: Spool, _: Path) -> bytes | None:
    reader = spool.reader(f"results/{JOB}")
    return b"".join(reader.blocks()) if reader.complete() else None


def _file(_: Spool, folder: Path) -> bytes | None:
    path = folder / "out.csv"
    return path.read_bytes() if path.exists() else None


def _staged(spool: Spool, _: Path) -> Sequence[Path]:
    return sorted((_root(spool) / "staged").rglob("*.seg"))


def _store_intake(name: str, store: str) -> IntakeRow:
    def lay(_: Spool, __: Path, blocks: Sequence[bytes]) -> dict:
        server = servers["get"](store)
        server.put("in/data.csv", b"".join(blocks))
        return server.at("in/data.csv")

    return IntakeRow(name, lay, lambda *_: (), checked=False, keys=lambda field: servers["get"](store).keys(field))


def _store_output(name: str, store: str) -> OutputRow:
    def server() -> Any:
        return servers["get"](store)

    def traces(spool: Spool, _: Path) -> list[str]:
        left = [name for name in server().names() if name != "out/result.csv"]
        # That a request was answered is kept for runs to come, until the job is over.
        staged = [key for key in spool.blobs.list("staged") if not key.endswith("/sent")]
        return [*left, *server().unfinished(), *staged]

    return OutputRow(
        name,
        settings=lambda _: server().at("out/result.csv"),
        content=lambda *_: server().get("out/result.csv"),
        traces=traces,
        files=_staged,
        full=SpoolFull,
        keys=lambda field: server().keys(field),
        read_back=False,
    )


INTAKES = [
    IntakeRow("localFile", _lay_upload, _upload_files),
    IntakeRow("localFile multipart", _lay_parts, _upload_files, pieces_end_lines=True),
    IntakeRow("filesystem", _lay_file, lambda _, folder: [folder / "in.csv"], checked=False),
    IntakeRow("dataset", _lay_dataset, lambda spool, _: [_root(spool) / "datasets" / "1"], checked=False),
    _store_intake("s3", "s3"),
    _store_intake("azure", "azurite"),
    _store_intake("gcp", "gcs"),
    _store_intake("http", "web"),
]

OUTPUTS = [
    OutputRow(
        "localFile",
        settings=lambda _: {"type": "localFile"},
        content=_result,
        traces=lambda spool, _: spool.blobs.list("results"),
        files=lambda spool, _: sorted((_root(spool) / "results").rglob("*.seg")),
        full=SpoolFull,
    ),
    OutputRow(
        "filesystem",
        settings=lambda folder: {"type": "filesystem", "path": str(folder / "out.csv")},
        content=_file,
        traces=lambda _, folder: sorted(path.name for path in folder.glob("*out.csv*") if path.name != "out.csv"),
        files=lambda _, folder: sorted(folder.glob(".out.csv*.part")),
        full=OutputError,
    ),
    _store_output("s3", "s3"),
    _store_output("azure", "azurite"),
    _store_output("gcp", "gcs"),
    _store_output("http", "web"),
]
