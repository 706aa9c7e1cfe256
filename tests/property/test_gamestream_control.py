"""Control messages and input of GameStream: any bytes at all, and every event both ways."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.errors import CryptoError
from punktfunk.gamestream import control
from punktfunk.gamestream import input as wire
from punktfunk.gamestream.control_cipher import MAX_INNER_BYTES, REPLAY_WINDOW, ControlCipher, ReplayWindow
from punktfunk.gamestream.input import PLACES, InputDecoder
from punktfunk.gamestream.input_encoder import encode
from punktfunk.input import (
    EFFECT_BYTES,
    MAX_PADS,
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
from tests.support.gamestream_input import held

RIKEY = bytes(range(16))
u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
i16 = st.integers(-(2**15), 2**15 - 1)
pads = st.integers(0, MAX_PADS - 1)
parts = st.integers(0, PLACES).map(lambda n: n / PLACES)
single = st.floats(width=32, allow_nan=False, allow_infinity=False)
portion = st.floats(0, 1, width=32)
pair16 = st.tuples(u16, u16)

client_messages = st.one_of(
    st.just(control.IdrRequest()),
    st.just(control.StartB()),
    st.just(control.Ping()),
    st.builds(control.Input, st.binary(max_size=100)),
    st.builds(control.Invalidate, u32, u32),
    st.builds(control.LongTermAck, u32),
    st.builds(control.LossStats, st.integers(0, 2**64 - 1)),
    st.builds(control.FecStatus, u32, *[u16] * 7, *[u8] * 3),
)
host_messages = st.one_of(
    st.builds(Rumble, u16, u16, u16),
    st.builds(TriggerRumble, u16, u16, u16),
    st.builds(MotionWanted, u16, st.sampled_from(PadSensor), u16),
    st.builds(Lightbar, u16, u8, u8, u8),
    st.builds(control.Termination, u32),
    st.builds(control.HdrMode, st.booleans(), st.builds(control.HdrMetadata, *[pair16] * 4, *[u16] * 5)),
)
pad_events = st.one_of(
    st.builds(
        PadArrival,
        pads,
        st.sampled_from([model for model in PadModel if model]),
        st.integers(0, 0x1FF).map(PadCapability),
        st.just(PadButtons.A),
    ),
    st.builds(PadMotion, pads, st.sampled_from(PadSensor), single, single, single),
    st.builds(PadTouch, pads, u8, u32, st.sampled_from(wire.TOUCH_KINDS), portion, portion, portion),
    st.builds(PadBattery, pads, st.sampled_from(BatteryState), st.none() | st.integers(0, 100)),
)
surface = st.builds(SurfaceSize, st.integers(1, 2**15 - 1), st.integers(1, 2**15 - 1))
pointer_events = st.one_of(
    st.builds(InputEvent, st.just(InputKind.MOUSE_MOVE), x=i16, y=i16),
    st.builds(InputEvent, st.sampled_from([InputKind.BUTTON_DOWN, InputKind.BUTTON_UP]), u8),
    st.builds(InputEvent, st.just(InputKind.SCROLL), st.integers(0, 1), i16),
    st.builds(InputEvent, st.just(InputKind.TEXT), st.characters(exclude_characters="\0").map(ord)),
    surface.flatmap(
        lambda s: st.builds(
            InputEvent,
            st.just(InputKind.MOUSE_ABSOLUTE),
            st.just(0),
            st.integers(0, s.width),
            st.integers(0, s.height),
            st.just(s),
        )
    ),
)


def touched(kind: InputKind, tool: Tool, pressure: float) -> Contact:
    hover = kind is InputKind.TOUCH_HOVER
    pressed = None if hover or not pressure else pressure
    return Contact(
        tool, pressed, pressure if hover else None, 0.25, 0.5, 90, None if tool is Tool.FINGER else 45
    )


touches = st.builds(
    lambda kind, tool, pointer, x, y, pressure: InputEvent(
        kind,
        pointer if tool is Tool.FINGER else 0,
        x,
        y,
        SurfaceSize(PLACES, PLACES),
        contact=touched(kind, tool, pressure),
    ),
    st.sampled_from(wire.TOUCH_KINDS),
    st.sampled_from(Tool),
    u32,
    st.integers(0, PLACES),
    st.integers(0, PLACES),
    portion,
)


@given(st.binary(max_size=200))
def test_no_bytes_are_opened_without_the_key(data: bytes) -> None:
    for v2 in (True, False):
        try:
            ControlCipher(RIKEY, "host", v2=v2).open(data)
        except CryptoError:
            continue
        raise AssertionError("opened")


@given(st.binary(max_size=300), st.booleans(), st.integers(0, 400), st.data())
def test_what_is_sealed_is_opened_once_and_nothing_else(
    inner: bytes, v2: bool, before: int, data: st.DataObject
) -> None:
    client, host = ControlCipher(RIKEY, "client", v2=v2), ControlCipher(RIKEY, "host", v2=v2)
    client._next = before
    sealed = client.seal(inner)
    index = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:index] + bytes([sealed[index] ^ data.draw(st.integers(1, 255))]) + sealed[index + 1 :]
    attempts = [changed, sealed[:-1], sealed + b"\0"]
    if not v2 and index in range(5, 8):
        attempts.pop(0)  # the older form does not authenticate these
    for attempt in attempts:
        try:
            host.open(attempt)
        except CryptoError:
            continue
        raise AssertionError("opened what was changed")
    assert host.open(sealed) == inner


def test_the_longest_message_is_opened_and_a_longer_one_is_not() -> None:
    client, host = ControlCipher(RIKEY, "client", v2=True), ControlCipher(RIKEY, "host", v2=True)
    assert host.open(client.seal(bytes(MAX_INNER_BYTES)))
    too_long = client.seal(bytes(MAX_INNER_BYTES + 1))
    try:
        host.open(too_long)
    except CryptoError:
        return
    raise AssertionError("opened")


@given(st.lists(st.integers(0, 3 * REPLAY_WINDOW), max_size=200))
def test_a_replay_window_takes_what_a_set_with_an_edge_takes(numbers: list[int]) -> None:
    window, seen, newest = ReplayWindow(), set[int](), -1
    for number in numbers:
        expected = number not in seen and number > newest - REPLAY_WINDOW
        assert window.take(number) is expected
        seen.add(number)
        newest = max(newest, number)


@given(st.binary(max_size=200))
def test_any_message_of_a_client_is_something_or_counted(inner: bytes) -> None:
    message = control.decode_from_client(inner)
    assert isinstance(message, control.ClientMessage | control.Ignored)
    if not isinstance(message, control.Ignored):
        again = control.encode_from_client(message)
        assert control.decode_from_client(again) == message


@given(st.binary(max_size=200))
def test_any_message_of_a_host_is_something_or_counted(inner: bytes) -> None:
    message = control.decode_from_host(inner)
    for one in message if isinstance(message, tuple) else (message,):
        assert isinstance(one, control.HostMessage | control.Ignored)


@given(client_messages)
def test_what_a_client_says_comes_back(message: control.ClientMessage) -> None:
    assert control.decode_from_client(control.encode_from_client(message)) == message


@given(host_messages)
def test_what_a_host_says_comes_back(message: control.HostMessage) -> None:
    assert control.decode_from_host(control.encode_from_host(message) or b"") == message


@given(u16, st.integers(0, 1), st.binary(min_size=EFFECT_BYTES, max_size=EFFECT_BYTES))
def test_a_triggers_effect_comes_back(pad: int, which: int, effect: bytes) -> None:
    event = TriggerEffect(pad, which, effect)
    assert control.decode_from_host(control.encode_from_host(event) or b"") == (event,)


@given(st.lists(st.tuples(st.sampled_from(list(wire.Magic)), st.binary(max_size=60)), max_size=20))
def test_any_input_is_events_in_their_ranges_or_counted(messages: list[tuple[wire.Magic, bytes]]) -> None:
    decoder = InputDecoder()
    for magic, body in messages:
        payload = struct.pack(">I", 4 + len(body)) + struct.pack("<I", magic) + body
        events = decoder.decode(payload)
        if isinstance(events, control.Ignored):
            assert events.reason in {"short", "unknown_input", "meaningless_input"}
            continue
        assert len(events) <= 64
        for event in events:
            held(event)


@given(st.binary(max_size=100))
def test_any_payload_is_events_or_counted(payload: bytes) -> None:
    assert isinstance(InputDecoder().decode(payload), tuple | control.Ignored)


@given(st.one_of(pointer_events, pad_events, touches))
def test_every_event_comes_back(event: wire.Event) -> None:
    assert InputDecoder().decode(encode(event)) == (event,)


@given(pads, st.integers(0, 0xFFFFFFFF), st.tuples(*[i16] * 4), u8, u8)
def test_a_pads_report_comes_back(
    pad: int, bits: int, sticks: tuple[int, int, int, int], left: int, right: int
) -> None:
    report = PadReport(pad, PadButtons(bits & int(sum(PadButtons))), (*sticks, left, right))
    events = InputDecoder().decode(encode(report))
    assert isinstance(events, tuple)
    assert events[-1] == report


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 255), st.integers(0, 255)), max_size=60))
def test_nothing_that_was_lent_stays_down_once_all_keys_are_up(keys: list[tuple[bool, int, int]]) -> None:
    """Whatever a client presses and releases: when it has released everything, nothing is down."""
    decoder, down, pressed = InputDecoder(), set[int](), set[int]()
    said = [*keys, *((False, key, 0) for key in range(256))]
    for press, key, modifiers in said:
        kind = InputKind.KEY_DOWN if press else InputKind.KEY_UP
        events = decoder.decode(encode(InputEvent(kind, key), modifiers=modifiers))
        assert isinstance(events, tuple)
        for event in events:
            assert isinstance(event, InputEvent)
            (down.add if event.kind is InputKind.KEY_DOWN else down.discard)(event.code)
        (pressed.add if press else pressed.discard)(key)
        assert pressed - down == set() or not press, "a key that the client holds is down"
    assert down == set()
