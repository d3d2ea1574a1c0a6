"""Spools in all kinds of places: a test that takes `spool` runs for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scoreline.spool import Spool, open_spool
from tests.support import spools


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    with spools.running(tmp_path_factory.mktemp) as get:
        yield get


@pytest.fixture(
    params=[
        spools.FOLDER,
        "s3",
        pytest.param("azurite", marks=pytest.mark.slow),
        pytest.param("gcs", marks=pytest.mark.slow),
    ]
)
def spool_place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store_server: Callable[[str], Any],
) -> str:
    """Where the test's spool is: a folder, or a bucket that this process may use."""
    if request.param == spools.FOLDER:
        return str(tmp_path / "spool")
    server = store_server(request.param)
    for name, value in spools.environment(request.param, server).items():
        monkeypatch.setenv(name, value)
    return spools.address(request.param, server)


@pytest.fixture
def spool(spool_place: str) -> Spool:
    return open_spool(spool_place)


@pytest.fixture
def folder_spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool")
