"""Record batches as Arrow IPC streams, the form in which front and model process exchange them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import ServerUnavailable


def encode(batch: pa.RecordBatch) -> pa.Buffer:
    """One batch as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def encode_values(values: npt.NDArray[np.float64]) -> pa.Buffer:
    """Float64 [rows, outputs] as columns named "0", "1", ..."""
    columns = [pa.array(np.ascontiguousarray(values[:, index])) for index in range(values.shape[1])]
    return encode(pa.record_batch(columns, names=[str(index) for index in range(len(columns))]))


def decode_values(body: bytes) -> npt.NDArray[np.float64]:
    """The reverse of `encode_values`. Raises ServerUnavailable for anything else."""
    try:
        batch = pa.ipc.open_stream(body).read_next_batch()
        return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns]).astype(np.float64)
    except (pa.ArrowInvalid, StopIteration, ValueError) as error:
        raise ServerUnavailable(f"A model process answered what is not Arrow ({error}); try again.") from error
