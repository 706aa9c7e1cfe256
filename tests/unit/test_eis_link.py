"""An EIS connection, message by message: what a server is asked for and told, and what it may do to its client."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.ei_wire import MAX_DESCRIPTORS, MAX_MESSAGE_BYTES, MAX_UNSENT_BYTES
from punktfunk.desktop.inject.eis_devices import (
    MAX_REGIONS,
    Capability,
    EisEvent,
    Happening,
    LockedModifiers,
    Region,
)
from punktfunk.desktop.inject.eis_link import MAX_OBJECTS, SocketLink
from punktfunk.desktop.inject.eis_socket_device import MAX_KEYMAP_BYTES
from punktfunk.errors import DesktopError
from tests.support.eis_server import CONNECTION, MASKS, EisServer, arguments, u32, u64

ALL = 1 << 30


@pytest.fixture
def server() -> Iterator[EisServer]:
    begun = EisServer()
    yield begun
    begun.hang_up()


@pytest.fixture
def link(server: EisServer) -> Iterator[SocketLink]:
    """A link whose server has let it in and has heard all that was said for it."""
    begun = SocketLink(server.client, "tester")
    server.greet()
    server.welcome()
    assert begun.events(ALL) == []
    server.told()
    yield begun
    begun.close()


def given(server: EisServer, link: SocketLink, *interfaces: str, **more: object) -> EisEvent:
    """Return the event by which a device of a new seat came."""
    device = server.device(server.seat(), *interfaces, **more)  # type: ignore[arg-type]
    added, resumed = link.events(ALL)
    assert (added.what, resumed.what) == (Happening.ADDED, Happening.RESUMED)
    server.told()
    assert device in server.parts
    return added


def test_a_client_says_what_it_is_before_anything_else() -> None:
    server = EisServer()
    link = SocketLink(server.client, "tester")
    server.greet()
    link.events(ALL)
    version, kind, name, *interfaces, finish = server.told()
    assert version == (0, 0, u32(1))
    assert kind == (0, 2, u32(2))  # it sends input
    assert (name[1], arguments(name[2]).text()) == (3, "tester")
    assert {arguments(body).text() for _, _, body in interfaces} >= {"ei_connection", "ei_seat", "ei_device"}
    assert finish == (0, 1, b"")
    link.close()
    server.hang_up()


def test_a_seat_is_asked_for_all_that_is_known_here(server: EisServer, link: SocketLink) -> None:
    seat = server.seat()
    link.events(ALL)
    known = sum(MASKS.values()) - MASKS["ei_of_the_future"]
    assert server.told() == [(seat, 1, u64(known))]
    assert link.bound == sum(Capability)


def test_the_next_seat_is_asked_when_the_first_goes(server: EisServer, link: SocketLink) -> None:
    first, second = server.seat("ei_pointer"), server.seat("ei_keyboard")
    link.events(ALL)
    assert server.told() == [(first, 1, u64(MASKS["ei_pointer"]))]
    server.tell(first, 0, u32(9))
    link.events(ALL)
    assert server.told() == [(second, 1, u64(MASKS["ei_keyboard"]))]
    assert link.bound == Capability.KEYBOARD


def test_a_device_is_told_with_its_regions_and_keymap(server: EisServer, link: SocketLink) -> None:
    regions = ((0, 0, 1280, 720, "one"), (1280, 0, 800, 600, None), (0, 0, 0, 5, None))
    added = given(
        server, link, "ei_pointer_absolute", "ei_keyboard", "ei_new", regions=regions, keymap=b"xkb\0"
    )
    assert added.device.capabilities == Capability.ABSOLUTE | Capability.KEYBOARD
    assert added.device.regions == [
        Region(Rect(0, 0, 1280, 720), "one"),
        Region(Rect(1280, 0, 800, 600), None),
    ]
    assert (added.device.keymap, added.device.name) == (b"xkb", "a device")


def test_what_devices_do_is_sent_with_a_frame_each(server: EisServer, link: SocketLink) -> None:
    everything = [each for each in MASKS if each != "ei_of_the_future"]
    device = given(server, link, *everything).device
    [(number, parts)] = server.parts.items()
    device.start()
    device.key(30, down=True)
    device.button(0x110, down=False)
    device.move_by(1.5, -2)
    device.move_to(10, 20)
    device.scroll(0, -120)
    device.scroll_smoothly(2.5, 0)
    device.type("ä")
    device.touch_down(3, 1, 2)
    device.touch_move(3, 4, 5)
    device.touch_up(3, cancel=True)
    device.touch_up(4, cancel=False)
    device.stop()
    start, *sent, stop = server.told()
    assert start == (number, 1, u32(8, 1))  # the serial of the last event, and the first emulation
    assert stop == (number, 2, u32(8))
    assert [(one, opcode) for one, opcode, _ in sent[1::2]] == [(number, 3)] * 11
    stamps = [struct.unpack("=IQ", body) for _, _, body in sent[1::2]]
    assert all(serial == 8 for serial, _ in stamps)
    assert sorted(stamps) == stamps
    assert sent[0::2] == [
        (parts["ei_keyboard"], 1, u32(30, 1)),
        (parts["ei_button"], 1, u32(0x110, 0)),
        (parts["ei_pointer"], 1, struct.pack("=ff", 1.5, -2)),
        (parts["ei_pointer_absolute"], 1, struct.pack("=ff", 10, 20)),
        (parts["ei_scroll"], 2, struct.pack("=ii", 0, -120)),
        (parts["ei_scroll"], 1, struct.pack("=ff", 2.5, 0)),
        (parts["ei_text"], 2, u32(3) + "ä".encode() + b"\0\0"),
        (parts["ei_touchscreen"], 1, struct.pack("=Iff", 3, 1, 2)),
        (parts["ei_touchscreen"], 2, struct.pack("=Iff", 3, 4, 5)),
        (parts["ei_touchscreen"], 4, u32(3)),
        (parts["ei_touchscreen"], 3, u32(4)),
    ]


def test_a_server_that_knows_no_cancelling_hears_of_a_lifted_finger(
    server: EisServer, link: SocketLink
) -> None:
    device = given(server, link, "ei_touchscreen", touch_version=1).device
    device.touch_up(3, cancel=True)
    assert server.told()[0][1] == 3


def test_each_emulation_has_a_higher_number(server: EisServer, link: SocketLink) -> None:
    device = given(server, link, "ei_pointer").device
    for _ in range(3):
        device.start()
        device.stop()
    starts = [body for _, opcode, body in server.told() if opcode == 1]
    assert starts == [u32(8, number) for number in (1, 2, 3)]


def test_what_a_device_cannot_do_is_not_sent(server: EisServer, link: SocketLink) -> None:
    device = given(server, link, "ei_pointer").device
    device.key(30, down=True)
    assert server.told() == []


def test_devices_pause_come_back_and_go(server: EisServer, link: SocketLink) -> None:
    added = given(server, link, "ei_keyboard")
    [(device, parts)] = server.parts.items()
    server.tell(device, 8, u32(10))
    server.tell(device, 7, u32(11))
    server.tell(parts["ei_keyboard"], 3, u32(12, 1, 2, 16, 1))  # depressed, locked, latched, group
    server.tell(device, 0, u32(13))
    server.tell(device, 7, u32(14))  # of a device that is gone
    happened = link.events(ALL)
    assert [event.what for event in happened] == [
        Happening.PAUSED,
        Happening.RESUMED,
        Happening.MODIFIERS,
        Happening.REMOVED,
    ]
    assert all(event.device is added.device for event in happened)
    assert happened[2].modifiers == LockedModifiers(2 | 16, 1)


def test_a_device_that_goes_before_it_was_described_never_was(server: EisServer, link: SocketLink) -> None:
    server.tell(CONNECTION, 1, u64(seat := server.number()) + u32(1))
    server.tell(seat, 4, u64(device := server.number()) + u32(2))
    server.tell(device, 0, u32(9))
    assert link.events(ALL) == []


def test_a_part_of_a_device_that_goes_is_used_no_more(server: EisServer, link: SocketLink) -> None:
    device = given(server, link, "ei_keyboard", "ei_pointer").device
    [parts] = server.parts.values()
    server.tell(parts["ei_keyboard"], 0, u32(9))
    link.events(ALL)
    assert device.capabilities == Capability.POINTER
    device.key(30, down=True)
    assert server.told() == []


def test_what_a_server_tells_is_taken_in_portions(server: EisServer, link: SocketLink) -> None:
    given(server, link, "ei_pointer")
    [device] = server.parts
    for serial in range(5):
        server.tell(device, 8 if serial % 2 else 7, u32(serial))
    assert [(len(link.events(2)), link.pending) for _ in range(3)] == [(2, True), (2, True), (1, False)]
    assert link.events(2) == []


def test_a_ping_is_answered(server: EisServer, link: SocketLink) -> None:
    server.tell(CONNECTION, 3, u64(99) + u32(1))
    link.events(ALL)
    assert server.told() == [(99, 0, u64(0))]


def test_leaving_is_announced(server: EisServer, link: SocketLink) -> None:
    link.close()
    assert server.told() == [(CONNECTION, 1, b"")]


def test_the_reason_of_a_server_that_ends_the_connection_is_passed_on(
    server: EisServer, link: SocketLink
) -> None:
    words = b"\x1b[31mno" + b"\0"
    server.tell(CONNECTION, 0, u32(0, 3, len(words)) + words)
    with pytest.raises(DesktopError, match=r"reason 3") as raised:
        link.events(ALL)
    assert "\x1b" not in raised.value.cause


def _whole_conversation(server: EisServer) -> None:
    server.greet()
    server.welcome()
    device = server.device(
        server.seat(), "ei_pointer_absolute", "ei_keyboard", regions=((0, 0, 9, 9, "m"),), keymap=b"k\0"
    )
    server.tell(device, 0, u32(9))


def test_a_server_may_hang_up_at_any_byte() -> None:
    spoken: list[bytes] = []
    server = EisServer()
    server.overheard = spoken.append
    _whole_conversation(server)
    whole = b"".join(spoken)
    for length in range(0, len(whole) + 1, 7):
        other = EisServer()
        link = SocketLink(other.client, "tester")
        other.raw(whole[:length])
        other.hang_up()
        assert "closed its input connection" in _end_of(link), length
        link.close()
    server.end()


def _end_of(link: SocketLink) -> str:
    """Return why a connection ended."""
    try:
        while True:
            link.events(ALL)
    except DesktopError as error:
        return error.cause


def test_nothing_that_a_server_sends_does_more_than_end_the_connection() -> None:
    dice = random.Random(11)
    ended = 0
    for _ in range(150):
        server = EisServer()
        link = SocketLink(server.client, "tester")
        server.greet()
        server.welcome()
        seat = server.seat()
        device = server.device(seat, "ei_keyboard", keymap=b"k\0")
        known = [0, CONNECTION, seat, device, *server.parts[device].values()]
        try:
            for _ in range(20):
                body = dice.choice((dice.randbytes(dice.randrange(40)), u32(*[dice.randrange(40)] * 9)))
                server.tell(dice.choice(known), dice.randrange(14), body)
            while link.events(ALL):
                pass
        except DesktopError:
            ended += 1
        link.close()
        server.hang_up()
    assert 0 < ended < 150


@pytest.mark.parametrize("length", [0, 15, MAX_MESSAGE_BYTES + 1, 0xFFFFFFFF])
def test_a_message_of_no_possible_length_ends_the_connection(
    server: EisServer, link: SocketLink, length: int
) -> None:
    server.raw(struct.pack("=QII", CONNECTION, length, 1))
    with pytest.raises(DesktopError, match="understood"):
        link.events(ALL)


def test_a_server_has_no_more_objects_than_there_is_room_for(server: EisServer, link: SocketLink) -> None:
    for number in range(MAX_OBJECTS - 1):  # the connection is one
        server.tell(CONNECTION, 1, u64(1000 + number) + u32(1))
        link.events(ALL)
    server.tell(CONNECTION, 1, u64(9) + u32(1))
    with pytest.raises(DesktopError, match="too many"):
        link.events(ALL)


def test_a_device_has_no_more_regions_than_there_is_room_for(server: EisServer, link: SocketLink) -> None:
    regions = tuple((0, 0, 5, 5, None) for _ in range(MAX_REGIONS + 5))
    assert len(given(server, link, "ei_pointer_absolute", regions=regions).device.regions) == MAX_REGIONS


@pytest.mark.parametrize(
    ("size", "kind"), [(0, 1), (MAX_KEYMAP_BYTES + 1, 1), (0xFFFFFFFF, 1), (4, 2)], ids=str
)
def test_a_keymap_of_no_possible_size_is_none(
    server: EisServer, link: SocketLink, size: int, kind: int
) -> None:
    server.tell(CONNECTION, 1, u64(seat := server.number()) + u32(1))
    server.tell(seat, 4, u64(device := server.number()) + u32(2))
    server.tell(device, 5, u64(keyboard := server.number()) + u32(12) + b"ei_keyboard\0" + u32(1))
    server.keymap(keyboard, b"xkb\0", size, kind)
    server.tell(device, 6)
    [added] = link.events(ALL)
    assert (added.device.capabilities, added.device.keymap) == (Capability.KEYBOARD, None)
    assert _descriptors("/memfd:keymap") == 0


def test_a_keymap_that_is_shorter_than_it_says_is_read_as_far_as_it_goes(
    server: EisServer, link: SocketLink
) -> None:
    server.tell(CONNECTION, 1, u64(seat := server.number()) + u32(1))
    server.tell(seat, 4, u64(device := server.number()) + u32(2))
    server.tell(device, 5, u64(keyboard := server.number()) + u32(12) + b"ei_keyboard\0" + u32(1))
    server.keymap(keyboard, b"xkb\0", 1 << 16)
    server.tell(device, 6)
    [added] = link.events(ALL)
    assert added.device.keymap == b"xkb"
    assert _descriptors("/memfd:keymap") == 0


def test_descriptors_that_nobody_asked_for_are_closed(server: EisServer, link: SocketLink) -> None:
    for _ in range(MAX_DESCRIPTORS + 4):
        with Path("/dev/full").open("wb") as file:
            server.tell(CONNECTION, 2, u32(0) + u64(1), file.fileno())
        link.events(ALL)
        assert _descriptors("/dev/full") <= MAX_DESCRIPTORS
    link.close()
    assert _descriptors("/dev/full") == 0


def _descriptors(name: str) -> int:
    """Return how many descriptors of this process are of that file."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found += str(path.readlink()).startswith(name)
    return found


