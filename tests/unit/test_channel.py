"""The worker channel: typed messages, descriptors, and the end of either side."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, make_dataclass
from enum import StrEnum
from typing import Any

import pytest

from punktfunk.client import messages as client_work
from punktfunk.desktop import messages as desktop_messages
from punktfunk.errors import ConfigError, SessionClosedError
from punktfunk.host.stream import messages as host_work
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.process.channel import Channel
from punktfunk.units import Mode
from tests.support.client_order import RECEIVE


@dataclass(frozen=True, slots=True)
class Stranger:
    """Not in any vocabulary."""


class Colour(StrEnum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Pen:
    """A value that is a dataclass itself."""

    colour: Colour
    width: int


@dataclass(frozen=True, slots=True)
class Nested:
    """A message of all that can be in one."""

    pen: Pen | None
    colour: Colour
    plain: dict[str, int]
    several: list[int] | None = None


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


def test_what_is_offered_to_who_does_not_read_is_not_taken_and_what_was_taken_arrives() -> None:
    ours, theirs = pair()
    taken = 0
    while ours.offer(host_work.UseBitrate(taken)):
        taken += 1
    assert [theirs.receive() for _ in range(taken)] == [(host_work.UseBitrate(n), []) for n in range(taken)]
    assert ours.offer(host_work.UseBitrate(taken))
    theirs.close()
    with pytest.raises(SessionClosedError):
        ours.offer(host_work.UseBitrate(0))
    ours.close()


@pytest.mark.parametrize("vocabulary", [client_work.VOCABULARY, desktop_messages.VOCABULARY])
@pytest.mark.parametrize(
    "event",
    [
        InputEvent(InputKind.KEY_DOWN, 0x41),
        InputEvent(InputKind.MOUSE_ABSOLUTE, 0, -1, 2**31 - 1, SurfaceSize(65535, 1)),
        InputEvent(InputKind.PAD_AXIS, 5, 255, pad=15),
    ],
)
def test_an_input_event_passes_as_it_is(vocabulary: Iterable[type[Any]], event: InputEvent) -> None:
    ours, theirs = (Channel(end, vocabulary) for end in Channel.pair())
    ours.send(event)
    received = theirs.receive()
    assert received == (event, [])
    assert isinstance(received[0].kind, InputKind)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (host_work.VOCABULARY, host_work.UseMode(Mode(2, 8192, 1000), {"kind": "testcard"})),
        (host_work.VOCABULARY, host_work.ModeOutcome(True, Mode(8192, 2, 1))),
        (client_work.VOCABULARY, RECEIVE),
        (desktop_messages.VOCABULARY, desktop_messages.ChangeOutput(1, "HEADLESS-1", Mode(640, 480, 60))),
    ],
)
def test_a_mode_passes_as_it_is(vocabulary: Iterable[type[Any]], message: Any) -> None:
    ours, theirs = (Channel(end, vocabulary) for end in Channel.pair())
    ours.send(message)
    received = theirs.receive()
    assert received == (message, [])
    assert isinstance(received[0].mode, Mode)
    ours.close()
    theirs.close()


def test_values_come_out_as_what_their_field_is_declared_as() -> None:
    ours, theirs = (Channel(end, [Nested]) for end in Channel.pair())
    sent = [
        Nested(Pen(Colour.RED, 1), Colour.BLUE, {"width": 2}),
        Nested(None, Colour.RED, {}, [1, 2]),
    ]
    for message in sent:
        ours.send(message)
    received = [theirs.receive() for _ in sent]
    assert received == [(message, []) for message in sent]
    assert received[0] is not None
    assert isinstance(received[0][0].pen.colour, Colour)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "hint",
    [list[Pen], tuple[Colour, ...], dict[str, Pen], Pen | int, Pen | Colour | None, list[Pen | None] | None],
)
def test_a_field_that_would_come_out_as_something_else_is_a_defect(hint: Any) -> None:
    ours, theirs = Channel.pair()
    with pytest.raises(TypeError, match="would not come out of a channel as it went in"):
        Channel(ours, [make_dataclass("Message", [("field", hint)])])
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


@pytest.mark.parametrize("length", [1 << 17, 1 << 20])
def test_a_message_that_the_other_end_would_not_read_whole_is_not_sent(length: int) -> None:
    ours, theirs = pair()
    with pytest.raises(ConfigError, match="131072 bytes"):
        ours.send(host_work.Prepare({"long": "x" * length}))
    longest = (1 << 17) - len('{"message": "Prepare", "spec": {"long": ""}}')
    ours.send(host_work.Prepare({"long": "x" * longest}))
    received = theirs.receive()
    assert received is not None
    assert received[0].spec == {"long": "x" * longest}
