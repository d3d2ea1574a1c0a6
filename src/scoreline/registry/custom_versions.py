"""Versions of custom models: files that come with their paths, kept under the hash of their content."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, require_change, require_right, require_write, visible
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.models.drum_folder import DESCRIPTION
from scoreline.registry import artifacts
from scoreline.registry import tree as trees
from scoreline.registry.records import CustomFile, CustomVersion, Page, fetch_page, owner_from, prefixed, unprefixed
from scoreline.spool import Spool
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.custom import custom_model_versions as table
from scoreline.store.tables.custom import custom_models
from scoreline.store.tables.registry import packages
from scoreline.types import JsonObject

_BLOCK = 1 << 20
_MOST_FILES = 1000
_LONGEST_PATH = 1000
_LONGEST_PART = 255  # what file systems take

_FROZEN = sa.exists().where(packages.c.model_id == table.c.id).correlate(table).label("frozen")
_QUERY = sa.select(*prefixed(table, "v_"), _FROZEN, *prefixed(users, "u_")).join(users, users.c.id == table.c.owner_id)
_NEWEST = (table.c.major.desc(), table.c.minor.desc())


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What a version is made of.

    files: content by path, as they were received. previous: begin with the files of the latest version, without those
    whose ids are in `delete`. major: the first number grows, not the second.
    """

    files: Collection[tuple[str, Path]]
    major: bool = True
    previous: bool = False
    delete: Collection[str] = ()
    resources: JsonObject | None = None
    parameters: JsonObject | None = None


def create(
    store: Store, spool: Spool, caller: Caller, model_id: str, wanted: NewVersion, *, max_bytes: int, scratch: Path
) -> CustomVersion:
    """Make a version; nothing of its files is loaded or run.

    scratch: folder for temporary files with room for twice the model. Raises NotFound, Forbidden, also for code from
    a caller without the right `code`; InvalidRequest for no file, too many or too large ones, paths that are not safe
    or there twice; Conflict when another version was made meanwhile; SpoolFull.
    """
    require_write(caller)
    with store.read() as connection:
        name = _changeable(connection, caller, model_id)
        latest = latest_in(connection, caller, model_id)
    if wanted.previous and latest is None:
        raise InvalidRequest(f"Custom model {name!r} has no version to begin with: make the first with a POST.")
    base = latest if wanted.previous else None
    with artifacts.scratch_folder(scratch) as folder, trees.disk_errors():
        root = Path(folder) / "model"
        root.mkdir()
        kept = _previous(spool, base, wanted.delete, root)
        _place(wanted.files, root)
        if not any(path.is_file() for path in root.rglob("*")):
            raise InvalidRequest(
                f"The new version of custom model {name!r} has no files: give `files`, or a `folder_path` that is not "
                "empty.",
                "file",
            )
        tree = trees.scan(root)
        _check(tree, max_bytes)
        _check_right(caller, tree.root)
        artifacts.keep(spool, tree, Path(folder))
        values = {
            "sha256": tree.sha256,
            "size": tree.size,
            "files": [_file(tree, path, kept.get(path)) for path in tree.names],
            "resources": (base.resources if base else {}) | (wanted.resources or {}),
            "parameters": _merged(base, wanted.parameters or {}),
        }
        made = _insert(store, caller, model_id, latest, values, major=wanted.major)
        artifacts.keep(spool, tree, Path(folder))  # deleted since, if nothing named it any more
    return made


def get(store: Store, caller: Caller, model_id: str, version_id: str) -> CustomVersion:
    """Return a version of a model; raises NotFound."""
    with store.read() as connection:
        found = find_in(connection, caller, version_id)
    if found is None or found.model_id != model_id:
        raise NotFound(f"Custom model {model_id!r} has no version {version_id!r}.")
    return found


def find_in(connection: Connection, caller: Caller, version_id: str) -> CustomVersion | None:
    """Return a version by its id alone, or None."""
    row = connection.execute(_QUERY.where(visible(caller, table), table.c.id == version_id)).mappings().first()
    return None if row is None else _version(row)


def latest_in(connection: Connection, caller: Caller, model_id: str) -> CustomVersion | None:
    """Return a model's newest version, or None."""
    mine = _QUERY.where(visible(caller, table), table.c.custom_model_id == model_id)
    row = connection.execute(mine.order_by(*_NEWEST).limit(1)).mappings().first()
    return None if row is None else _version(row)


