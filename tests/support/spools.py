"""Places for a spool: a folder, and buckets of the object stores that `stores` starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support import stores

FOLDER = "folder"
_numbers = itertools.count(1)


@contextmanager
def running(folder: Callable[[str], Path]) -> Iterator[Callable[[str], Any]]:
    """Give what returns a store by its name, started when it is asked for first."""
    made: dict[str, Any] = {}
    with ExitStack() as stack:

        def get(name: str) -> Any:
            if name not in made:
                made[name] = stack.enter_context(getattr(stores, name)(folder(name)))
            return made[name]

        yield get


def environment(name: str, server: Any, url: str | None = None) -> dict[str, str]:
    """Return the variables with which a process reaches a store, at another address than its own if one is given."""
    url = url or server.url
    if name == "s3":
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": stores.KEY,
            "AWS_SECRET_ACCESS_KEY": stores.SECRET,
        }
    if name == "azurite":
        return {
            "AZURE_STORAGE_ENDPOINT": url,
            "AZURE_STORAGE_ACCOUNT_NAME": stores.AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": stores.AZURE_KEY,
        }
    return {"STORAGE_EMULATOR_HOST": url}


def address(name: str, server: Any) -> str:
    """Return the URL of a spool that nobody has used."""
    scheme = {"s3": "s3", "azurite": "az", "gcs": "gs"}[name]
    return f"{scheme}://{server.bucket}/spools/{next(_numbers)}"
