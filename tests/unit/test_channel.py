"""The worker channel: typed messages, descriptors, and the end of either side."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from punktfunk.client import work as client_work
from punktfunk.errors import SessionClosedError
from punktfunk.host import work as host_work
from punktfunk.process.channel import Channel


@dataclass(frozen=True, slots=True)
class Stranger:
    """Not in any vocabulary."""


def pair() -> tuple[Channel, Channel]:
    ours, theirs = Channel.pair()
    return Channel(ours, host_work.VOCABULARY), Channel(theirs, host_work.VOCABULARY)


def test_messages_keep_their_type_their_values_and_their_order() -> None:
    ours, theirs = pair()
    sent = [
        host_work.UseBitrate(9000),
        host_work.Progress({"frames_sent": 2**40}, {"send": [1, 2, 3]}, {"fps": 59.9}),
        host_work.Ready(None),
    ]
    for message in sent:
        ours.send(message)
    assert [theirs.receive() for _ in sent] == [(message, []) for message in sent]
    ours.close()
    theirs.close()


def test_a_descriptor_arrives_with_its_message() -> None:
    ours, theirs = pair()
    reading, writing = os.pipe()
    ours.send(host_work.Begin(), [writing])
    os.close(writing)
    received = theirs.receive()
    assert received is not None
    message, [descriptor] = received
    assert message == host_work.Begin()
    os.write(descriptor, b"x")
    assert os.read(reading, 1) == b"x"
    for one in (reading, descriptor):
        os.close(one)
    ours.close()
    theirs.close()


def test_the_end_of_one_side_is_the_end_of_file_at_the_other() -> None:
    ours, theirs = pair()
    ours.send(host_work.UseFec(20))
    ours.close()
    assert theirs.receive() == (host_work.UseFec(20), [])
    assert theirs.receive() is None
    with pytest.raises(SessionClosedError):
        theirs.send(host_work.Begin())
    theirs.close()


def test_a_message_outside_the_vocabulary_is_a_defect() -> None:
    ours, theirs = pair()
    with pytest.raises(TypeError, match="not in this channel's vocabulary"):
        ours.send(Stranger())
    with pytest.raises(TypeError):
        ours.send(client_work.Up())
    ours.close()
    theirs.close()
