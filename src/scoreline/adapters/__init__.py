"""Adapters: one file a system. The registry knows all types of the API and imports an adapter when it is opened.

An adapter's module has `open_intake(ticket, spool)` or `open_output(ticket, spool)`, or both. The list of failed rows
is kept in the spool or in a file, whatever the output is: only localFile and filesystem have `open_errors`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from types import ModuleType
from typing import cast

from scoreline.adapters.capabilities import Capabilities, Delivery, Entry, Reread, Visibility
from scoreline.errors import InvalidRequest
from scoreline.protocols import ByteIntake, Output
from scoreline.spool import Spool
from scoreline.types import RunTicket

_INSERTS = ("insert", "update", "insertUpdate")
_FILES = Capabilities(formats=("csv", "parquet"), splittable=True)
_TABLES = Capabilities(formats=(), statements=(*_INSERTS, "createTable"), reread=Reread.KEY)
_WAREHOUSE = Capabilities(formats=(), statements=_TABLES.statements, splittable=True, reread=Reread.KEY)

REGISTRY: dict[str, Entry] = {
    "localFile": Entry("CSV sent with the job and downloaded from it.", module="localfile"),
    "s3": Entry("Objects in Amazon S3 and what speaks its protocol.", can=_FILES),
    "azure": Entry("Blobs in Azure Storage.", can=_FILES),
    "gcp": Entry("Objects in Google Cloud Storage.", can=_FILES),
    "http": Entry(
        "A URL to read from or to write to.",
        can=Capabilities(reread=Reread.NONE, delivery=Delivery.AT_LEAST_ONCE),
    ),
    "jdbc": Entry("Tables of a database that has a JDBC driver.", can=_TABLES),
    "snowflake": Entry("Tables in Snowflake, through a stage.", can=_WAREHOUSE),
    "synapse": Entry("Tables in Azure Synapse, through Azure Storage.", can=_WAREHOUSE),
    "bigquery": Entry("Tables in BigQuery, through Google Cloud Storage.", can=_WAREHOUSE),
    "dataset": Entry("A dataset of the catalogue.", write=False),
    "dss": Entry("A subset of a project's training data.", write=False),
    "dataStage": Entry("A data stage.", write=False),
    "datasphere": Entry("Tables in SAP Datasphere.", can=_TABLES),
    "databricks": Entry("Tables in Databricks.", can=_WAREHOUSE),
    "trino": Entry("Tables behind Trino.", can=_TABLES),
    "recipe": Entry("The rows of a wrangling recipe.", write=False),
    "tableau": Entry("A data source on a Tableau server.", read=False, can=Capabilities(formats=())),
    "filesystem": Entry("Files on the worker's machine, below a folder that the operator opens.", module="filesystem"),
}

_SPELLINGS = {name.lower(): name for name in REGISTRY} | {"local_file": "localFile", "file_system": "filesystem"}
_SIDES = {"intake": "read", "output": "write"}

__all__ = [
    "REGISTRY",
    "Capabilities",
    "Delivery",
    "Entry",
    "Reread",
    "Visibility",
    "canonical",
    "names",
    "not_built",
    "open_errors",
    "open_intake",
    "open_output",
]


def canonical(kind: str) -> str:
    """Return the type's own spelling: case does not matter, and `local_file` means localFile.

    Raises InvalidRequest (field `type`) with the nearest name for one that is not known.
    """
    found = _SPELLINGS.get(kind.strip().lower())
    if found is None:
        near = difflib.get_close_matches(kind.lower(), _SPELLINGS, n=1)
        hint = f"did you mean {_SPELLINGS[near[0]]}?" if near else f"it is one of {', '.join(REGISTRY)}."
        raise InvalidRequest(f"Type {kind[:50]!r} is not known: {hint}", field="type")
    return found


def names(side: str) -> list[str]:
    """Return the types that are built for a side, "intake" or "output"."""
    return [name for name, entry in REGISTRY.items() if entry.module and getattr(entry, _SIDES[side])]


def not_built(kind: str, side: str) -> str | None:
    """Return one sentence that says why the API cannot use a type on a side ("intake" or "output"), None if it can.

    Raises InvalidRequest for a type that is not known.
    """
    name = canonical(kind)
    entry = REGISTRY[name]
    use = f"use {', '.join(names(side))}"
    if not getattr(entry, _SIDES[side]):
        other = "output" if side == "intake" else "intake"
        return f"Type {name} is no {side}, only an {other}; {use}."
    if entry.module is None:
        return f"Type {name} is not built yet in this version of Scoreline as {side}; {use}."
    return None


def open_intake(ticket: RunTicket, spool: Spool) -> ByteIntake:
    """Open the run's source. Raises InvalidRequest for a type that is not built, SetupError, SourceError."""
    return cast("ByteIntake", _module(ticket.intake["type"], "intake").open_intake(ticket, spool))


def open_output(ticket: RunTicket, spool: Spool) -> Output:
    """Open the run's target. Raises InvalidRequest for a type that is not built, SetupError, OutputError."""
    return cast("Output", _module(ticket.output["type"], "output").open_output(ticket, spool))


def open_errors(ticket: RunTicket, spool: Spool) -> Output | None:
    """Open the list of the run's failed rows, None when it keeps none. Raises InvalidRequest, OutputError."""
    if ticket.errors_file is None:
        return None
    return cast("Output", _module(ticket.errors_file["type"], "output").open_errors(ticket, spool))


def _module(kind: str, side: str) -> ModuleType:
    entry = REGISTRY[canonical(kind)]
    if entry.module is None or not getattr(entry, _SIDES[side]):
        raise InvalidRequest(str(not_built(kind, side)), field="type")
    return import_module(f"scoreline.adapters.{entry.module}")
