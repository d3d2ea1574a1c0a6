"""`scoreline deploy`: a model's files become an immutable package, and the package a deployment."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Annotated

import typer

from scoreline.cli import model_options, options
from scoreline.cli.client import Api
from scoreline.cli.output import is_terminal, show_json, show_note
from scoreline.errors import NotFound, ScorelineError
from scoreline.types import JsonObject

_BLOCK_BYTES = 1 << 20
_SERVER_PANEL = "A server that has the model"


def deploy(
    name: Annotated[str, typer.Option("--name", help="Name of the deployment.")],
    path: Annotated[
        Path | None, typer.Argument(help="The model: a file, or a folder of MLflow or DRUM.", show_default=False)
    ] = None,
    target: model_options.Target = None,
    target_type: model_options.TargetKind = None,
    positive_class: model_options.PositiveClass = None,
    class_labels: model_options.ClassLabels = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Prediction threshold of a binary target, or of all labels. [default: 0.5]",
            rich_help_panel="About the model",
        ),
    ] = None,
    label_threshold: model_options.LabelThresholds = None,
    feature_type: model_options.FeatureTypes = None,
    extra_output: model_options.ExtraOutputs = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Rows that are usual for a regression model: predictions far from theirs can be marked as outliers.",
            rich_help_panel="About the model",
        ),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What the deployment is for.")] = None,
    trust: model_options.Trust = False,
    server: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="KIND URL",
            help="Instead of a model: a server that has it. KIND is drum, mlflow, v2 or datarobot.",
            show_default=False,
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    server_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What that kind of server needs to know, for instance model=churn. May be given again.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Key that the server wants; it is sealed and never shown again.", rich_help_panel=_SERVER_PANEL
        ),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Variable of the environment that has the key: other users of this machine cannot see it.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    datarobot_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="The same for the second key, `datarobot-key`, that managed DataRobot installations want.",
            rich_help_panel=_SERVER_PANEL,
        ),
    ] = None,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Register a model, or a server that has one, and deploy it; prints the deployment's id."""
    if (path is None) == (server is None):
        raise typer.BadParameter("Give the model's file or folder, or --server KIND URL.", param_hint="PATH")
    for option, given in (("--server-option", server_option), ("--key", key), ("--key-env", key_env)):
        if given and server is None:
            raise typer.BadParameter("It goes with --server.", param_hint=option)
    if baseline is not None and not baseline.is_file():
        raise typer.BadParameter(f"There is no file {baseline}.", param_hint="--baseline")
    remote = None
    if server is not None:
        remote = _remote(server, server_option or [], _key(key, key_env), _key(None, datarobot_key_env))
    words = model_options.ModelWords(
        target, target_type, positive_class, class_labels, threshold, feature_type, label_threshold, extra_output
    )
    words.document(name)  # refuses what is wrong before anything is sent
    with Api(url, token) as api:
        package = _package(api, words, name, path, remote, trusted=trust)
        if baseline is not None:
            from scoreline.cli import baseline as measured  # noqa: PLC0415 -- seldom asked for

            package = measured.give(api, package, baseline, quiet=json)
        body = {"modelPackageId": package["id"], "label": name, "description": description}
        made = api.post("deployments/fromModelPackage/", {k: v for k, v in body.items() if v is not None})
        if json:
            show_json(_summary(api.get(f"deployments/{made['id']}/"), package))
            return
    typer.echo(made["id"])
    if is_terminal():
        show_note(f"Score with it: scoreline score --deployment {made['id']} INPUT.csv -o OUTPUT.csv")


def _package(
    api: Api,
    words: model_options.ModelWords,
    name: str,
    path: Path | None,
    remote: JsonObject | None,
    *,
    trusted: bool,
) -> JsonObject:
    if remote is not None:
        return api.post("modelPackages/fromJSON/", words.document(name, server=remote))
    assert path is not None
    description = model_options.described(path, words.document(name))
    artifact = upload(api, path, description, trusted=trusted)
    if description is not None:  # the columns are in the folder now
        words = replace(words, feature_types=None, extra_outputs=None)
    return api.post("modelPackages/fromJSON/", words.document(name, f"artifact:{artifact['sha256']}"))


def _remote(server: tuple[str, str], settings: list[str], key: str | None, datarobot_key: str | None) -> JsonObject:
    options_ = dict(setting.partition("=")[::2] for setting in settings)
    remote: JsonObject = {"kind": server[0], "url": server[1], "options": options_}
    keys = {"key": key, "datarobotKey": datarobot_key}
    return remote | {name: value for name, value in keys.items() if value}


def _key(given: str | None, variable: str | None) -> str | None:
    if variable is None:
        return given
    if given is not None:
        raise typer.BadParameter("Give --key or --key-env, not both.", param_hint="--key")
    found = os.environ.get(variable)
    if not found:
        raise NotFound(f"The environment has no variable {variable} with a key: set it first.")
    return found


def upload(api: Api, path: Path, description: bytes | None, *, trusted: bool) -> JsonObject:
    """Upload a model's file or folder; return the artefact's document. Raises NotFound, what the server refuses.

    description: what is said of a custom model.
    """
    with _as_file(path, description) as (file, filename):
        size = file.seek(0, 2)
        file.seek(0)
        return api.upload(
            "POST",
            "modelArtifacts/",
            _blocks(file),
            content_type="application/octet-stream",
            length=size,
            filename=filename,
            trusted="true" if trusted else "false",
        )


@contextmanager
def _as_file(path: Path, description: bytes | None) -> Iterator[tuple[IO[bytes], str]]:
    """Give the model as one file: itself, or a tar of its folder. Raises NotFound, ScorelineError.

    description: what is said of a custom model, in place of the folder's own.
    """
    if path.is_file():
        with path.open("rb") as file:
            yield file, path.name
        return
    from scoreline.models.drum_folder import DESCRIPTION  # noqa: PLC0415 -- start-up time of the other commands

    if not path.is_dir():
        raise NotFound(f"There is no model {path}: give a file, or a folder of MLflow or DRUM.")
    with tempfile.TemporaryFile() as file:
        try:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for member in sorted(path.rglob("*")):
                    name = member.relative_to(path)
                    replaced = description is not None and str(name) == DESCRIPTION
                    if member.is_file() and "__pycache__" not in member.parts and not replaced:
                        archive.add(member, arcname=name, recursive=False)
                if description is not None:
                    entry = tarfile.TarInfo(DESCRIPTION)
                    entry.size = len(description)
                    archive.addfile(entry, io.BytesIO(description))
        except OSError as error:
            raise ScorelineError(f"The model folder {path} cannot be read ({error.strerror or error}).") from error
        yield file, f"{path.resolve().name}.tar"


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _summary(deployment: JsonObject, package: JsonObject) -> JsonObject:
    return {
        "id": deployment["id"],
        "label": deployment.get("label"),
        "modelPackageId": package["id"],
        "artifact": package.get("artifact"),
        "format": package.get("format"),
        "server": package.get("server"),
        "target": package.get("target"),
        "baseline": package.get("baseline"),
    }
