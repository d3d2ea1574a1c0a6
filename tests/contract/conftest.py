"""Servers of object stores and of files, started when a test asks for the first time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.contract.matrix import servers
from tests.support import stores
from tests.support.web import web


@pytest.fixture(scope="session", autouse=True)
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    made: dict[str, Any] = {}
    with ExitStack() as stack:

        def get(name: str) -> Any:
            if name not in made:
                kind = web if name == "web" else getattr(stores, name)
                made[name] = stack.enter_context(kind(tmp_path_factory.mktemp(name)))
            return made[name]

        servers.update(get=get, running=made.get)
        yield
        servers.clear()


@pytest.fixture(autouse=True)
def _empty(_servers: None) -> Iterator[None]:
    """Leave nothing in the stores for the next test."""
    yield
    for name in ("s3", "azurite", "gcs", "web"):
        server = servers["running"](name)
        if server is not None:
            server.empty()
