"""What every place that holds files promises; one row for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scoreline.adapters import azure, gcp, s3
from scoreline.adapters.files import Files
from scoreline.adapters.folder import FolderFiles
from scoreline.errors import RunStopped, SourceError
from scoreline.spool import open_spool
from tests.contract.matrix import servers, ticket

BODY = bytes(range(256)) * 20_000


@dataclass
class Place:
    """A place under test: `put` lays a file there, `files` reads it; missing: what is said of a file that is not."""

    files: Files
    put: Callable[[str, bytes], Any]
    missing: str


def _folder(folder: Path) -> Place:
    root = folder / "root"
    root.mkdir()

    def put(key: str, body: bytes) -> None:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    return Place(FolderFiles(str(root)), put, "cannot read {key}: No such file")


def _store(name: str, module: ModuleType, shown: str) -> Callable[[Path], Place]:
    def place(folder: Path) -> Place:
        server = servers["get"](name)
        files, _ = module.open_files(ticket(server.at("x"), {}, open_spool(folder / "spool")), server.keys)
        return Place(files, server.put, f"there is no {shown}")

    return place


PLACES = {
    "filesystem": _folder,
    "s3": _store("s3", s3, "s3://box/{key} "),
    "azure": _store("azurite", azure, r"http://127.0.0.1:\d+/devstoreaccount1/box/{key} "),
    "gcp": _store("gcs", gcp, "gs://box/{key} "),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = PLACES[request.param](tmp_path)
    yield made
    made.files.close()


def test_what_is_there(place: Place) -> None:
    place.put("one.bin", BODY)
    info = place.files.stat("one.bin")
    assert (info.key, info.size) == ("one.bin", len(BODY))
    assert place.files.stat("one.bin") == info
    place.put("one.bin", BODY[:-1] + b"!")
    assert place.files.stat("one.bin").version != info.version


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 0), (7, 8), (300_001, 4_200_007), (5_119_999, None)])
def test_ranges(place: Place, start: int, end: int | None) -> None:
    place.put("one.bin", BODY)
    info = place.files.stat("one.bin")
    assert b"".join(place.files.read(info, start, end)) == BODY[start:end]


def test_empty_file(place: Place) -> None:
    place.put("none.bin", b"")
    assert b"".join(place.files.read(place.files.stat("none.bin"))) == b""


def test_odd_names(place: Place) -> None:
    names = ["a b+c.csv", "größe ✓.csv", "d/e%20f.csv", "d/q?x=1#y.csv", "d-1.csv", "d/sub/g.csv"]
    for name in names:
        place.put(name, name.encode())
    assert [info.key for info in place.files.list("")] == sorted(names)
    assert [info.key for info in place.files.list("d/")] == sorted(name for name in names if name.startswith("d/"))
    assert list(place.files.list("nothing")) == []
    for info in place.files.list(""):
        assert b"".join(place.files.read(info)) == info.key.encode()
        assert place.files.stat(info.key) == info


def test_a_file_that_is_not_there(place: Place) -> None:
    with pytest.raises(SourceError, match=place.missing.format(key="no.bin")):
        place.files.stat("no.bin")


def test_a_file_that_changed(place: Place) -> None:
    place.put("one.bin", BODY)
    info = place.files.stat("one.bin")
    place.put("one.bin", BODY[:-1] + b"!")
    with pytest.raises(SourceError, match=r"one\.bin has changed since"):
        list(place.files.read(info, 10))


def test_closed_in_the_middle(place: Place) -> None:
    place.put("one.bin", BODY)
    blocks = place.files.read(place.files.stat("one.bin"))
    next(blocks)
    place.files.close()
    place.files.close()
    with pytest.raises(RunStopped):
        list(blocks)


def test_several_threads_at_once(place: Place) -> None:
    place.put("one.bin", BODY)
    info = place.files.stat("one.bin")
    wrong: list[int] = []

    def read(at: int) -> None:
        if b"".join(place.files.read(info, at, at + 100_000)) != BODY[at : at + 100_000]:
            wrong.append(at)

    threads = [threading.Thread(target=read, args=(77 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
