"""Options that several commands share, and the settings and connections made of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scoreline.errors import SetupError, one_line

if TYPE_CHECKING:
    from scoreline.settings import Settings

Url = Annotated[
    str,
    typer.Option("--url", envvar="SCORELINE_URL", help="Address of the server.", rich_help_panel="Server"),
]
ApiToken = Annotated[
    str | None,
    typer.Option("--token", envvar="SCORELINE_TOKEN", help="Your API token.", rich_help_panel="Server"),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder for the database file, uploads, results and models. [default: scoreline-data]"),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="URL of a PostgreSQL database. [default: a SQLite file in the data folder]"),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. [default: 8080]")
]

DEFAULT_URL = "http://127.0.0.1:8080"


def settings(**given: Any) -> Settings:
    """Return the installation's settings; what is given on the command line wins, None counts as not given.

    Raises SetupError that names the first setting which is wrong, and where it may stand.
    """
    from pydantic import ValidationError  # noqa: PLC0415 -- commands that need no settings start faster

    from scoreline.settings import Settings  # noqa: PLC0415 -- as above

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        place = f"--{name.replace('_', '-')}" if given.get(name) is not None else f"SCORELINE_{name.upper()}"
        raise SetupError(
            one_line(f"Settings: {place} (or {name} in scoreline.toml) is wrong: {first['msg']}.")
        ) from error
    except (OSError, ValueError) as error:  # a scoreline.toml that cannot be read or is not TOML
        raise SetupError(one_line(f"Settings: scoreline.toml cannot be read: {error}.")) from error


def tell_models(settings: Settings) -> None:
    """Leave word in the environment for the processes that run models, which read no settings."""
    if settings.drum is not None:
        os.environ["SCORELINE_DRUM"] = str(settings.drum.expanduser().absolute())


def pairs(values: list[str], option: str) -> list[tuple[str, str]]:
    """Cut `name=value` options at their last `=`, since column names may hold one. Raises BadParameter."""
    found = []
    for value in values:
        name, mark, text = value.rpartition("=")
        if not mark or not name:
            raise typer.BadParameter(f"{value!r} is not of the form name=value.", param_hint=option)
        found.append((name, text))
    return found


def numbers(values: list[str], option: str) -> list[tuple[str, float]]:
    """Do the same for values that are numbers. Raises BadParameter."""
    found = []
    for name, text in pairs(values, option):
        try:
            found.append((name, float(text)))
        except ValueError as error:
            raise typer.BadParameter(f"{text!r} is no number.", param_hint=option) from error
    return found


def names(value: str | None) -> list[str]:
    """Read a comma-separated list as one CSV record, so that a name with a comma can be quoted."""
    import csv  # noqa: PLC0415 -- seldom needed

    return [] if value is None else next(csv.reader([value]), [])