def list_versions(
    store: Store, caller: Caller, model_id: str, *, offset: int = 0, limit: int | None = 100
) -> Page[CustomVersion]:
    """Return a model's versions, the newest first."""
    query = _QUERY.where(visible(caller, table), table.c.custom_model_id == model_id)
    with store.read() as connection:
        rows, total = fetch_page(connection, query, _NEWEST, offset=offset, limit=limit)
    return Page(tuple(_version(row) for row in rows), total)


def describe(store: Store, caller: Caller, model_id: str, version_id: str, description: str | None) -> CustomVersion:
    """Change a version's description. Raises NotFound, Forbidden."""
    version = get(store, caller, model_id, version_id)
    require_change(caller, version.owner.id, f"version {version.label} of custom model {model_id}")
    if description is None:
        return version
    with store.begin() as connection:
        connection.execute(table.update().where(table.c.id == version_id).values(description=description))
    return replace(version, description=description)


def contents(spool: Spool, version: CustomVersion) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield path and content of each of a version's files, to be read before the next one is asked for.

    Raises NotFound for none; SpoolError when they are damaged.
    """
    if version.sha256 is None:
        raise NotFound(f"Version {version.label} of custom model {version.model_id!r} has no files.")
    own = {file.path for file in version.files}
    packed = spool.open_object(artifacts.object_name(version.kept_in or version.sha256))
    with packed, tarfile.open(fileobj=packed, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if member.name == DESCRIPTION and version.own_description is not None:
                content = io.BytesIO(version.own_description.encode())
            if content is not None and member.name in own:
                yield member.name, content


def unpack(spool: Spool, version: CustomVersion, root: Path) -> None:
    """Write a version's files to a folder. Raises as `contents`."""
    for path, content in contents(spool, version):
        target = root / checked_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(content, file, _BLOCK)


def keep_in(store: Store, spool: Spool, version: CustomVersion, artifact: str, own_description: str | None) -> None:
    """Take the files of a version from the artefact that was made of them from now on; no second copy is kept.

    own_description: what the version has in place of the artefact's description. Raises SpoolError.
    """
    if version.sha256 in (None, artifact) or version.kept_in == artifact:
        return
    values = {"kept_in": artifact, "own_description": own_description}
    with store.begin() as connection:
        connection.execute(table.update().where(table.c.id == version.id).values(values))
    # Apart from it, so that no version names what is deleted. Who stores the same files now looks again afterwards.
    with store.exclusive("custom models") as connection:
        store.lock(connection, "artifacts")
        named = sa.and_(table.c.sha256 == version.sha256, table.c.kept_in.is_(None))
        if not connection.scalar(sa.select(sa.or_(sa.exists().where(named), artifacts.known(version.sha256)))):
            spool.delete_object(artifacts.object_name(str(version.sha256)))


def checked_path(path: str) -> str:
    """Return where a file belongs in its folder, with `/`. Raises InvalidRequest for what leads elsewhere.

    Backslashes are taken as what they are for clients on Windows.
    """
    given = path.replace("\\", "/")
    parts = PurePosixPath(given).parts
    safe = (
        given.isprintable()
        and 0 < len(given) <= _LONGEST_PATH
        and given == "/".join(parts)
        and not any(part in (".", "..") or len(part.encode("utf-8", "replace")) > _LONGEST_PART for part in parts)
        and not given.startswith("/")
        and ":" not in parts[0]
    )
    if not safe:
        raise InvalidRequest(
            f"The file path {path[:200]!r} is not one in the model's own folder: give a relative path such as "
            "'custom.py' or 'helpers/text.py'.",
            "filePath",
        )
    return given


def _previous(spool: Spool, base: CustomVersion | None, delete: Collection[str], root: Path) -> dict[str, str]:
    """Write the files to begin with; return their ids by path."""
    kept = {} if base is None else {file.path: file.id for file in base.files}
    unknown = sorted(set(delete) - set(kept.values()))
    if unknown:
        raise InvalidRequest(f"`filesToDelete` names {unknown[0][:100]!r}, which is no file of the latest version.")
    if base is not None and base.sha256 is not None:
        unpack(spool, base, root)
    for path in [path for path, file_id in kept.items() if file_id in delete]:
        (root / path).unlink()
        del kept[path]
    return kept


