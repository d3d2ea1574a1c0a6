"""`scoreline credentials`: keys to other systems, stored for jobs that name them.

No secret is taken from the command line itself, where other users of the machine can see it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scoreline.cli import options
from scoreline.cli.client import Api
from scoreline.cli.output import moment, show_json, show_note, show_table
from scoreline.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from scoreline.credentials import Part
    from scoreline.types import JsonObject

app = typer.Typer(help="Store keys to other systems, for jobs that name them.", no_args_is_help=True)

_PATH = "credentials/"
Which = Annotated[str, typer.Argument(metavar="NAME", help="The credential's name or id.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field that is no secret, such as user. May be given again."),
]
FromEnv = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="FIELD=VARIABLE", help="A field, from a variable of the environment."),
]
FromFile = Annotated[
    list[str] | None,
    typer.Option("--file", metavar="FIELD=PATH", help="A field, from a file (gcpKey: the JSON file of the key)."),
]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the fields from standard input, as a JSON object with the API's names.")
]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@app.command("list")
def list_credentials(
    kind: Annotated[list[str] | None, typer.Option("--type", help="Only this type. May be given again.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Those of the whole organisation (admins).")] = False,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """List your credentials; never what they hold."""
    with Api(url, token) as api:
        found = list(api.pages(_PATH, types=kind or None, allOwners=True if everyone else None))
    if json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "TYPE", "CREATED", "DESCRIPTION"),
        (
            (
                each["credentialId"],
                each["name"],
                each["credentialType"],
                moment(each["creationDate"]),
                each["description"],
            )
            for each in found
        ),
    )


@app.command("add")
def add_credential(
    name: Annotated[str, typer.Argument(help="Its name, which none of your others has.", show_default=False)],
    kind: Annotated[str, typer.Option("--type", help="What it is: basic, s3, azure, gcp, oauth, ...")],
    fields: Set = None,
    env: FromEnv = None,
    file: FromFile = None,
    stdin: FromStdin = False,
    description: Description = None,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Store a credential and print its id. Fields that are required and not given are asked for."""
    from scoreline.credentials import parts  # noqa: PLC0415 -- start-up time

    known = parts(kind)
    given = _given(known, fields, env, file, stdin=stdin)
    if not stdin and sys.stdin.isatty():
        given |= _asked(known, given)
    body: JsonObject = {"name": name, "credentialType": kind, **given}
    if description is not None:
        body["description"] = description
    with Api(url, token) as api:
        made = api.post(_PATH, body)
    if json:
        show_json(made)
        return
    typer.echo(made["credentialId"])
    show_note(f"Credential {name!r} is stored; what it holds is not shown again.")


@app.command("update")
def update_credential(
    name: Which,
    fields: Set = None,
    env: FromEnv = None,
    file: FromFile = None,
    stdin: FromStdin = False,
    description: Description = None,
    rename: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Change fields of a credential; the others stay. Runs that open it later see the change."""
    from scoreline.credentials import parts  # noqa: PLC0415 -- start-up time

    with Api(url, token) as api:
        found = find(api, name)
        body = _given(parts(found["credentialType"]), fields, env, file, stdin=stdin)
        body |= {key: value for key, value in (("name", rename), ("description", description)) if value is not None}
        if not body:
            raise typer.BadParameter("Say what to change.", param_hint="--set, --env, --file, --name")
        changed = api.patch(f"{_PATH}{found['credentialId']}/", body)
    if json:
        show_json(changed)
    else:
        show_note(f"Credential {changed['name']!r} is changed.")


@app.command("show")
def show_credential(
    name: Which, json: options.Json = False, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None
) -> None:
    """Show what can be seen of a credential; never what it holds."""
    with Api(url, token) as api:
        found = find(api, name)
    if json:
        show_json(found)
        return
    show_table(
        ("FIELD", "VALUE"),
        (
            ("id", found["credentialId"]),
            ("name", found["name"]),
            ("type", found["credentialType"]),
            ("created", moment(found["creationDate"])),
            ("description", found["description"]),
        ),
    )


@app.command("remove")
def remove_credential(name: Which, url: options.Url = options.DEFAULT_URL, token: options.ApiToken = None) -> None:
    """Delete a credential for good; not while a job that is not over names it."""
    with Api(url, token) as api:
        found = find(api, name)
        api.delete(f"{_PATH}{found['credentialId']}/")
    show_note(f"Credential {found['name']!r} is deleted.")


def find(api: Api, name_or_id: str) -> JsonObject:
    """Return one of the caller's by name, or any that the caller may see by id. Raises NotFound."""
    for each in api.pages(_PATH):
        if each["name"] == name_or_id:
            return each
    try:
        return api.get(f"{_PATH}{name_or_id}/") if name_or_id.isalnum() else _none(name_or_id)
    except NotFound:
        return _none(name_or_id)


def _none(name: str) -> JsonObject:
    raise NotFound(f"There is no credential {name!r}: see `scoreline credentials list`.")


def _given(
    known: list[Part], fields: list[str] | None, env: list[str] | None, file: list[str] | None, *, stdin: bool
) -> JsonObject:
    """Return the fields from where the options say. Raises BadParameter, InvalidRequest."""
    secret = {name for part in known if part.secret for name in (part.name, *part.also)}
    forms = {name: part.form for part in known for name in (part.name, *part.also)}
    found: JsonObject = _from_stdin() if stdin else {}
    for field, value in _pairs(fields, "--set"):
        if field in secret:
            raise typer.BadParameter(
                f"{field} is a secret, and other users can see the command line: use --env, --file, --stdin, or leave "
                "it out to be asked.",
                param_hint="--set",
            )
        found[field] = _value(field, value, forms)
    for field, variable in _pairs(env, "--env"):
        if variable not in os.environ:
            raise typer.BadParameter(f"There is no variable {variable} in the environment.", param_hint="--env")
        found[field] = _value(field, os.environ[variable], forms)
    for field, path in _pairs(file, "--file"):
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{path} cannot be read as text.", param_hint="--file") from error
        found[field] = _value(field, text if "\n" in text.rstrip("\n") else text.rstrip("\r\n"), forms)
    return found


def _asked(known: list[Part], given: JsonObject) -> JsonObject:
    """Ask on the terminal for what is required and not given."""
    found = {}
    for part in known:
        if part.required and not any(name in given for name in (part.name, *part.also)):
            answer = typer.prompt(part.name, hide_input=part.secret, err=True)
            found[part.name] = _value(part.name, answer, {part.name: part.form})
    return found


def _pairs(values: list[str] | None, option: str) -> list[tuple[str, str]]:
    found = []
    for value in values or ():
        field, mark, rest = value.partition("=")
        if not mark or not field:
            raise typer.BadParameter("It is of the form FIELD=....", param_hint=option)
        found.append((field, rest))
    return found


def _value(field: str, text: str, forms: dict[str, str]) -> Any:
    """Return a text as the API takes the field. Raises InvalidRequest, which never repeats the text."""
    form = forms.get(field, "text")
    if form == "texts":
        return [part.strip() for part in text.split(",")]
    return _parsed(text, field) if form == "object" else text


def _from_stdin() -> JsonObject:
    return _parsed(sys.stdin.read(), "Standard input")


def _parsed(text: str, what: str) -> JsonObject:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{what} is not a JSON object.")
    return found
