"""Multipart uploads: a part counts when it is complete, the old one until then, and the marker fixes them all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from scoreline.errors import Conflict, InvalidRequest
from scoreline.spool import Part, Spool, finalise, finalised, part_writer, parts

JOB = "abc"


def send(spool: Spool, number: int, body: bytes, *, replace: bool = True) -> Part:
    with part_writer(spool, JOB, number) as writer:
        writer.write(body)
        return writer.finish(replace=replace)


def content(spool: Spool, part: Part) -> bytes:
    return b"".join(spool.reader(part.stream).blocks())


def test_parts_in_any_order_and_finalise(spool: Spool) -> None:
    for number in (10, 2, 0, 1, *range(3, 10)):
        send(spool, number, b"part %d" % number)
    assert list(parts(spool, JOB)) == list(range(11))
    assert finalised(spool, JOB) is None
    done = finalise(spool, JOB)
    assert [content(spool, part) for part in done] == [b"part %d" % number for number in range(11)]
    assert done[2].sha256 == hashlib.sha256(b"part 2").hexdigest()
    assert done[2].size == 6
    assert finalise(spool, JOB) == finalised(spool, JOB) == done
    spool.delete_stream(f"uploads/{JOB}")
    assert parts(spool, JOB) == {}
    assert spool.blobs.list("uploads") == []


def test_old_part_stays_until_the_new_one_is_complete(spool: Spool) -> None:
    old = send(spool, 0, b"old")
    with part_writer(spool, JOB, 0) as writer:
        writer.write(b"half of the ne")
    assert parts(spool, JOB) == {0: old}
    new = send(spool, 0, b"new")
    assert parts(spool, JOB) == {0: new}
    assert content(spool, new) == b"new"
    assert content(spool, old) == b"old"  # somebody may be about to finalise with it
    assert finalise(spool, JOB) == (new,)
    assert not spool.reader(old.stream).complete()


def test_part_that_may_be_scored_cannot_change(spool: Spool) -> None:
    old = send(spool, 0, b"old", replace=False)
    assert send(spool, 0, b"old", replace=False) == old
    with pytest.raises(Conflict, match="Part 0"):
        send(spool, 0, b"new", replace=False)
    assert content(spool, parts(spool, JOB)[0]) == b"old"
    assert len([key for key in spool.blobs.list("uploads") if key.endswith("manifest.json")]) == 1


def test_refused_part_is_dropped(spool: Spool) -> None:
    def check(blocks: Iterator[bytes]) -> None:
        assert b"".join(blocks) == b"a,b\n1,"
        raise InvalidRequest("Part 0 ends inside a row.")

    with part_writer(spool, JOB, 0) as writer:
        writer.write(b"a,b\n1,")
        with pytest.raises(InvalidRequest, match="inside a row"):
            writer.finish(replace=True, check=check)
    assert parts(spool, JOB) == {}
    assert spool.blobs.list("uploads") == [f"uploads/{JOB}/part-0.begun"]


def test_finalise_names_what_is_missing(spool: Spool) -> None:
    with pytest.raises(InvalidRequest, match="No data"):
        finalise(spool, JOB)
    send(spool, 1, b"x")
    send(spool, 4, b"x")
    with pytest.raises(InvalidRequest, match="missing from the upload: 0, 2, 3;"):
        finalise(spool, JOB)
    assert finalised(spool, JOB) is None


def test_the_loss_of_the_last_part_is_noticed(spool: Spool) -> None:
    """Nothing but its beginning says that there was to be another part."""
    send(spool, 0, b"x")
    with part_writer(spool, JOB, 1) as writer:
        writer.write(b"half")
    with pytest.raises(InvalidRequest, match="missing from the upload: 1;"):
        finalise(spool, JOB)
    send(spool, 1, b"whole")
    assert [part.size for part in finalise(spool, JOB)] == [1, 5]


def test_of_two_who_finalise_at_once_one_decides(spool: Spool, monkeypatch) -> None:
    """Between the look at the parts and the marker another one finalises, with a later attempt of a part."""
    put, others = spool.put_marker_once, []
    send(spool, 0, b"old")

    def late(name: str, body: bytes) -> bool:
        monkeypatch.undo()
        send(spool, 0, b"newer")
        others.append(finalise(spool, JOB))
        return put(name, body)

    monkeypatch.setattr(spool, "put_marker_once", late)
    assert finalise(spool, JOB) == others[0] == finalised(spool, JOB)
    assert content(spool, others[0][0]) == b"newer"
