"""`scoreline deployments`: what is deployed, and changing it while jobs and requests go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli import model_options, options
from scoreline.cli.client import Api
from scoreline.cli.output import moment, show_json, show_note, show_table
from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

app = typer.Typer(help="See and change deployments of a server.", no_args_is_help=True)

_REASONS = ("ACCURACY", "DATA_DRIFT", "ERRORS", "SCHEDULED_REFRESH", "SCORING_SPEED", "OTHER")
_SETTINGS = "Settings"

Wanted = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id or name.", show_default=False)]


@app.command("list")
def list_deployments(
    search: Annotated[str | None, typer.Option(help="Only those with this in their name or description.")] = None,
    status: Annotated[str | None, typer.Option(metavar="active|inactive", help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """List deployments by name."""
    with Api(url, token) as api:
        found = api.get("deployments/", search=search, status=status, limit=limit)["data"]
    if json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "STATUS", "TARGET", "TYPE", "MODEL SINCE", "BY"),
        (
            (
                each["id"],
                each["label"],
                each["status"],
                each["model"]["targetName"],
                each["model"]["targetType"],
                moment(each["model"].get("deployedAt")),
                (each.get("creator") or {}).get("email"),
            )
            for each in found
        ),
    )


@app.command()
def show(
    deployment: Wanted,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Show one deployment with its model and settings."""
    with Api(url, token) as api:
        deployment_id = _id(api, deployment)
        found = api.get(f"deployments/{deployment_id}/")
        settings = api.get(f"deployments/{deployment_id}/settings/")
    if json:
        show_json(found | {"settings": settings})
        return
    for name, value in _facts(found, settings):
        if value not in (None, ""):
            typer.echo(f"{name + ':':<13}{value}")


@app.command()
def update(
    deployment: Wanted,
    label: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for; an empty text removes it.")] = None,
    importance: Annotated[str | None, typer.Option(help="CRITICAL, HIGH, MODERATE or LOW.")] = None,
    association_id: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that identifies a row; empty for none.", rich_help_panel=_SETTINGS),
    ] = None,
    require_association_id: Annotated[
        bool | None, typer.Option(help="Refuse data without that column.", rich_help_panel=_SETTINGS)
    ] = None,
    warn_above: Annotated[
        float | None, typer.Option(help="Mark predictions above this as outliers.", rich_help_panel=_SETTINGS)
    ] = None,
    warn_below: Annotated[
        float | None, typer.Option(help="Mark predictions below this as outliers.", rich_help_panel=_SETTINGS)
    ] = None,
    warnings: Annotated[bool | None, typer.Option(help="Mark outliers, or not.", rich_help_panel=_SETTINGS)] = None,
    approval: Annotated[
        bool | None, typer.Option(help="A replaced model waits for an admin's approval.", rich_help_panel=_SETTINGS)
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the deployment, as an admin.", rich_help_panel=_SETTINGS)
    ] = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Change a deployment's name, description, importance or settings."""
    about = _given(label=label, description=description, importance=importance)
    settings = _given(
        associationId=_given(
            columnNames=None if association_id is None else [association_id] if association_id else [],
            requiredInPredictionRequests=False if association_id == "" else require_association_id,
        ),
        predictionWarning=_given(enabled=warnings, customBoundaries=_given(upper=warn_above, lower=warn_below)),
        approval=_given(enabled=approval, status="APPROVED" if approve else None),
    )
    if not about and not settings:
        raise typer.BadParameter("Say what to change.", param_hint="--name, --description, ...")
    with Api(url, token) as api:
        deployment_id = _id(api, deployment)
        if settings:  # the part that may be refused comes first
            _complete_boundaries(api, deployment_id, settings)
            api.patch(f"deployments/{deployment_id}/settings/", settings)
        if about:
            api.patch(f"deployments/{deployment_id}/", about)
    show_note(f"Deployment {deployment} is changed.")


