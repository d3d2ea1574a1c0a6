"""Writes the parts of the documentation that are lists of what the code has; a test compares them with the code.

python docs/reference.py            rewrite the blocks between `<!-- begin: NAME -->` and `<!-- end -->`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import typer
from typer.main import get_command

from scoreline.adapters import REGISTRY
from scoreline.api import contract, create_app
from scoreline.cli.app import app
from scoreline.credentials import KINDS, parts
from scoreline.jobs import described, described_places
from scoreline.jobs.checks import not_built
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store

DOCS = Path(__file__).resolve().parent
_KINDS = {"boolean": "true, false", "string": "text", "integer": "whole number", "number": "number", "object": "object"}
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
    """Every intake and output type of the API, whether it is built, and which credentials it takes."""
    lines = ["| type | what it is | intake | output | credentials |", "| --- | --- | --- | --- | --- |"]
    for name, entry in REGISTRY.items():
        built = "yes" if entry.module else "not yet"
        read, write = (built if can else "–" for can in (entry.read, entry.write))
        takes = "; ".join(f"`{field}`: {', '.join(kinds)}" for field, kinds in entry.can.credentials.items())
        lines.append(f"| `{name}` | {entry.help} | {read} | {write} | {takes} |")
    return "\n".join(lines)


def credentials() -> str:
    """Every type of credential: what it is, and its fields with the API's names."""
    lines = ["| `credentialType` | what it is | fields |", "| --- | --- | --- |"]
    for kind, secret in KINDS.items():
        said = (secret.__doc__ or "").split("\n\n")[0].rstrip(".")
        fields = (
            " or ".join(f"`{name}`" for name in (part.name, *part.also)) + ("" if part.required else " (optional)")
            for part in parts(kind)
        )
        lines.append(f"| `{kind}` | {said} | {', '.join(fields)} |")
    return "\n".join(lines)


def job_settings() -> str:
    """Every setting of a job: its values, its default, its meaning, what is refused."""
    lines = []
    for title, group in described.GROUPS.items():
        lines += [
            f"### {title}",
            "",
            "| setting | values | default | meaning | refused |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [_setting(name, setting) for name, setting in group.items()]
        lines.append("")
    return "\n".join(lines)


def job_types() -> str:
    """The fields of every type of intake and output."""
    lines = [
        "| type | side | field | values | default | meaning | refused |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for side, types in (("intake", described_places.INTAKES), ("output", described_places.OUTPUTS)):
        for kind, fields in types.items():
            rows = [_setting(name, field, built=True) for name, field in fields.items()] or ["| – | | | | |"]
            lines += [f"| `{kind}` | {side} {row}" for row in rows]
    return "\n".join(lines)


def routes() -> str:
    """Every address of the API, what it answers and with which statuses."""
    document = create_app(Settings(), cast("Store", None), cast("Spool", None)).openapi()
    groups: dict[str, list[str]] = {}
    for path, method, operation in contract.operations(document):
        if "/internal/" not in path:
            groups.setdefault(operation["tags"][0], []).extend(_route(path, method, operation))
    return "\n".join(f"### {title[0].upper()}{title[1:]}\n\n" + "\n".join(lines) for title, lines in groups.items())


def statuses() -> str:
    """Every status that says no, and why."""
    lines = ["| status | meaning |", "| --- | --- |"]
    return "\n".join(lines + [f"| {status} | {reason} |" for status, reason in contract.REASONS.items()])


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "adapters": adapters,
    "credentials": credentials,
    "job_settings": job_settings,
    "job_types": job_types,
    "routes": routes,
    "statuses": statuses,
}


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


def _setting(name: str, setting: described_places.Setting, *, built: bool = False) -> str:
    refused = setting.refused
    if not built and name in not_built():
        refused = "**Not built yet**: every value that asks for something."
    default = setting.default or "`null`"
    return f"| `{name}` | {_values(setting.values)} | {_cell(default)} | {_cell(setting.meaning)} | {_cell(refused)} |"


def _values(schema: dict[str, Any]) -> str:
    """Return what a JSON Schema allows, in words."""
    if "anyOf" in schema:
        return "; or ".join(dict.fromkeys(_values(one) for one in schema["anyOf"] if one != {"type": "null"}))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values if value is not None)
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if kind == "array":
        return f"list of {_values(schema['items'])}"
    words = "one character" if schema.get("pattern", "").startswith("^[\\x01") else _KINDS[kind]
    if "properties" in schema:
        words += ": " + ", ".join(f"`{name}`" for name in schema["properties"])
    words += f" from {schema['minimum']}" if "minimum" in schema else ""
    return words + (f" to {schema['maximum']}" if "maximum" in schema else "")


def _route(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one operation."""
    yield f"#### `{method.upper()} {path}`\n"
    yield " ".join(operation["description"].split()) + "\n"
    good = {status: answer for status, answer in operation["responses"].items() if status < "4"}
    for status, answer in good.items():
        kinds = [f"`{kind}`{_named(content['schema'])}" for kind, content in answer.get("content", {}).items()]
        headers = [f"`{name}`" for name in answer.get("headers", {}) if name != "X-Request-Id"]
        yield f"- answers {status}: {', '.join(kinds) or 'no body'}" + (
            f"; with {', '.join(headers)}" if headers else ""
        )
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        fields = content["schema"].get("properties", {})
        yield f"- takes `{kind}`" + (f": {', '.join(f'`{name}`' for name in fields)}" if fields else "")
    for place in ("query", "header"):
        names = [
            f"`{one['name']}`"
            for one in operation["parameters"]
            if one["in"] == place and one["name"] != "X-Request-Id"
        ]
        if names:
            yield f"- {place}: {', '.join(names)}"
    yield f"- refuses with {', '.join(status for status in operation['responses'] if status >= '4') or 'nothing'}\n"


def _named(schema: dict[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2].removesuffix("_").replace("_", " of ")
    return f" {name}" if name else ""


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
