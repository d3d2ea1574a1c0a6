"""Adapters: one file a system. The registry knows all types of the API and imports an adapter when it is opened.

An adapter's module has `open_intake(ticket, spool)` or `open_output(ticket, spool)`, or both. One that reads files in
other formats than CSV has `open_files(ticket)`, which gives the place and the key of the intake; one that writes many
objects has `open_uploads(ticket)`, which gives those of the output. An adapter whose
capabilities name credentials is given a third argument, which opens them: `keys("credentialId")`, see
`credentials.Keys`. The list of failed rows is kept in the spool or in a file, whatever the output is: only localFile
and filesystem have `open_errors`.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from scoreline.adapters import listing, tables
from scoreline.adapters.capabilities import Capabilities, Delivery, Entry, Reread, Visibility
from scoreline.adapters.files import stopped_by
from scoreline.adapters.many import ManyFiles
from scoreline.adapters.partitioned import DiskFolder, FolderOutput, StoreFolder
from scoreline.credentials import Keys, no_keys
from scoreline.errors import InvalidRequest
from scoreline.protocols import ByteIntake, Intake, Output
from scoreline.rows import forms
from scoreline.spool import Spool
from scoreline.types import RunTicket

_INSERTS = ("insert", "update", "insertUpdate")
_STATEMENTS = (*_INSERTS, "createTable")
_STORAGE = ("s3", "azure", "gcp")  # credentials for the object stores through which warehouses load
_DATABRICKS = ("databricks_access_token_account", "databricks_service_principal_account")
_PEOPLE = ("basic", "snowflake_key_pair_user_account", "oauth")  # credentials of people who sign in to a database


def _files(*types: str) -> Capabilities:
    credentials = {"credentialId": types} if types else {}
    return Capabilities(forms.READ, forms.WRITTEN, forms.READ, splittable=True, credentials=credentials)


def _tables(*types: str) -> Capabilities:
    credentials = {"credentialId": types}
    return Capabilities((), (), statements=_STATEMENTS, reread=Reread.KEY, credentials=credentials)


def _warehouse(*types: str, storage: tuple[str, ...] = ()) -> Capabilities:
    credentials = {"credentialId": types} | ({"cloudStorageCredentialId": storage} if storage else {})
    return replace(_tables(*types), splittable=True, credentials=credentials)


REGISTRY: dict[str, Entry] = {
    "localFile": Entry("CSV sent with the job and downloaded from it.", module="localfile"),
    "s3": Entry("Objects in Amazon S3 and what speaks its protocol.", module="s3", can=_files("s3")),
    "azure": Entry("Blobs in Azure Storage.", module="azure", can=_files("azure", "azure_service_principal")),
    "gcp": Entry("Objects in Google Cloud Storage.", module="gcp", can=_files("gcp")),
    "http": Entry(
        "A URL to read from or to write to.",
        module="http",
        can=Capabilities(
            forms.READ,
            forms.WRITTEN,
            delivery=Delivery.AT_LEAST_ONCE,
            credentials={"credentialId": ("basic", "oauth")},
        ),
    ),
    "jdbc": Entry("Tables of a database that has a JDBC driver.", can=_tables(*_PEOPLE, *_DATABRICKS, "gcp")),
    "snowflake": Entry("Tables in Snowflake, through a stage.", can=_warehouse(*_PEOPLE, storage=_STORAGE)),
    "synapse": Entry(
        "Tables in Azure Synapse, through Azure Storage.",
        can=_warehouse("basic", "azure_service_principal", storage=("azure",)),
    ),
    "bigquery": Entry("Tables in BigQuery, through Google Cloud Storage.", can=_warehouse("gcp")),
    "dataset": Entry(
        "A dataset of the catalogue.",
        write=False,
        module="dataset",
        can=Capabilities((forms.CSV, forms.PARQUET), ()),
    ),
    "dss": Entry("A subset of a project's training data.", write=False),
    "dataStage": Entry("A data stage.", write=False),
    "datasphere": Entry("Tables in SAP Datasphere.", can=_tables("basic")),
    "databricks": Entry("Tables in Databricks.", can=_warehouse("basic", *_DATABRICKS)),
    "trino": Entry("Tables behind Trino.", can=_tables("basic", "oauth")),
    "recipe": Entry("The rows of a wrangling recipe.", write=False),
    "tableau": Entry(
        "A data source on a Tableau server.",
        read=False,
        can=Capabilities((), (), credentials={"credentialId": ("basic",)}),
    ),
    "filesystem": Entry(
        "Files on the worker's machine, below a folder that the operator opens.", module="filesystem", can=_files()
    ),
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
    "stopped_by",
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


def open_intake(ticket: RunTicket, spool: Spool, keys: Keys = no_keys) -> Intake:
    """Open the run's source, of rows if its setting `format` is one whose rows have types, or of several files.

    `keys` opens the credentials that the source's settings name.

    Raises InvalidRequest for a type that is not built, SetupError, SourceError.
    """
    kind, form = ticket.intake["type"], ticket.intake.get("format")
    many = listing.is_many(str(ticket.intake.get("url") or ticket.intake.get("path") or ""))
    if form not in tables.FORMATS and not (many and forms.CSV in REGISTRY[canonical(kind)].can.folders):
        return cast("ByteIntake", _open("intake", kind, ticket, spool, keys))
    opener = _module(kind, "intake").open_files
    files, key = opener(ticket, keys) if REGISTRY[canonical(kind)].can.credentials else opener(ticket)
    return tables.TableIntake(files, key, str(form)) if form in tables.FORMATS else ManyFiles(files, key)


def open_output(ticket: RunTicket, spool: Spool, keys: Keys = no_keys) -> Output:
    """Open the run's target, as `open_intake` does. Raises InvalidRequest, SetupError, OutputError."""
    kind = ticket.output["type"]
    if not ticket.output.get("partitionColumns"):
        return cast("Output", _open("output", kind, ticket, spool, keys))
    if kind == "filesystem":
        root = ticket.output.get("root")
        disk = DiskFolder(None if root is None else str(root), ticket)
        return FolderOutput(disk, str(ticket.output["path"]), ticket, spool)
    uploads, key = _module(kind, "output").open_uploads(ticket, keys)
    return FolderOutput(StoreFolder(uploads, ticket, spool), key, ticket, spool)


def open_errors(ticket: RunTicket, spool: Spool) -> Output | None:
    """Open the list of the run's failed rows, None when it keeps none. Raises InvalidRequest, OutputError."""
    if ticket.errors_file is None:
        return None
    return cast("Output", _module(ticket.errors_file["type"], "output").open_errors(ticket, spool))


def _open(side: str, kind: str, ticket: RunTicket, spool: Spool, keys: Keys) -> Any:
    opener = getattr(_module(kind, side), f"open_{side}")
    return opener(ticket, spool, keys) if REGISTRY[canonical(kind)].can.credentials else opener(ticket, spool)


def _module(kind: str, side: str) -> ModuleType:
    entry = REGISTRY[canonical(kind)]
    if entry.module is None or not getattr(entry, _SIDES[side]):
        raise InvalidRequest(str(not_built(kind, side)), field="type")
    return import_module(f"scoreline.adapters.{entry.module}")
