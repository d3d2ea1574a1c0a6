"""Model artefacts: uploaded files, stored in the spool under the hash of their content."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline import models
from scoreline.access import Caller, require_right, require_write, visible
from scoreline.errors import InvalidRequest, ModelBroken, NotFound
from scoreline.registry import tree as trees
from scoreline.registry.records import Artifact, info_from_json, info_to_json, owner_from, prefixed, unprefixed
from scoreline.registry.tree import Tree
from scoreline.spool import Spool
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import artifacts
from scoreline.types import ModelInfo

_QUERY = sa.select(*prefixed(artifacts, "a_"), *prefixed(users, "u_")).join(users, users.c.id == artifacts.c.owner_id)


def object_name(sha256: str) -> str:
    """Return the name of an artefact's tar in the spool."""
    return f"artifacts/{sha256}.tar"


def register(
    store: Store,
    spool: Spool,
    caller: Caller,
    file: IO[bytes],
    filename: str,
    *,
    trusted: bool,
    max_bytes: int,
    scratch: Path | None = None,
) -> Artifact:
    """Store an uploaded model: one file, or a tar of a folder. The same content is stored once; again is harmless.

    trusted: it may run code when it is loaded; counts for callers with the right `code`, and for content that is
    stored already, too. scratch: folder for temporary files with room
    for twice the model. Nothing of the model is loaded here. Raises Forbidden; InvalidRequest for what is not a model
    or needs trust or is too large; SpoolFull, SpoolError.
    """
    require_write(caller)
    with scratch_folder(scratch) as folder:
        tree = trees.receive(file, filename, Path(folder), max_bytes)
        return register_tree(store, spool, caller, tree, filename, trusted=trusted, scratch=Path(folder))


def register_tree(
    store: Store, spool: Spool, caller: Caller, tree: Tree, filename: str, *, trusted: bool, scratch: Path
) -> Artifact:
    """Do what `register` does with a folder of files at hand."""
    require_write(caller)
    # Whether a file of a safe format needs trust after all is known when it is loaded: the caller's word is kept.
    trusted_here = trusted and "code" in caller.rights
    detected = detect(tree.root)
    if detected.runs_code:
        _check_trust(caller, filename, detected.format, trusted)
    keep(spool, tree, scratch)
    values = {
        "id": new_id(),
        "owner_id": caller.user_id,
        "org_id": caller.org_id,
        "sha256": tree.sha256,
        "filename": Path(filename).name,
        "size": tree.size,
        "format": detected.format,
        "runs_code": detected.runs_code,
        "trusted": trusted_here,
        "created_at": now(),
    }
    with store.exclusive("artifacts") as connection:
        earlier = _find(connection, caller, tree.sha256)
        if earlier is None:
            connection.execute(artifacts.insert().values(values))
        elif trusted_here and not earlier.trusted:
            connection.execute(artifacts.update().where(artifacts.c.id == earlier.id).values(trusted=True))
        found = _get(connection, caller, tree.sha256)
    keep(spool, tree, scratch)  # deleted since, if nothing named it any more
    return found


def known(sha256: str | None) -> sa.ColumnElement[bool]:
    """Return the clause that says whether there is an artefact of this content, whosever."""
    return sa.exists().where(artifacts.c.sha256 == sha256)


def keep(spool: Spool, tree: Tree, scratch: Path) -> None:
    """Store the files of a tree under its hash, unless they are there. Raises SpoolFull."""
    name = object_name(tree.sha256)
    if spool.exists(name):
        return
    packed = scratch / "packed.tar"
    trees.pack(tree, packed)
    with packed.open("rb") as body:
        spool.put_object(name, body)


def get(store: Store, caller: Caller, sha256: str) -> Artifact:
    """Return an artefact by its hash; raises NotFound."""
    with store.read() as connection:
        return _get(connection, caller, sha256)


def open_tar(store: Store, spool: Spool, caller: Caller, sha256: str) -> IO[bytes]:
    """Open an artefact's bytes: an uncompressed tar. Raises NotFound; SpoolError when they are damaged or gone."""
    get(store, caller, sha256)
    return spool.open_object(object_name(sha256))


def set_info(store: Store, artifact: Artifact, info: ModelInfo) -> None:
    """Keep what a prediction server has read from the artefact."""
    with store.begin() as connection:
        connection.execute(artifacts.update().where(artifacts.c.id == artifact.id).values(info=info_to_json(info)))


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[str]:
    """Give a folder for temporary files. Raises SpoolFull, SpoolError."""
    with ExitStack() as stack:
        with trees.disk_errors():
            if parent is not None:
                parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="model-", dir=parent))
        yield folder


def detect(root: Path) -> models.Detected:
    """Tell what a folder of files is; raises InvalidRequest for what is no model."""
    try:
        return models.detect(root)
    except ModelBroken as exc:
        raise InvalidRequest(exc.message, "file") from exc


def _check_trust(caller: Caller, filename: str, kind: str, trusted: bool) -> None:
    require_right(caller, "code")
    if not trusted:
        raise InvalidRequest(
            f"The model {Path(filename).name!r} ({kind}) runs code when it is loaded: if you trust where it "
            "comes from, send it again with `--trust` (`trusted=true`).",
            "trusted",
        )


def _find(connection: Connection, caller: Caller, sha256: str) -> Artifact | None:
    # A prediction server sees the artefacts of all organisations; then any row of this content will do.
    query = _QUERY.where(visible(caller, artifacts), artifacts.c.sha256 == sha256).order_by(artifacts.c.id).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else _artifact(row)


def _get(connection: Connection, caller: Caller, sha256: str) -> Artifact:
    found = _find(connection, caller, sha256)
    if found is None:
        raise NotFound(f"There is no model artefact {sha256!r}: upload it first.")
    return found


def _artifact(row: RowMapping) -> Artifact:
    values: dict[str, Any] = unprefixed(row, "a_")
    info = values["info"]
    return Artifact(
        id=values["id"],
        sha256=values["sha256"],
        filename=values["filename"],
        size=values["size"],
        format=values["format"],
        runs_code=values["runs_code"],
        trusted=values["trusted"],
        info=None if info is None else info_from_json(info),
        created_at=values["created_at"],
        owner=owner_from(unprefixed(row, "u_")),
    )
