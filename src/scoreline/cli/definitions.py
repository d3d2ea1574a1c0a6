"""`scoreline definitions`: jobs that are kept, and run on demand or by schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from scoreline.cli import options
from scoreline.cli.client import Api
from scoreline.cli.output import moment, show_json, show_note, show_table
from scoreline.errors import InvalidRequest, NotFound
from scoreline.types import JsonObject

app = typer.Typer(help="See, run, enable and export job definitions of a server.", no_args_is_help=True)

PATH = "batchPredictionJobDefinitions/"
_RUNS = "batchPredictions/fromJobDefinition/"
_LOCAL_FILE = "localFile"

Which = Annotated[str, typer.Argument(metavar="NAME", help="The definition's name or id.", show_default=False)]


@app.command("list")
def list_definitions(
    search: Annotated[str | None, typer.Option(help="Only those with this in their name.")] = None,
    deployment: Annotated[str | None, typer.Option(metavar="ID_OR_NAME", help="Only of this deployment.")] = None,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """List job definitions, the newest first."""
    from scoreline.cli.remote import find_deployment  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        wanted = None if deployment is None else find_deployment(api, deployment)
        found = list(api.pages(PATH, searchName=search, deploymentId=wanted))
    if json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "ENABLED", "NEXT RUN", "LAST RUN", "STATUS", "FAILED IN A ROW", "BY"),
        (
            (
                each["id"],
                each["name"],
                "yes" if each["enabled"] else "no",
                moment(each["nextScheduledRunTime"]),
                moment(each["lastStartedJobTime"]),
                each["lastStartedJobStatus"],
                each["consecutiveFailures"] or None,
                each["createdBy"]["username"],
            )
            for each in found
        ),
    )


@app.command()
def show(
    name: Which, json: options.Json = False, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None
) -> None:
    """Show one job definition: what it does, when it is due, how its runs went."""
    with Api(url, token) as api:
        found = find(api, name)
    if json:
        show_json(found)
        return
    for label, value in _facts(found):
        if value not in (None, ""):
            typer.echo(f"{label + ':':<14}{value}")


@app.command("run")
def run_definition(
    name: Which,
    source: Annotated[
        str | None, typer.Option("--input", metavar="FILE", help="What to upload, for intake of type localFile.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where a result of type localFile is downloaded to."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the job's end; Ctrl-C aborts it.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Make a job of a definition now, whether it is enabled or not, and print the job's id."""
    from scoreline.cli import remote  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        found = find(api, name)
        job = found["batchPredictionJob"]
        uploads = job["intakeSettings"]["type"] == _LOCAL_FILE
        body = {"jobDefinitionId": found["id"]}
        if source is not None and not uploads:
            raise InvalidRequest(f"Job definition {found['name']!r} reads its data itself: leave --input out.")
        if output is not None and job["outputSettings"]["type"] != _LOCAL_FILE:
            raise InvalidRequest(f"Job definition {found['name']!r} writes its result itself: leave --output out.")
        if uploads and source is None and (wait or output is not None):
            raise InvalidRequest(f"Job definition {found['name']!r} reads an upload: give it with --input FILE.")
        if wait or source is not None or output is not None:
            done = remote.run(api, lambda: body, source, output, quiet=quiet, path=_RUNS)
            typer.echo(done["id"])
            return
        made = api.post(_RUNS, body)
    typer.echo(made["id"])
    if uploads:
        show_note(f"The job waits for its upload to {made['links']['csvUpload']}.")


@app.command()
def enable(name: Which, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Let a definition run by its schedule; its count of failed runs begins anew."""
    with Api(url, token) as api:
        changed = _set(api, name, enabled=True)
    due = moment(changed["nextScheduledRunTime"])
    show_note(f"Job definition {changed['name']!r} is enabled; its next run is due at {due}.")


@app.command()
def disable(name: Which, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Let a definition run by hand only; a job of it that is under way goes on."""
    with Api(url, token) as api:
        changed = _set(api, name, enabled=False)
    show_note(f"Job definition {changed['name']!r} is disabled.")


@app.command()
def export(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names or ids; none: all.", show_default=False)
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Print definitions as YAML, with names in place of ids, for `scoreline apply`."""
    import yaml  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        wanted = [find(api, name) for name in names] if names else list(api.pages(PATH))
        texts = [b"".join(portable(api, each["id"])).decode() for each in wanted]
    remarks = dict.fromkeys(line for text in texts for line in text.splitlines() if line.startswith("#"))
    merged = [entry for text in texts for entry in yaml.safe_load(text)["definitions"]]
    for line in remarks:
        typer.echo(line)
    typer.echo(yaml.safe_dump({"definitions": merged}, sort_keys=False, allow_unicode=True, width=120), nl=False)


def find(api: Api, name_or_id: str) -> JsonObject:
    """Return a definition by its name or id. Raises NotFound."""
    for each in api.pages(PATH, searchName=name_or_id):
        if each["name"] == name_or_id:
            return each
    try:
        return api.get(f"{PATH}{name_or_id}/") if name_or_id.isalnum() else _none(name_or_id)
    except NotFound:
        return _none(name_or_id)


def _none(name: str) -> JsonObject:
    raise NotFound(f"There is no job definition {name!r}: see `scoreline definitions list`.")


def _set(api: Api, name: str, *, enabled: bool) -> JsonObject:
    return api.patch(f"{PATH}{find(api, name)['id']}/", {"enabled": enabled})


def portable(api: Api, definition_id: str) -> Iterator[bytes]:
    """Yield a definition as YAML. Raises as `Api.get`."""
    with api.download(f"{PATH}{definition_id}/portable/") as pieces:
        yield from pieces


def _facts(found: JsonObject) -> list[tuple[str, object]]:
    job = found["batchPredictionJob"]
    ends = [job[f"{side}Settings"] for side in ("intake", "output")]
    read, written = (" ".join(str(each[key]) for key in ("type", "url", "path") if key in each) for each in ends)
    return [
        ("id", found["id"]),
        ("name", found["name"]),
        ("enabled", "yes" if found["enabled"] else "no"),
        ("deployment", job.get("deploymentId")),
        ("from", read),
        ("to", written),
        ("schedule", _schedule(found)),
        ("next runs", ", ".join(moment(each) for each in found["nextRunTimes"])),
        ("waiting", moment(found["waitingRunTime"])),
        ("overlap", found["overlap"]),
        ("catch up", found["catchUp"]),
        ("disabled after", found["disableAfterFailures"] and f"{found['disableAfterFailures']} failed runs in a row"),
        ("last run", moment(found["lastStartedJobTime"])),
        ("status", found["lastStartedJobStatus"]),
        ("job", found["lastStartedJobId"]),
        ("last success", moment(found["lastSuccessfulRunTime"])),
        ("last failure", moment(found["lastFailedRunTime"])),
        ("last skipped", moment(found["lastSkippedRunTime"])),
        ("failed", found["consecutiveFailures"] and f"{found['consecutiveFailures']} in a row"),
        ("why", found["message"]),
        ("by", found["createdBy"]["username"]),
    ]


def _schedule(found: JsonObject) -> str | None:
    if found["schedule"] is None:
        return None
    lists = (f"{name} {','.join(map(str, values))}" for name, values in found["schedule"].items() if values != ["*"])
    return f"{'; '.join(lists) or 'every minute'} ({found['timeZone']})"
