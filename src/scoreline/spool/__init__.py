"""Staged bytes: uploads on their way in, results on their way out, model artefacts by hash.

A stream is a row of immutable segments (`segments.py` says what a segment is) and ends with a manifest, or with a
marker that it is broken. Everything is a blob with a name below a prefix, written whole or not at all, so that the
same works on a local folder (`folder.py`) and in an object store (`bucket.py`).

    uploads/<job>/<sender>          one upload                   uploads/<job>/part-<n>...   a multipart upload
    results/<job>                   a result; what may be read of it is said by the job's ledger until its manifest
    errors/<job>                    the failed rows of a job, as a result
    artifacts/<sha256>.tar          a model artefact
    datasets/<version>              a dataset's file, as it came
    staged/<job>, parts/<job>       what waits for a store to write it to, or for its turn in the output
"""

from scoreline.spool.matching import Matching, OtherBytes
from scoreline.spool.multipart import Part, PartWriter, finalise, finalised, part_writer, parts
from scoreline.spool.opening import open_spool, spool_of
from scoreline.spool.reader import SegmentReader, WaitState
from scoreline.spool.segments import Manifest, Segment
from scoreline.spool.spool import Spool
from scoreline.spool.writer import SegmentWriter

__all__ = [
    "Manifest",
    "Matching",
    "OtherBytes",
    "Part",
    "PartWriter",
    "Segment",
    "SegmentReader",
    "SegmentWriter",
    "Spool",
    "WaitState",
    "finalise",
    "finalised",
    "open_spool",
    "part_writer",
    "parts",
    "spool_of",
]
