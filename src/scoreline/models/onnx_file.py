"""What an ONNX file says about classes, read without the `onnx` package; ONNX Runtime does not show it.

Field numbers are those of onnx.proto: ModelProto.graph = 7, GraphProto.node = 1, NodeProto.attribute = 5,
AttributeProto.name = 1, ints = 8, strings = 9.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from scoreline.models import protobuf

_GRAPH, _NODE, _ATTRIBUTE, _NAME, _INTS, _STRINGS = 7, 1, 5, 1, 8, 9
_TEXT_LABELS = frozenset((b"classlabels_strings", b"classlabels_string"))
_NUMBER_LABELS = frozenset((b"classlabels_int64s", b"classlabels_ints"))


def class_labels(path: Path) -> tuple[str, ...] | None:
    """Return the labels that a classifier node names, or None. Raises ValueError for a damaged file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _read(bytes(content))


def _read(content: bytes) -> tuple[str, ...] | None:
    found: set[tuple[str, ...]] = set()
    for graph in _parts(memoryview(content), _GRAPH):
        for node in _parts(graph, _NODE):
            for attribute in _parts(node, _ATTRIBUTE):
                labels = _labels(attribute)
                if labels:
                    found.add(labels)
    # A pipeline names the same labels in several nodes; several lists are of a voting model's parts, say.
    return found.pop() if len(found) == 1 else None


def _labels(attribute: memoryview) -> tuple[str, ...]:
    names = [bytes(value) for value in _parts(attribute, _NAME)]
    if any(name in _TEXT_LABELS for name in names):
        return tuple(bytes(value).decode("utf-8", "replace") for value in _parts(attribute, _STRINGS))
    if any(name in _NUMBER_LABELS for name in names):
        return tuple(str(protobuf.signed(value)) for value in _numbers(attribute, _INTS))
    return ()


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, _kind, value in protobuf.fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _numbers(message: memoryview, wanted: int) -> Iterator[int]:
    for number, _kind, value in protobuf.fields(message):
        if number == wanted:
            if isinstance(value, memoryview):
                yield from protobuf.varints(value)
            else:
                yield value
