"""`scoreline datasets`: files that are stored once, for jobs that score them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli import options
from scoreline.cli.client import Api
from scoreline.cli.output import moment, show_json, show_note, show_table
from scoreline.errors import InvalidRequest, NotFound, SourceError
from scoreline.types import JsonObject

app = typer.Typer(help="Store files as datasets, for jobs that score them.", no_args_is_help=True)

_PATH = "datasets/"
_LOOK_SECONDS = 1.0
_PIECE_BYTES = 1 << 20
Which = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name or id.", show_default=False)]


@app.command("add")
def add_dataset(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV or Parquet: a file, or a URL of one.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="Its name; by default that of the file.")] = None,
    to: Annotated[str | None, typer.Option(metavar="DATASET", help="Make a new version of this dataset.")] = None,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Store a file as a dataset, and print its id."""
    with Api(url, token) as api:
        where = _PATH if to is None else f"{_PATH}{find(api, to)['datasetId']}/versions/"
        if source.startswith(("http://", "https://")):
            made = api.post(f"{where}fromURL/", {"url": source})
        else:
            made = _send(api, f"{where}fromFile/", Path(source))
        found = _ready(api, made)
        if name is not None:
            api.patch(f"{_PATH}{found['datasetId']}/", {"name": name})
    if json:
        show_json(found)
        return
    typer.echo(found["datasetId"])
    show_note(f"Stored: {found['rowCount']} rows, {found['featureCount']} columns.")


@app.command("list")
def list_datasets(
    json: options.Json = False, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None
) -> None:
    """List datasets, the newest first."""
    with Api(url, token) as api:
        found = list(api.pages(_PATH))
    if json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "STATE", "ROWS", "BYTES", "CREATED", "BY"),
        (
            (
                each["datasetId"],
                each["name"],
                each["processingState"],
                each.get("rowCount"),
                each.get("datasetSize"),
                moment(each["creationDate"]),
                each["createdBy"],
            )
            for each in found
        ),
    )


@app.command("show")
def show_dataset(
    name: Which, json: options.Json = False, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None
) -> None:
    """Show a dataset's latest version and its columns."""
    with Api(url, token) as api:
        found = api.get(f"{_PATH}{find(api, name)['datasetId']}/")
        made = found["processingState"] == "COMPLETED"
        path = f"{_PATH}{found['datasetId']}/allFeaturesDetails/"
        columns = list(api.pages(path, orderBy="id")) if made else []
    if json:
        show_json(found | {"features": columns})
        return
    for label, value in (
        ("id", found["datasetId"]),
        ("name", found["name"]),
        ("version", f"{found['versionNumber']} ({found['versionId']})"),
        ("state", found["processingState"]),
        ("error", found["error"]),
        ("from", found["uri"]),
        ("rows", found.get("rowCount")),
        ("bytes", found.get("datasetSize")),
        ("format", found.get("format")),
        ("packed by", found.get("compression")),
        ("created", moment(found["creationDate"])),
    ):
        if value not in (None, ""):
            typer.echo(f"{label + ':':<13}{value}")
    if columns:
        typer.echo()
        show_table(
            ("COLUMN", "TYPE", "MISSING", "DIFFERENT", "MIN", "MAX"),
            (
                (
                    each["name"],
                    each["featureType"],
                    each["naCount"],
                    each.get("uniqueCount"),
                    each.get("min"),
                    each.get("max"),
                )
                for each in columns
            ),
        )


@app.command("remove")
def remove_dataset(name: Which, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Delete a dataset with all its versions; not while a job that is not over reads it."""
    with Api(url, token) as api:
        found = find(api, name)
        api.delete(f"{_PATH}{found['datasetId']}/")
    show_note(f"Dataset {found['name']!r} is deleted; `scoreline datasets restore {found['datasetId']}` undoes it.")


@app.command("restore")
def restore_dataset(
    dataset_id: Annotated[str, typer.Argument(metavar="ID", help="The dataset's id.", show_default=False)],
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Bring a deleted dataset back, as long as its data is kept."""
    with Api(url, token) as api:
        api.patch(f"{_PATH}{_checked(dataset_id)}/deleted/", {})
    show_note("The dataset is back.")


def find(api: Api, name_or_id: str) -> JsonObject:
    """Return a dataset by its name, the newest one of several, or by its id. Raises NotFound."""
    for each in api.pages(_PATH):
        if name_or_id in (each["name"], each["datasetId"]):
            return each
    raise NotFound(f"There is no dataset {name_or_id!r}: see `scoreline datasets list`.")


def _checked(dataset_id: str) -> str:
    if not dataset_id.isalnum():
        raise NotFound(f"There is no dataset {dataset_id!r}.")
    return dataset_id


def _send(api: Api, path: str, file: Path) -> JsonObject:
    """Send a file as a form. Raises InvalidRequest when it cannot be read."""
    boundary = secrets.token_hex(16)
    name = "".join("_" if sign in '"\r\n%' else sign for sign in file.name)
    disposition = f'form-data; name="file"; filename="{name}"'
    head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        while block := opened.read(_PIECE_BYTES):
            yield block
        yield tail

    try:
        with file.open("rb") as opened:
            length = len(head) + file.stat().st_size + len(tail)
            kind = f"multipart/form-data; boundary={boundary}"
            return api.upload("POST", path, body(), content_type=kind, length=length)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror or error}.") from error


def _ready(api: Api, made: JsonObject) -> JsonObject:
    """Wait for a version; return it. Raises SourceError when it cannot be made."""
    path = f"{_PATH}{made['catalogId']}/versions/{made['catalogVersionId']}/"
    while (found := api.get(path))["processingState"] == "RUNNING":
        time.sleep(_LOOK_SECONDS)
    if found["processingState"] == "ERROR":
        raise SourceError(found["error"])
    return found
