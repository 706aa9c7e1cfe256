"""Control messages, sealed and open, and input (gamestream sections 8, 10 and 11)."""

from __future__ import annotations

import struct

from punktfunk.errors import CryptoError
from punktfunk.gamestream import control
from punktfunk.gamestream.control_cipher import ControlCipher
from punktfunk.gamestream.input import PLACES, EnableHaptics, InputDecoder, Magic
from punktfunk.gamestream.input_encoder import encode
from punktfunk.input import (
    BatteryState,
    Contact,
    InputEvent,
    InputKind,
    Lightbar,
    MotionWanted,
    PadArrival,
    PadBattery,
    PadButtons,
    PadCapability,
    PadModel,
    PadMotion,
    PadReport,
    PadSensor,
    PadTouch,
    Rumble,
    SurfaceSize,
    Tool,
    TriggerEffect,
    TriggerRumble,
)
from tests.fuzz.target import Target, chunked, chunks
from tests.support.gamestream_input import held

KEY = bytes(range(16))
KEYS = (InputKind.KEY_DOWN, InputKind.KEY_UP)


def messages(data: bytes) -> bool:
    """Each message, by its first byte of a client or a host, is something or counted, and is the same written again."""
    understood = True
    for chunk in chunks(data):
        of_host, inner = bool(chunk[:1] and chunk[0] & 1), chunk[1:]
        if of_host:
            read = control.decode_from_host(inner)
            for one in read if isinstance(read, tuple) else (read,):
                if isinstance(one, control.Ignored):
                    understood = False
                    continue
                again = control.decode_from_host(control.encode_from_host(one) or b"")
                assert again == ((one,) if isinstance(one, TriggerEffect) else one)
            continue
        said = control.decode_from_client(inner)
        if isinstance(said, control.Ignored):
            understood = False
        else:
            assert control.decode_from_client(control.encode_from_client(said)) == said
    return understood


def sealed(data: bytes) -> bool:
    """Nothing is opened that was not sealed; what is sealed is opened once, and not when it was changed."""
    understood = False
    for v2 in (True, False):
        host, client = (ControlCipher(KEY, end, v2=v2) for end in ("host", "client"))
        mine = client.seal(data[:4096])
        for attempt in (data, mine, mine, mine[:-1]):
            try:
                inner = host.open(attempt)
            except CryptoError:
                continue
            assert attempt in (mine, SEALED)
            understood = understood or attempt == data
            if attempt == mine:
                assert inner == data[:4096]
    return understood


def events(data: bytes) -> bool:
    """Input of one client: events in their ranges that mean the same when they are written again, or counted."""
    decoder, understood = InputDecoder(), True
    for payload in chunks(data):
        read = decoder.decode(payload)
        if isinstance(read, control.Ignored):
            assert read.reason in {"short", "unknown_input", "meaningless_input"}
            understood = False
            continue
        assert len(read) <= 64
        for event in read:
            held(event)
            _means_the_same(event)
    return understood


def _means_the_same(event: object) -> None:
    if isinstance(event, InputEvent) and (
        event.kind in KEYS or (event.kind is InputKind.TEXT and not event.code)
    ):
        return  # what a key is depends on those before it; a zero ends a text
    if isinstance(event, EnableHaptics | PadReport) or not isinstance(
        event, InputEvent | PadArrival | PadMotion | PadTouch | PadBattery
    ):
        return
    assert InputDecoder().decode(encode(event)) == (event,)


FINGER = Contact(Tool.FINGER, 0.5, None, 0.25, 0.5, 90)
PEN = Contact(Tool.PEN, None, 0.5, 0.25, 0.5, 90, 45)
TOUCHED = SurfaceSize(PLACES, PLACES)
EVENTS = (
    InputEvent(InputKind.MOUSE_MOVE, x=-3, y=300),
    InputEvent(InputKind.MOUSE_ABSOLUTE, 0, 10, 20, SurfaceSize(1920, 1080)),
    InputEvent(InputKind.BUTTON_DOWN, 1),
    InputEvent(InputKind.SCROLL, 0, 120),
    InputEvent(InputKind.SCROLL, 1, -120),
    InputEvent(InputKind.KEY_DOWN, 0x41),
    InputEvent(InputKind.KEY_UP, 0x41),
    InputEvent(InputKind.TEXT, 0x20AC),
    InputEvent(InputKind.TOUCH_DOWN, 7, 1, 2, TOUCHED, contact=FINGER),
    InputEvent(InputKind.TOUCH_HOVER, 0, 1, 2, TOUCHED, contact=PEN),
    EnableHaptics(),
    PadArrival(2, PadModel.PLAYSTATION, PadCapability.RUMBLE, PadButtons.A),
    PadReport(2, PadButtons.A | PadButtons.Y, (1, -2, 3, -4, 5, 6)),
    PadMotion(2, PadSensor.GYROSCOPE, 1.0, 0.0, -1.0),
    PadTouch(2, 0, 1, InputKind.TOUCH_DOWN, 0.5, 0.5, 1.0),
    PadBattery(2, BatteryState.UNKNOWN, None),
)
SAID = (
    *map(
        control.encode_from_client,
        (control.IdrRequest(), control.StartB(), control.Ping(), control.Input(b"1")),
    ),
    control.encode_from_client(control.Invalidate(1, 2)),
    control.encode_from_client(control.LongTermAck(3)),
    control.encode_from_client(control.FecStatus(1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1)),
)
TOLD = (
    Rumble(1, 2, 3),
    TriggerRumble(1, 2, 3),
    MotionWanted(1, PadSensor.GYROSCOPE, 100),
    Lightbar(1, 2, 3, 4),
    TriggerEffect(1, 0, bytes(range(11))),
    control.Termination(),
    control.HdrMode(True, control.HdrMetadata((1, 2), max_luminance=1000)),
)
SEALED = ControlCipher(KEY, "client", v2=True).seal(b"what a client says")
MAGICS = tuple(struct.pack("<I", magic) for magic in Magic)
TYPES = tuple(struct.pack("<H", kind) for kind in control.Type)

TARGETS = (
    Target(
        "control_messages",
        messages,
        lambda: [
            chunked(*(b"\0" + said for said in SAID)),
            chunked(*(b"\1" + (control.encode_from_host(told) or b"") for told in TOLD)),
        ],
        TYPES,
        longest=1024,
    ),
    Target("control_sealed", sealed, lambda: [SEALED], (b"\x01\x00",), longest=1024),
    Target(
        "input",
        events,
        lambda: [chunked(*map(encode, EVENTS)), *(chunked(encode(event)) for event in EVENTS)],
        (*MAGICS, *(struct.pack("<f", number) for number in (float("nan"), float("inf"), 1.0, -0.0))),
        longest=1024,
    ),
)
