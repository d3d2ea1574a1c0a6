"""`scoreline score --plan`: what a server says of a job before it is made, and a plan as people read it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import typer

from scoreline.cli.output import show_error, show_note, show_table
from scoreline.types import JsonObject

if TYPE_CHECKING:
    from scoreline.cli.client import Api
    from scoreline.cli.places import Place
    from scoreline.cli.score_words import ScoreWords

_KILO = 1000.0
_SAMPLE_BYTES = 512 << 10  # as base64 less than the most JSON that a server reads


def ask(api: Api, deployment: str, words: ScoreWords, source: Place, output: Place) -> JsonObject:
    """Return what the server says of a job before it is made; of a file here it sees the first rows.

    Raises what the server refuses, and SourceError.
    """
    from scoreline.cli.remote import find_deployment, stored  # noqa: PLC0415 -- a plan without a server needs none

    ends = {"intakeSettings": stored(api, source), "outputSettings": stored(api, output)}
    given = {name: settings for name, settings in ends.items() if settings is not None}
    if "intakeSettings" not in given:
        given["sample"] = _sample(source.text)
    return api.post(
        "batchPredictions/plan/", {"deploymentId": find_deployment(api, deployment), **words.document(), **given}
    )


def _sample(path: str) -> JsonObject:
    from scoreline.cli.remote import Source  # noqa: PLC0415 -- as above

    with Source(path) as data:
        first = b""
        for block in data.blocks():
            first += block
            if len(first) >= _SAMPLE_BYTES:
                break
    whole = len(first) if data.size is None and len(first) < _SAMPLE_BYTES else data.size
    found = {"data": base64.b64encode(first[:_SAMPLE_BYTES]).decode(), "bytes": whole}
    return {name: value for name, value in found.items() if value is not None}


def show(plan: JsonObject) -> None:
    """Print a plan: tables on standard output, problems and warnings on standard error."""
    for problem in plan["problems"]:
        show_error(problem)
    for warning in plan["warnings"]:
        show_note(f"Warning: {warning}")
    columns = [
        (each["name"], each["type"], each["found"], each["emptyCells"], each["unreadableCells"], each["example"])
        for each in plan["inputColumns"]
    ]
    if columns:
        show_table(("MODEL'S COLUMN", "TYPE", "FOUND", "EMPTY", "UNREADABLE", "EXAMPLE"), columns)
        typer.echo()
    for name, value in _facts(plan):
        typer.echo(f"{name + ':':<10}{value}")
    for reason in plan["sample"]["errors"]:
        show_note(f"Row {reason['row']} would fail: {reason['reason']}")
    shown = plan["sample"]["output"]
    names = [each["name"] for each in plan["outputColumns"]]
    if shown:
        typer.echo()
        show_table(names, [[row[name] for name in names] for row in shown])


def _facts(plan: JsonObject) -> list[tuple[str, str]]:
    source, sample, estimate = plan["source"], plan["sample"], plan["estimate"]
    rows, about = source["rows"], "" if source["rowsAreExact"] else "about "
    size_out = estimate["outputBytes"]
    facts = [
        ("source", f"{_size(source['bytes'])}, {'rows not known' if rows is None else f'{about}{rows:,} rows'}"),
        ("sample", f"{sample['rows']:,} rows, of which {sample['failedRows']:,} would fail"),
        ("output", f"{len(plan['outputColumns'])} columns, {'' if size_out is None else 'about '}{_size(size_out)}"),
    ]
    if estimate["seconds"] is not None:
        facts.append(("time", f"about {estimate['seconds']:,.1f} s"))
    if plan["extraColumns"]:
        facts.append(("not used", ", ".join(plan["extraColumns"])))
    return facts


def _size(count: int | None) -> str:
    if count is None:
        return "size not known"
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < _KILO:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= _KILO
    return f"{size:,.1f} TB"
