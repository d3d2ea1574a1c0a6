"""Which form an output's settings ask for."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from scoreline.errors import InvalidRequest
from scoreline.rows import forms
from scoreline.rows.partitions import PartitionedForm
from scoreline.types import CsvDialect, JsonObject


def open_form(
    settings: JsonObject, names: Sequence[str], types: Sequence[pa.DataType], dialect: CsvDialect
) -> forms.Form:
    """Return the form that an output's settings ask for: `format`, CSV if absent, `compression`, `partitionColumns`.

    Raises InvalidRequest for a form that does not exist.
    """
    name = settings.get("format") or forms.CSV
    compression = settings.get("compression") or forms.COMPRESSIONS.get(name, ("",))[0]
    if name not in forms.WRITTEN or compression not in forms.COMPRESSIONS[name]:
        raise InvalidRequest(
            f"There is no output format {name!r} with the compression {compression!r}.", "outputSettings.format"
        )
    partition = settings.get("partitionColumns")
    if partition:
        kinds = types if name != forms.CSV else [pa.string()] * len(names)
        return PartitionedForm(pa.schema(list(zip(names, kinds, strict=True))), partition, typed=name != forms.CSV)
    if name == forms.CSV:
        return forms.CsvForm(names, dialect, compression)
    schema = pa.schema(list(zip(names, types, strict=True)))
    if name == forms.JSON_LINES:
        return forms.JsonLinesForm(schema, compression)
    if name == forms.ARROW:
        return forms.ArrowForm(schema, compression)
    from scoreline.rows.parquet import ParquetForm  # noqa: PLC0415 -- not needed by most runs

    return ParquetForm(schema, compression)
