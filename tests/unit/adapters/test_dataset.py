"""The file of a dataset in the spool: damaged, cut, gone, and read by several at once."""

from __future__ import annotations

import hashlib
import io

import pytest

from scoreline import adapters
from scoreline.errors import RunStopped, SourceError, SpoolError
from scoreline.spool import open_spool
from scoreline.types import Range
from tests.contract.matrix import ticket

BODY = b"x\n" + b"1\n" * 1_500_000


@pytest.fixture
def spool(tmp_path):
    return open_spool(tmp_path / "spool")


def settings(spool, **more):
    spool.put_object("datasets/1", io.BytesIO(BODY))
    digest = hashlib.sha256(BODY).hexdigest()
    return {"type": "dataset", "object": "datasets/1", "name": "rows", "bytes": len(BODY), "sha256": digest, **more}


def opened(spool, given):
    return adapters.open_intake(ticket(given, {"type": "localFile"}, spool), spool)


def test_a_flipped_byte_is_told_at_the_end(spool):
    intake = opened(spool, settings(spool))
    assert b"".join(intake.blocks(Range(), 0)) == BODY
    flipped = BODY[:-2] + b"2\n"
    spool.put_object("datasets/1", io.BytesIO(flipped))
    with pytest.raises(SourceError, match="dataset 'rows' is damaged in the spool"):
        list(intake.blocks(Range(), 0))
    assert b"".join(intake.blocks(Range(), 10)) == flipped[10:]


def test_what_is_cut_or_gone_is_told_at_once(spool):
    given = settings(spool)
    spool.put_object("datasets/1", io.BytesIO(BODY[:-1]))
    with pytest.raises(SourceError, match="missing or damaged"):
        opened(spool, given)
    spool.delete_object("datasets/1")
    with pytest.raises(SourceError, match="missing or damaged"):
        opened(spool, given)


def test_it_is_cut_while_it_is_read(spool):
    intake = opened(spool, settings(spool))
    spool.put_object("datasets/1", io.BytesIO(BODY[:-1]))
    with pytest.raises(SourceError, match="missing or damaged"):
        list(intake.blocks(Range(), 0))
    spool.delete_object("datasets/1")
    with pytest.raises(SpoolError, match="is not there"):
        list(intake.blocks(Range(), 0))


def test_parquet_is_read_anywhere_and_closed_from_outside(spool):
    from scoreline.adapters import dataset

    files, key = dataset.open_files(ticket(settings(spool, format="parquet"), {}, spool))
    [info] = files.list(key)
    assert b"".join(files.read(info, 5, 9)) == BODY[5:9]
    blocks = files.read(info)
    assert next(blocks)
    files.close()
    with pytest.raises(RunStopped, match="dataset 'rows'"):
        list(blocks)
