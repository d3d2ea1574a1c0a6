"""How batches and values travel between a scorer and our prediction server: Arrow IPC streams of one record batch.

Values are float64 columns named "0", "1", ...: the prediction, or one probability per class.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.rows import arrow

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


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


def encode_values(values: npt.NDArray[np.float64]) -> pa.Buffer:
    """Return float64 [rows, outputs] as an IPC stream."""
    columns = [arrow.numbers(values[:, index]) for index in range(values.shape[1])]
    return encode(pa.RecordBatch.from_arrays(columns, [str(index) for index in range(len(columns))]))


def decode_values(body: bytes | pa.Buffer) -> npt.NDArray[np.float64]:
    """Return float64 [rows, outputs]. Raises ValueError for what `encode_values` does not make."""
    batch = decode(body)
    if not batch.num_columns or any(column.type != pa.float64() for column in batch.columns):
        raise ValueError("columns that are not float64")
    values = np.empty((batch.num_rows, batch.num_columns))
    for index, column in enumerate(batch.columns):
        values[:, index] = arrow.values(column)
    return values