@app.command()
def replace(
    deployment: Wanted,
    path: Annotated[
        Path | None, typer.Argument(help="The new model: a file, or an MLflow folder.", show_default=False)
    ] = None,
    package: Annotated[
        str | None, typer.Option(metavar="ID", help="Instead of a file: a model package that is registered already.")
    ] = None,
    reason: Annotated[str, typer.Option(help=f"Why: {', '.join(_REASONS)}.")] = "OTHER",
    trust: Annotated[bool, typer.Option("--trust", help="The file may run code when it is loaded.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it fits; replace nothing.")] = False,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Give a deployment another model; jobs that exist keep the one they have.

    A file becomes the next version of the deployment's registered model, with the same target, classes and threshold.
    """
    if (path is None) == (package is None):
        raise typer.BadParameter("Give the model's file or folder, or --package ID.", param_hint="PATH")
    with Api(url, token) as api:
        deployment_id = _id(api, deployment)
        new = package if path is None else _register(api, deployment_id, path, trusted=trust)
        report = api.post(f"deployments/{deployment_id}/model/validation/", {"modelPackageId": new})
        if not json:
            _show_report(report)
        if not check:
            if report["status"] == "failing":
                raise InvalidRequest(report["message"])
            body = {"modelPackageId": new, "reason": reason.upper()}
            api.patch(f"deployments/{deployment_id}/model/", body)
    if json:
        show_json(report | {"modelPackageId": new, "replaced": not check})
    elif check:
        show_note(f"{report['message']} Replace it with --package {new}.")
    else:
        show_note(f"Deployment {deployment} has model package {new} now.")


@app.command()
def history(
    deployment: Wanted,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """List the models that a deployment has had, the present one first; `pinnedModelId` of a job takes any of them."""
    with Api(url, token) as api:
        found = list(api.pages(f"deployments/{_id(api, deployment)}/modelHistory/"))
    if json:
        show_json(found)
        return
    show_table(
        ("NUMBER", "MODEL PACKAGE", "NAME", "VERSION", "SINCE", "UNTIL", "BY", "REASON"),
        (
            (
                each["number"],
                each["modelPackage"]["id"],
                each["modelPackage"]["name"],
                each["modelPackage"]["version"],
                moment(each["deployedAt"]),
                moment(each["replacedAt"]),
                each["deployedBy"]["email"],
                each["reason"],
            )
            for each in found
        ),
    )


@app.command()
def activate(deployment: Wanted, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Let a deployment take jobs and requests again."""
    _set_status(deployment, "active", url, token)


@app.command()
def deactivate(deployment: Wanted, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Have a deployment refuse new jobs and requests; jobs that exist go on."""
    _set_status(deployment, "inactive", url, token)


@app.command()
def delete(deployment: Wanted, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Delete a deployment on which no job runs; its jobs and their results stay."""
    with Api(url, token) as api:
        api.delete(f"deployments/{_id(api, deployment)}/")
    show_note(f"Deployment {deployment} is deleted.")


def _set_status(deployment: str, status: str, url: str, token: str | None) -> None:
    with Api(url, token) as api:
        api.patch(f"deployments/{_id(api, deployment)}/status/", {"status": status})
    show_note(f"Deployment {deployment} is {status}.")


def _id(api: Api, id_or_name: str) -> str:
    from scoreline.cli.remote import find_deployment  # noqa: PLC0415 -- start-up time

    return find_deployment(api, id_or_name)


def _given(**values: object) -> JsonObject:
    """Return what was said: no None, no empty section."""
    return {name: value for name, value in values.items() if value is not None and value != {}}


def _complete_boundaries(api: Api, deployment_id: str, settings: JsonObject) -> None:
    """Keep the boundary of the other side, and turn warnings on unless they were said to be off."""
    warning = settings.get("predictionWarning", {})
    if "customBoundaries" in warning:
        known = api.get(f"deployments/{deployment_id}/settings/")["predictionWarning"]["customBoundaries"] or {}
        warning["customBoundaries"] = known | warning["customBoundaries"]
        warning.setdefault("enabled", True)


def _register(api: Api, deployment_id: str, path: Path, *, trusted: bool) -> str:
    """Upload a model as the next version of the deployment's registered model; return the package's id."""
    from scoreline.cli.deploy import upload  # noqa: PLC0415 -- start-up time

    current = api.get(f"modelPackages/{api.get(f'deployments/{deployment_id}/')['modelPackage']['id']}/")
    target = {name: current["target"].get(name) for name in ("name", "type", "classNames", "predictionThreshold")}
    body = _given(
        name=current["name"],
        registeredModelId=current["registeredModelId"],
        target=_given(**target),
        positiveClass=current.get("positiveClass"),
    )
    description = model_options.described(path, {**body, "features": current.get("features")})
    artifact = upload(api, path, description, trusted=trusted)
    body["modelDescription"] = {"location": f"artifact:{artifact['sha256']}"}
    return str(api.post("modelPackages/fromJSON/", body)["id"])


def _show_report(report: JsonObject) -> None:
    for name, each in report["checks"].items():
        if each["status"] != "passing":
            show_note(f"{each['status']}: {name}: {each['message']}")


def _facts(deployment: JsonObject, settings: JsonObject) -> list[tuple[str, object]]:
    model, package = deployment["model"], deployment["modelPackage"]
    server = deployment.get("defaultPredictionServer") or {}
    association, warning, approval = (settings[name] for name in ("associationId", "predictionWarning", "approval"))
    boundaries = warning["customBoundaries"] or {}
    marks = [
        f"{word} {boundaries[name]}" for name, word in (("lower", "below"), ("upper", "above")) if name in boundaries
    ]
    required = " (required)" if association["requiredInPredictionRequests"] else ""
    return [
        ("deployment", deployment["id"]),
        ("name", deployment["label"]),
        ("status", deployment["status"]),
        ("description", deployment.get("description")),
        ("importance", deployment.get("importance")),
        ("target", f"{model['targetName']} ({model['targetType']})"),
        ("model", f"{package['name']} ({model['type']}), package {package['id']}"),
        ("since", moment(model.get("deployedAt"))),
        ("server", server.get("url")),
        ("environment", (deployment.get("predictionEnvironment") or {}).get("name")),
        ("created", moment(deployment.get("createdAt"))),
        ("by", (deployment.get("creator") or {}).get("email")),
        ("row id", "".join(association["columnNames"]) + required),
        ("outliers", " or ".join(marks) if warning["enabled"] else ""),
        ("approval", approval["status"] if approval["enabled"] else ""),
    ]