def test_a_server_that_does_not_read_keeps_nobody_waiting_and_is_given_up(
    server: EisServer, link: SocketLink
) -> None:
    device = given(server, link, "ei_pointer").device
    sent = 0

    def move_for_ever() -> None:
        nonlocal sent
        while sent < MAX_UNSENT_BYTES:
            device.move_by(1, 1)
            sent += 1

    with pytest.raises(DesktopError, match="does not read"):
        move_for_ever()
    assert link.unsent
    assert sent > 10_000


def test_what_had_no_room_is_sent_once_the_server_reads(server: EisServer, link: SocketLink) -> None:
    device = given(server, link, "ei_pointer").device
    sent = 0
    while not link.unsent or sent % 15_000:  # more than there is room for at once
        device.move_by(sent, 0)
        sent += 1
    moves = []
    while len(moves) < sent:
        moves += [body for _, _, body in server.told() if len(body) == 8]
        link.flush()
    assert not link.unsent
    assert moves == [struct.pack("=ff", number, 0) for number in range(sent)]


def test_a_descriptor_that_is_no_socket_is_refused_and_closed() -> None:
    reading, writing = os.pipe()
    with pytest.raises(DesktopError, match="no socket"):
        SocketLink(reading, "tester")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)
    os.close(writing)


def test_a_device_that_is_described_again_and_again_comes_once(server: EisServer, link: SocketLink) -> None:
    device = given(server, link, "ei_keyboard").device
    number = next(number for number, handler in link._handlers.items() if handler == device.handle)
    for _ in range(100):
        server.tell(number, 6)
    assert link.events(ALL) == [], "each would have its keymap read"


@pytest.mark.parametrize("of_seat", [False, True], ids=["a seat", "a device"])
def test_a_number_that_is_given_twice_ends_the_connection(
    server: EisServer, link: SocketLink, of_seat: bool
) -> None:
    seat = server.seat("ei_pointer")
    link.events(ALL)
    sender, opcode = (seat, 4) if of_seat else (CONNECTION, 1)
    server.tell(sender, opcode, u64(0xFF0000000000F000) + u32(1))
    link.events(ALL)
    server.tell(sender, opcode, u64(0xFF0000000000F000) + u32(1))
    with pytest.raises(DesktopError, match="cannot be understood"):
        link.events(ALL)
