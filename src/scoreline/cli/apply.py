"""`scoreline apply`: make a server have what files say, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scoreline.cli import options
from scoreline.cli.client import Api
from scoreline.cli.output import show_json, show_note
from scoreline.errors import ScorelineError

if TYPE_CHECKING:
    from scoreline.cli.differences import Difference


def apply(
    files: Annotated[
        list[str],
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="What there should be, in YAML; - is standard input. May be given again.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    send_keys: Annotated[
        bool, typer.Option("--send-keys", help="Send keys in definitions again, which are not compared.")
    ] = False,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Make job definitions, settings of deployments and credentials what files say; show what differs first."""
    from scoreline.cli import declared, differences  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        wanted = declared.read(files)
        found = list(differences.differences(api, wanted, send_keys=send_keys))
        if not json:
            for each in found:
                _show(each)
        others = _others(api, [entry["name"] for entry in wanted.definitions]) if wanted.definitions else []
        done = 0
        for each in found if not dry_run else ():
            if each.do is not None:
                try:
                    each.do()
                except ScorelineError as error:
                    so_far = f"after {done} of {_count(found)} changes"
                    raise ScorelineError(
                        f"Applying {each.kind} {each.name!r} failed, {so_far}: {error.message}"
                    ) from error
                done += 1
    if json:
        show_json([_document(each, applied=not dry_run) for each in found])
        return
    if others:
        show_note(f"Left alone, because no file names them: definitions {', '.join(map(repr, others))}.")
    new, changed = (sum(each.do is not None and each.new is is_new for each in found) for is_new in (True, False))
    verb = "would be" if dry_run else "is"
    show_note(f"{new} {verb} created, {changed} {verb} changed, {len(found) - new - changed} as wanted already.")


def _count(found: list[Difference]) -> int:
    return sum(each.do is not None for each in found)


def _others(api: Api, named: list[str]) -> list[str]:
    from scoreline.cli.definitions import PATH  # noqa: PLC0415 -- start-up time

    return [each["name"] for each in api.pages(PATH) if each["name"] not in named]


def _show(difference: Difference) -> None:
    sign = "=" if difference.do is None else "+" if difference.new else "~"
    left = f" (left alone: {difference.left})" if difference.left else ""
    typer.echo(f"{sign} {difference.kind} {difference.name!r}{left}")
    for path, now, wanted in difference.lines:
        change = _text(wanted) if difference.new else f"{_text(now)} -> {_text(wanted)}"
        typer.echo(f"    {path}: {change}")


def _text(value: Any) -> str:
    return "none" if value is None else repr(value) if isinstance(value, str) else str(value)


def _document(difference: Difference, *, applied: bool) -> dict[str, Any]:
    done = "none" if difference.do is None else "create" if difference.new else "change"
    return {
        "kind": difference.kind,
        "name": difference.name,
        "action": done,
        "applied": applied and difference.do is not None,
        "fields": [{"field": path, "now": now, "wanted": wanted} for path, now, wanted in difference.lines],
        "leftAlone": difference.left,
    }
