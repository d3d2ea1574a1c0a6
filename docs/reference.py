"""Writes the parts of the documentation that are lists of what the code has; a test compares them with the code.

python docs/reference.py            rewrite the blocks between `<!-- begin: NAME -->` and `<!-- end -->`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from typer.main import get_command

from scoreline.adapters import REGISTRY
from scoreline.cli.app import app
from scoreline.settings import Settings

DOCS = Path(__file__).resolve().parent
_BLOCK = re.compile(r"(<!-- begin: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings() -> str:
    """Every setting, its default and what it is for."""
    lines = ["| environment | in scoreline.toml | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "the number of cores" if field.default_factory else _value(field.default)
        lines.append(f"| `SCORELINE_{name.upper()}` | `{name}` | {default} | {field.description} |")
    return "\n".join(lines)


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_command("scoreline", get_command(app)))


def adapters() -> str:
    """Every intake and output type of the API, and whether it is built."""
    lines = ["| type | what it is | intake | output |", "| --- | --- | --- | --- |"]
    for name, entry in REGISTRY.items():
        built = "yes" if entry.module else "not yet"
        read, write = (built if can else "–" for can in (entry.read, entry.write))
        lines.append(f"| `{name}` | {entry.help} | {read} | {write} |")
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {"settings": settings, "commands": commands, "adapters": adapters}


def rewritten(page: Path) -> str:
    """Return the page with its blocks as the code has them now."""
    return _BLOCK.sub(
        lambda found: f"{found[1]}{BLOCKS[found['name']]()}\n{found[3]}", page.read_text(encoding="utf-8")
    )


def _command(path: str, command: object) -> Iterator[str]:
    """Yield the lines of a command and of those below it."""
    below = getattr(command, "commands", None)
    if below is not None:
        for name, child in below.items():
            yield from _command(f"{path} {name}", child)
        return
    parameters = [one for one in command.params if not one.hidden and one.name != "help"]  # type: ignore[attr-defined]
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    shown = " ".join(_metavar(one) for one in arguments)
    yield f"### `{path}`\n"
    yield f"```\n{path}{' ' if shown else ''}{shown} [OPTIONS]\n```\n"
    yield " ".join(str(command.help).split()) + "\n"  # type: ignore[attr-defined]
    if parameters:
        yield "| | | |\n| --- | --- | --- |"
    for one in parameters:
        names = _metavar(one) if one in arguments else " ".join(f"`{name}`" for name in one.opts)
        names = f"`{names}`" if one in arguments else names
        variable = f" (`{one.envvar}`)" if one.envvar else ""
        needed = "required" if one.required else ""
        yield f"| {names} | {needed} | {_cell(one.help or '')}{variable} |"
    yield ""


def _metavar(parameter: object) -> str:
    return str(parameter.metavar or parameter.name.upper())  # type: ignore[attr-defined]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"`{value}` ({value >> 20} MiB)"
    return f"`{value}`"


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(rewritten(page), encoding="utf-8")
        typer.echo(f"{page.name}: up to date")
