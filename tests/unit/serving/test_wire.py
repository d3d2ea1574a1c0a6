from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.serving import wire

messages = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4), max_size=6)


@given(messages, st.lists(st.integers(1, 40), max_size=60))
def test_messages_survive_any_cuts(sent, cuts):
    stream = b"".join(map(wire.pack, sent))
    unpacker, got, start = wire.Unpacker(), [], 0
    for cut in cuts:
        got += unpacker.feed(stream[start : start + cut])
        start += cut
    got += unpacker.feed(stream[start:])
    assert got == sent


@pytest.mark.parametrize("data", [struct.pack("!I", wire.MAX_MESSAGE + 1), struct.pack("!I", 2) + b"[]"])
def test_what_is_no_message_is_an_error(data):
    with pytest.raises(ValueError):
        list(wire.Unpacker().feed(data))


def test_a_message_too_long_is_not_sent():
    with pytest.raises(ValueError, match="longer"):
        wire.pack({"text": "x" * wire.MAX_MESSAGE})


def test_receive_takes_messages_with_and_without_descriptor_and_sees_the_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, writer = os.pipe()
        socket.send_fds(ours, [wire.pack({"n": 1})], [reader])
        ours.send(wire.pack({"n": 2}))
        first, descriptor = wire.receive(theirs)
        assert first == {"n": 1}
        os.write(writer, b"hello")
        assert os.read(descriptor, 5) == b"hello"
        assert wire.receive(theirs) == ({"n": 2}, None)
        ours.send(wire.pack({"n": 3})[:6])
        ours.close()
        assert wire.receive(theirs) is None
        for open_one in (reader, writer, descriptor):
            os.close(open_one)