def _place(files: Collection[tuple[str, Path]], root: Path) -> None:
    """Move files to their paths; those of the previous version make way."""
    seen = set[str]()
    for given, content in files:
        path = checked_path(given)
        if path in seen:
            raise InvalidRequest(f"The file path {path!r} is there twice: send each file once.", "filePath")
        seen.add(path)
        target = root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            content.replace(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as exc:
            raise InvalidRequest(f"The path {path!r} is a file and a folder: give it one meaning.", "filePath") from exc


def _check(tree: trees.Tree, max_bytes: int) -> None:
    if len(tree.names) > _MOST_FILES:
        raise InvalidRequest(
            f"The version has {len(tree.names)} files, and at most {_MOST_FILES} are taken: pack the model only.",
            "file",
        )
    if tree.size > max_bytes:
        raise InvalidRequest(
            f"The version's files have {tree.size} bytes, more than the {max_bytes} that SCORELINE_MAX_MODEL_BYTES "
            "allows.",
            "file",
        )


def _check_right(caller: Caller, root: Path) -> None:
    """Refuse code at once from whom it will be refused later. Files that are no whole model yet may wait."""
    try:
        runs_code = artifacts.detect(root).runs_code
    except InvalidRequest:
        return
    if runs_code:
        require_right(caller, "code")


def _file(tree: trees.Tree, path: str, known: str | None) -> JsonObject:
    return {"id": known or new_id(), "path": path, "size": (tree.root / path).stat().st_size}


def _merged(base: CustomVersion | None, given: Mapping[str, Any]) -> JsonObject:
    """Return parameters over those of the version before; None takes one away."""
    both = {**(base.parameters if base else {}), **given}
    return {name: value for name, value in both.items() if value is not None}


def _insert(
    store: Store,
    caller: Caller,
    model_id: str,
    latest: CustomVersion | None,
    values: JsonObject,
    *,
    major: bool,
) -> CustomVersion:
    with store.exclusive("custom models") as connection:
        name = _changeable(connection, caller, model_id)
        newest = latest_in(connection, caller, model_id)
        if (newest and newest.id) != (latest and latest.id):
            raise Conflict(f"Another version of custom model {name!r} was made meanwhile: do it again.")
        version_id, moment = new_id(), now()
        numbers = (1, 0) if newest is None else (newest.major, newest.minor + 1)
        if newest is not None and major:
            numbers = (newest.major + 1, 0)
        connection.execute(
            table.insert().values(
                id=version_id,
                owner_id=caller.user_id,
                org_id=caller.org_id,
                custom_model_id=model_id,
                major=numbers[0],
                minor=numbers[1],
                description="",
                created_at=moment,
                **values,
            )
        )
        connection.execute(custom_models.update().where(custom_models.c.id == model_id).values(updated_at=moment))
        made = find_in(connection, caller, version_id)
    assert made is not None
    return made


def _changeable(connection: Connection, caller: Caller, model_id: str) -> str:
    """Return a model's name if the caller may change it. Raises NotFound, Forbidden."""
    mine = sa.and_(visible(caller, custom_models), custom_models.c.id == model_id)
    row = connection.execute(sa.select(custom_models.c.name, custom_models.c.owner_id).where(mine)).first()
    if row is None:
        raise NotFound(f"There is no custom model {model_id!r}.")
    require_change(caller, row.owner_id, f"custom model {row.name!r}")
    return str(row.name)


def _version(row: RowMapping) -> CustomVersion:
    values = unprefixed(row, "v_")
    return CustomVersion(
        id=values["id"],
        model_id=values["custom_model_id"],
        major=values["major"],
        minor=values["minor"],
        description=values["description"],
        sha256=values["sha256"],
        size=values["size"],
        files=tuple(CustomFile(item["id"], item["path"], item["size"]) for item in values["files"]),
        resources=values["resources"],
        parameters=values["parameters"],
        created_at=values["created_at"],
        owner=owner_from(unprefixed(row, "u_")),
        frozen=bool(row["frozen"]),
        kept_in=values["kept_in"],
        own_description=values["own_description"],
    )
