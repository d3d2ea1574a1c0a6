from __future__ import annotations

import os

import pytest

from scoreline.serving.shared import Shared, SharedPool


def test_what_is_appended_is_read_back_by_whoever_has_the_descriptor():
    with Shared() as shared:
        shared.append(b"abc")
        shared.append(memoryview(b"defg"))
        assert shared.size == 7
        os.pwrite(shared.descriptor, b"answer", shared.size)
        assert shared.read(0, 7) == b"abcdefg"
        assert shared.read(7, 6) == b"answer"
        assert shared.read(7, 0) == b""
        with pytest.raises(EOFError):
            shared.read(7, 7)
    shared.close()
    with pytest.raises(OSError):
        shared.read(0, 1)


def test_memory_is_used_again_unless_it_is_too_much_or_too_large():
    pool = SharedPool(1)
    with pool.take() as first:
        first.append(b"abc")
        descriptor = first.descriptor
        pool.give_back(first)
    with pool.take() as again, pool.take() as other:
        assert again.descriptor == descriptor
        assert again.size == 0
        assert other.descriptor != descriptor
        os.ftruncate(again.descriptor, 17 << 20)
        pool.give_back(again)
        assert again.descriptor == descriptor  # not taken
        pool.give_back(other)
        pool.give_back(again)
    pool.close()
