"""How batches and values travel between a scorer and our prediction server: Arrow IPC streams of one record batch.

Values are float64 columns named "0", "1", ...: the prediction, or one probability per class or label. Generated text is
the column "text"; what a model gives beside its predictions are columns "extra:NAME" of texts, numbers or truth values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from scoreline.rows import arrow
from scoreline.types import Scores

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_TEXT = "text"
_EXTRA = "extra:"
_KINDS = (pa.string(), pa.float64(), pa.int64(), pa.bool_())


def encode(batch: pa.RecordBatch) -> pa.Buffer:
    """Return one batch as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode(body: bytes | pa.Buffer) -> pa.RecordBatch:
    """Return the one batch of an IPC stream; nothing is copied. Raises ValueError for anything else."""
    try:
        batches = list(pa.ipc.open_stream(body))
        for batch in batches:
            batch.validate()
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise ValueError(str(error)) from error
    if len(batches) != 1:
        raise ValueError(f"{len(batches)} record batches instead of one")
    return batches[0]


def encode_scores(scores: Scores, extra: Sequence[str] = ()) -> pa.Buffer:
    """Return scores as an IPC stream; `extra`: the names of the columns beside the predictions."""
    values = scores.values
    columns = [arrow.numbers(values[:, index]) for index in range(values.shape[1])]
    names = [str(index) for index in range(len(columns))]
    if scores.text is not None:
        columns, names = [*columns, scores.text], [*names, _TEXT]
    columns += scores.extra
    names += [_EXTRA + name for name in extra]
    return encode(pa.RecordBatch.from_arrays(columns, names))


def decode_scores(body: bytes | pa.Buffer, extra: Sequence[str] = ()) -> Scores:
    """Return scores with the columns `extra` beside the predictions.

    Raises ValueError for what `encode_scores` does not make, and when one of those columns is missing.
    """
    batch = decode(body)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    beside = {name: columns.pop(name) for name in list(columns) if name.startswith(_EXTRA)}
    text = columns.pop(_TEXT, None)
    if batch.num_columns != len(columns) + len(beside) + (text is not None):
        raise ValueError("two columns of one name")
    if any(column.type != pa.float64() for column in columns.values()) or (not columns and text is None):
        raise ValueError("columns that are not float64")
    if text is not None and text.type != pa.string():
        raise ValueError("a text column that is not text")
    values = np.empty((batch.num_rows, len(columns)))
    for index, column in enumerate(columns.values()):
        values[:, index] = arrow.values(column)
    for name in extra:
        if _EXTRA + name not in beside or beside[_EXTRA + name].type not in _KINDS:
            raise ValueError(f"no column {name!r} of texts or numbers beside the predictions")
    return Scores(values, text, tuple(beside[_EXTRA + name] for name in extra))
