"""`scoreline jobs`: what a server's jobs do, and their results."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from scoreline.cli import definitions, options
from scoreline.cli.client import Api
from scoreline.cli.output import moment, show_json, show_note, show_table
from scoreline.types import JsonObject

app = typer.Typer(help="See, abort and download jobs of a server.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
_STATES = ("INITIALIZING", "RUNNING", "COMPLETED", "ABORTED")


@app.command("list")
def list_jobs(
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help=f"Only in this state: {', '.join(_STATES)}. May be given again."),
    ] = None,
    deployment: Annotated[str | None, typer.Option(metavar="ID_OR_NAME", help="Only of this deployment.")] = None,
    definition: Annotated[
        str | None, typer.Option(metavar="ID_OR_NAME", help="Only those made from this job definition.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """List jobs, newest first."""
    from scoreline.cli.remote import find_deployment  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        wanted = None if deployment is None else find_deployment(api, deployment)
        states = [state.upper() for state in status] if status else None
        origin = None if definition is None else definitions.find(api, definition)["id"]
        query = {"status": states, "deploymentId": wanted, "batchPredictionJobDefinitionId": origin}
        found = api.get("batchPredictions/", limit=limit, **query)["data"]
    if json:
        show_json(found)
        return
    show_table(
        ("ID", "STATUS", "DONE", "SCORED", "FAILED", "CREATED", "BY"),
        (
            (
                job["id"],
                job["status"],
                f"{job['percentageCompleted']:.0f} %",
                f"{job['scoredRows']:,}",
                f"{job['failedRows']:,}",
                moment(job.get("created")),
                (job.get("createdBy") or {}).get("username"),
            )
            for job in found
        ),
    )


@app.command()
def show(
    job_id: JobId, json: options.Json = False, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None
) -> None:
    """Show one job."""
    with Api(url, token) as api:
        job = api.get(f"batchPredictions/{job_id}/")
        shared = job.get("partitions", 1) > 1
        parts = api.get(f"batchPredictions/{job_id}/partitions/")["data"] if shared and not json else []
    if json:
        show_json(job)
        return
    facts = _facts(job)
    if parts:
        facts.append(("partitions", _partitions(parts)))
    for name, value in facts:
        typer.echo(f"{name + ':':<12}{value}")


@app.command()
def abort(job_id: JobId, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Abort a job that waits or runs."""
    with Api(url, token) as api:
        api.delete(f"batchPredictions/{job_id}/")
    show_note(f"Job {job_id} is aborted.")


@app.command()
def pause(job_id: JobId, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Let a job rest that waits or runs; what is done stays done."""
    with Api(url, token) as api:
        api.post(f"batchPredictions/{job_id}/pause/", {})
    show_note(f"Job {job_id} is paused; `scoreline jobs resume {job_id}` lets it go on.")


@app.command()
def resume(job_id: JobId, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Let a paused job go on."""
    with Api(url, token) as api:
        api.post(f"batchPredictions/{job_id}/resume/", {})
    show_note(f"Job {job_id} goes on.")


@app.command()
def manifest(job_id: JobId, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Print what a job did, to the byte, as JSON: rows, source, output and its digest, model, settings."""
    with Api(url, token) as api:
        show_json(api.get(f"batchPredictions/{job_id}/manifest/"))


@app.command()
def logs(job_id: JobId, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Print a job's log."""
    with Api(url, token) as api:
        for line in api.get(f"batchPredictions/{job_id}/").get("logs") or ():
            typer.echo(line)


@app.command()
def watch(job_id: JobId, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Print a job's log as it grows, until the job is over; the exit code is 1 if it was aborted."""
    from scoreline.cli import following  # noqa: PLC0415 -- start-up time
    from scoreline.cli.progress import open_view  # noqa: PLC0415 -- as above

    with Api(url, token) as api:
        job = api.get(f"batchPredictions/{job_id}/")
        with open_view(quiet=False) as view:
            for job in following.follow(api, job_id, threading.Event()):
                for line in job["logs"]:
                    typer.echo(line)
                following.show(view, job)
    if job["status"] == "ABORTED":
        raise typer.Exit(1)


@app.command()
def webhooks(
    job_id: JobId, json: options.Json = False, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None
) -> None:
    """Show what a job's webhooks were told, or are still to be told."""
    with Api(url, token) as api:
        found = api.get(f"batchPredictions/{job_id}/webhooks/")["data"]
    if json:
        show_json(found)
        return
    columns = ("WEBHOOK", "EVENT", "STATE", "TRIES", "DUE", "LAST")
    show_table(
        columns,
        (
            (
                one["url"],
                one["event"],
                one["state"],
                one["tries"],
                moment(one["due"]),
                one["trouble"] or (one["status"] and f"status {one['status']}"),
            )
            for one in found
        ),
    )


@app.command()
def download(
    job_id: JobId,
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Download a job's result; of a job that runs, as it comes."""
    from scoreline.cli.remote import fetch  # noqa: PLC0415 -- start-up time
    from scoreline.cli.target import Target  # noqa: PLC0415 -- as above

    with Api(url, token) as api:
        address = api.get(f"batchPredictions/{job_id}/")["links"].get("download")
        target = Target(output)
        try:
            fetch(api, address or f"batchPredictions/{job_id}/download/", target)
            target.finish()
        finally:
            target.discard()


@app.command()
def errors(
    job_id: JobId,
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write; - is standard output.")] = "-",
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Download the rows that failed: their numbers, the reasons, and the rows; of a job that runs, those until now."""
    from scoreline.cli.remote import fetch_errors  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        fetch_errors(api, api.get(f"batchPredictions/{job_id}/"), output)


def _partitions(parts: list[JsonObject]) -> str:
    """Say how far the parts of a job are, and which workers score some of them ahead."""
    states = [part["state"] for part in parts]
    text = f"{len(parts)}: {states.count('taken')} begun or written"
    if states.count("scored"):
        text += f", {states.count('scored')} scored before their turn"
    ahead = [f"{part['partition']} by {part['worker']}" for part in parts if part["state"] == "ahead"]
    return f"{text}, being scored: {', '.join(ahead)}" if ahead else text


def _facts(job: JsonObject) -> list[tuple[str, object]]:
    spec = job["jobSpec"]
    rows = f"{job['scoredRows']:,} scored, {job['failedRows']:,} failed, {job['skippedRows']:,} skipped"
    facts: list[tuple[str, object]] = [
        ("job", job["id"]),
        ("status", job["status"]),
        ("details", job["statusDetails"]),
        ("done", f"{job['percentageCompleted']:.1f} %"),
        ("rows", rows),
        ("bytes", f"{job['jobIntakeSize']:,} in, {job['jobOutputSize']:,} out"),
        ("elapsed", f"{job['elapsedTimeSec']} s"),
        ("created", moment(job.get("created"))),
        ("by", (job.get("createdBy") or {}).get("username")),
        ("deployment", spec.get("deploymentId")),
        ("from", spec["intakeSettings"]["type"]),
        ("to", spec["outputSettings"]["type"]),
    ]
    facts += [(name.rpartition(".")[2], value) for name, value in job.get("rendered", {}).items()]
    if job.get("batchPredictionJobDefinition"):
        facts.append(("definition", job["batchPredictionJobDefinition"]["name"]))
    if job.get("queuePosition") is not None:
        facts.insert(3, ("ahead", f"{job['queuePosition']} jobs"))
    return facts
