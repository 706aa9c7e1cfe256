"""Input of GameStream: every sample of section 11, both ways, and what a decoder keeps of its client."""

from __future__ import annotations

import struct

import pytest

from punktfunk.desktop.inject.keycodes import EVDEV_OF_VIRTUAL_KEY
from punktfunk.gamestream.control import Ignored
from punktfunk.gamestream.input import PLACES, EnableHaptics, Event, InputDecoder
from punktfunk.gamestream.input_encoder import channel_of, encode, unreliable
from punktfunk.input import (
    BatteryState,
    Contact,
    InputEvent,
    InputKind,
    PadArrival,
    PadBattery,
    PadButtons,
    PadCapability,
    PadModel,
    PadMotion,
    PadRemoval,
    PadReport,
    PadSensor,
    PadTouch,
    SurfaceSize,
    Tool,
)

DOWN, UP = InputKind.KEY_DOWN, InputKind.KEY_UP
PLACE = SurfaceSize(PLACES, PLACES)
A_KEY, SHIFT, RIGHT_SHIFT, CONTROL, META = 0x41, 0xA0, 0xA1, 0xA2, 0x5B


def f32(value: float) -> float:
    """Return a number as the wire has it."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


SAMPLES: dict[str, tuple[str, Event]] = {
    "haptics": ("00000006 0d000000 0100", EnableHaptics()),
    "relative": ("00000008 07000000 000a fffd", InputEvent(InputKind.MOUSE_MOVE, x=10, y=-3)),
    "position": (
        "0000000e 05000000 0064 0032 0000 04ff 02cf",
        InputEvent(InputKind.MOUSE_ABSOLUTE, 0, 100, 50, SurfaceSize(1279, 719)),
    ),
    "button": ("00000005 08000000 01", InputEvent(InputKind.BUTTON_DOWN, 1)),
    "button up": ("00000005 09000000 05", InputEvent(InputKind.BUTTON_UP, 5)),
    "scroll": ("0000000a 0a000000 0028 0028 0000", InputEvent(InputKind.SCROLL, 0, 40)),
    "horizontal scroll": ("00000006 01000055 ffc4", InputEvent(InputKind.SCROLL, 1, -60)),
    "text": ("00000006 17000000 c3a9", InputEvent(InputKind.TEXT, ord("é"))),
    "motion": (
        "00000014 06000055 01 02 0000 0000c03f 000020c0 0000803e",
        PadMotion(1, PadSensor.GYROSCOPE, 1.5, -2.5, 0.25),
    ),
    "battery": ("00000008 07000055 01 03 50 00", PadBattery(1, BatteryState.CHARGING, 80)),
    "arrival": (
        "0000000c 04000055 01 02 fb00 fff71f00",
        PadArrival(1, PadModel.PLAYSTATION, PadCapability(0xFB), PadButtons(0x1FF7FF)),
    ),
    "touch": (
        "00000020 02000055 01 00 ffff 07000000 0000803e 0000003f 0000403f 0ad7233c 0ad7a33c",
        InputEvent(
            InputKind.TOUCH_DOWN,
            7,
            round(PLACES / 4),
            round(PLACES / 2),
            PLACE,
            contact=Contact(Tool.FINGER, 0.75, None, f32(0.01), f32(0.02)),
        ),
    ),
    "pen": (
        "00000020 03000055 01 01 01 00 cdcccc3d cdcc4c3e 0000003f 2d00 1e 00 00000000 00000000",
        InputEvent(
            InputKind.TOUCH_DOWN,
            0,
            round(PLACES * 0.1),
            round(PLACES * 0.2),
            PLACE,
            contact=Contact(Tool.PEN, 0.5, None, 0.0, 0.0, 45, 30, 1),
        ),
    ),
    "pad touch": (
        "00000018 05000055 01 01 00 00 00000000 0000003f 0000003f 0000803f",
        PadTouch(1, 0, 0, InputKind.TOUCH_DOWN, 0.5, 0.5, 1.0),
    ),
}
"""All of section 11 but the key and the state of a pad, which mean more than one event."""
PAD_SAMPLE = "0000001e 0c000000 1a00 0100 0200 1400 0010 40 ff 0080 ff7f 0100 ffff 9c00 2000 5500"
KEY_SAMPLE = "0000000a 03000000 00 4180 01 0000"
PAD_REPORT = PadReport(1, PadButtons.A | PadButtons.MISC, (-32768, 32767, 1, -1, 0x40, 0xFF))


def decode(text: str) -> tuple[Event, ...] | Ignored:
    return InputDecoder().decode(bytes.fromhex(text))


@pytest.mark.conformance(70)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_its_event(name: str) -> None:
    text, event = SAMPLES[name]
    assert decode(text) == (event,)
    assert decode(text + "00ff") == (event,), "what is longer than it has to be is fine"


@pytest.mark.conformance(70)
@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in {"touch", "pen"}])
def test_every_sample_is_written_bit_by_bit(name: str) -> None:
    text, event = SAMPLES[name]
    assert encode(event) == bytes.fromhex(text)


@pytest.mark.parametrize("name", ["touch", "pen"])
def test_touches_are_written_as_they_are_read(name: str) -> None:
    """Places are rounded to 1/65535 on the way in."""
    _, event = SAMPLES[name]
    assert InputDecoder().decode(encode(event)) == (event,)


@pytest.mark.conformance(70)
def test_the_key_of_the_sample_comes_with_its_shift() -> None:
    assert decode(KEY_SAMPLE) == (InputEvent(DOWN, SHIFT), InputEvent(DOWN, A_KEY))
    assert encode(InputEvent(DOWN, A_KEY), modifiers=1) == bytes.fromhex(KEY_SAMPLE)


@pytest.mark.conformance(70)
def test_the_pad_of_the_sample_arrives_with_its_first_state() -> None:
    decoder = InputDecoder()
    state = bytes.fromhex(PAD_SAMPLE)
    default = PadArrival(1, PadModel.UNKNOWN, PadCapability(0), PadButtons(0))
    assert decoder.decode(state) == (default, PAD_REPORT)
    assert decoder.decode(state) == (PAD_REPORT,)
    assert encode(PAD_REPORT) == state


def test_a_pad_is_gone_when_its_own_message_says_so() -> None:
    decoder = InputDecoder()
    decoder.decode(encode(PadReport(0, PadButtons(0), PAD_REPORT.axes), active_pads=0b11))
    decoder.decode(encode(PAD_REPORT, active_pads=0b11))
    assert decoder.decode(encode(PadRemoval(1), active_pads=0b11)) == (PadRemoval(1),)
    assert decoder.decode(encode(PadRemoval(1))) == (), "it is gone already"
    assert len(decoder.decode(encode(PadReport(0, PadButtons(0), PAD_REPORT.axes)))) == 1


def test_a_pad_that_arrives_again_is_another_one_only_with_another_type() -> None:
    decoder = InputDecoder()
    arrival = SAMPLES["arrival"][1]
    assert decoder.decode(encode(arrival)) == (arrival,)
    assert decoder.decode(encode(arrival)) == ()
    assert decoder.decode(encode(PAD_REPORT)) == (PAD_REPORT,), "it has arrived"
    other = PadArrival(1, PadModel.XBOX, PadCapability.RUMBLE, PadButtons.A)
    assert decoder.decode(encode(other)) == (PadRemoval(1), other)


@pytest.mark.conformance(70)
def test_sign_extended_buttons_of_old_clients_are_no_extended_buttons() -> None:
    report = PadReport(1, PadButtons.Y | PadButtons.A, PAD_REPORT.axes)
    message = bytearray(encode(report))
    message[-4:-2] = b"\xff\xff"
    assert InputDecoder().decode(bytes(message))[-1:] == (report,)
    paddles = PadReport(1, PadButtons.Y | PadButtons.PADDLE_4, PAD_REPORT.axes)
    assert InputDecoder().decode(encode(paddles))[-1:] == (paddles,)


@pytest.mark.conformance(70)
@pytest.mark.parametrize(
    "text", ["0000000c 99000000 0000000000000000", "00000004 99000055", "00000004 00000000"]
)
def test_unknown_kinds_are_ignored(text: str) -> None:
    assert decode(text) == Ignored("unknown_input")


@pytest.mark.conformance(70)
@pytest.mark.parametrize("name", [*SAMPLES, "key", "pad"])
def test_short_bodies_are_ignored(name: str) -> None:
    data = bytes.fromhex({"key": KEY_SAMPLE, "pad": PAD_SAMPLE}.get(name) or SAMPLES[name][0])
    for length in range(len(data)):
        assert InputDecoder().decode(data[:length]) == Ignored("short"), "cut off"
    body = data[8:]
    for length in range(len(body)):
        shorter = struct.pack(">I", 4 + length) + data[4:8] + body[:length]
        if name == "haptics" or (name == "scroll" and length >= 2) or (name == "text" and length):
            continue  # a switch, a repeated amount, and text of any length
        assert InputDecoder().decode(shorter) == Ignored("short"), length


@pytest.mark.parametrize(
    "message",
    [
        "00000006 17000000 c3c3",  # no UTF-8
        "00000049 17000000" + "41" * 69,
        "0000000e 05000000 0064 0032 0000 0000 02cf",  # a surface of no width
        "0000001e 0c000000 1a00 1000 ffff 1400 0000 00 00 0000 0000 0000 0000 9c00 0000 5500",  # pad 16
        "0000000c 04000055 10 02 fb00 fff71f00",
        "00000008 07000055 10 03 50 00",
        "00000014 06000055 01 03 0000 0000c03f 000020c0 0000803e",  # no such sensor
        "00000014 06000055 01 02 0000 0000c07f 000020c0 0000803e",  # not a number
        "00000018 05000055 01 08 00 00 00000000 0000003f 0000003f 0000803f",  # no such event
        "00000020 02000055 08 00 ffff 07000000 0000803e 0000003f 0000403f 0ad7233c 0ad7a33c",
        "00000020 02000055 01 00 ffff 07000000 0000807f 0000003f 0000403f 0ad7233c 0ad7a33c",  # infinite
        "00000020 03000055 09 01 01 00 cdcccc3d cdcc4c3e 0000003f 2d00 1e 00 00000000 00000000",
    ],
)
def test_what_means_nothing_is_counted_as_that(message: str) -> None:
    assert decode(message) == Ignored("meaningless_input")


def test_places_outside_are_at_the_edge() -> None:
    events = decode("0000000e 05000000 ff9c 0fff 0000 04ff 02cf")
    assert events == (InputEvent(InputKind.MOUSE_ABSOLUTE, 0, 0, 719, SurfaceSize(1279, 719)),)
    events = decode("00000020 02000055 00 00 0000 07000000 000080bf 00000040 0000403f 00000000 00000000")
    assert isinstance(events, tuple)
    [touch] = events
    assert isinstance(touch, InputEvent)
    assert (touch.kind, touch.x, touch.y) == (InputKind.TOUCH_HOVER, 0, PLACES)
    assert touch.contact == Contact(Tool.FINGER, None, 0.75, 0.0, 0.0, 0)


def test_a_touch_without_pressure_has_none_and_its_size_is_a_part_of_the_surface() -> None:
    events = decode("00000020 02000055 01 00 0000 07000000 0000003f 0000003f 000080bf 00000040 000080bf")
    assert isinstance(events, tuple)
    [touch] = events
    assert isinstance(touch, InputEvent)
    assert touch.contact == Contact(Tool.FINGER, None, None, 1.0, 0.0, 0)


def test_unknown_numbers_are_unknown() -> None:
    assert decode("00000008 07000055 01 63 ff 00") == (PadBattery(1, BatteryState.UNKNOWN, None),)
    assert decode("0000000c 04000055 01 63 ffff ffffffff") == (
        PadArrival(1, PadModel.UNKNOWN, PadCapability(0x1FF), PadButtons(0x3FF7FF)),
    )


class Keyboard:
    """What keys are down when all that a decoder says is done."""

    def __init__(self) -> None:
        self.decoder = InputDecoder()
        self.down: list[int] = []

    def key(self, kind: InputKind, code: int, modifiers: int = 0) -> list[int]:
        """Press or release a key; return what is down with it."""
        events = self.decoder.decode(encode(InputEvent(kind, code), modifiers=modifiers))
        assert isinstance(events, tuple)
        at_key: list[int] = []
        for event in events:
            assert isinstance(event, InputEvent)
            if event.kind is DOWN and event.code not in self.down:
                self.down.append(event.code)
            elif event.kind is UP and event.code in self.down:
                self.down.remove(event.code)
            if event.code == code:
                at_key = list(self.down)
        return at_key


@pytest.mark.conformance(70)
class TestModifiers:
    def test_a_soft_keyboards_shift_lasts_as_long_as_its_letter(self) -> None:
        board = Keyboard()
        assert board.key(DOWN, A_KEY, 1) == [SHIFT, A_KEY]
        assert board.key(DOWN, A_KEY, 1) == [SHIFT, A_KEY], "auto-repeat"
        board.key(UP, A_KEY, 1)
        assert board.down == []

    def test_a_modifier_that_is_down_is_not_pressed_again(self) -> None:
        board = Keyboard()
        for real in (SHIFT, RIGHT_SHIFT, 0x10):
            assert board.key(DOWN, real, 1) == [real]
            assert board.key(DOWN, A_KEY, 1) == [real, A_KEY]
            board.key(UP, A_KEY, 1)
            assert board.down == [real]
            board.key(UP, real)
            assert board.down == []

    def test_a_modifier_by_itself_is_not_synthesised(self) -> None:
        board = Keyboard()
        assert board.key(DOWN, CONTROL, 1 | 2) == [CONTROL]

    def test_several_modifiers_go_with_a_key(self) -> None:
        board = Keyboard()
        assert board.key(DOWN, A_KEY, 15) == [SHIFT, CONTROL, 0xA4, META, A_KEY]
        board.key(UP, A_KEY)
        assert board.down == []

    def test_two_keys_share_a_modifier_until_the_last_is_up(self) -> None:
        board = Keyboard()
        board.key(DOWN, A_KEY, 1)
        board.key(DOWN, 0x42, 1)
        board.key(UP, A_KEY, 1)
        assert board.down == [SHIFT, 0x42]
        board.key(UP, 0x42)
        assert board.down == []

    def test_a_key_without_the_bit_takes_the_modifier_away(self) -> None:
        board = Keyboard()
        board.key(DOWN, A_KEY, 1)
        assert board.key(DOWN, 0x42, 0) == [A_KEY, 0x42]
        board.key(UP, A_KEY)
        assert board.down == [0x42]

    @pytest.mark.parametrize("real", [SHIFT, RIGHT_SHIFT, 0x10])
    def test_the_clients_own_key_stays_down_after_the_one_that_was_lent(self, real: int) -> None:
        evdev: set[int] = set()
        decoder = InputDecoder()
        for kind, code, modifiers in ((DOWN, A_KEY, 1), (DOWN, real, 1), (UP, A_KEY, 1)):
            for event in decoder.decode(encode(InputEvent(kind, code), modifiers=modifiers)) or ():
                assert isinstance(event, InputEvent)
                key = EVDEV_OF_VIRTUAL_KEY[event.code]
                (evdev.add if event.kind is DOWN else evdev.discard)(key)
        assert evdev == {EVDEV_OF_VIRTUAL_KEY[real]}


def test_the_common_keys_of_section_11_2_have_a_place_on_the_board() -> None:
    codes = [
        *range(0x30, 0x3A),
        *range(0x41, 0x5B),
        *range(0x70, 0x7C),
        *range(0x25, 0x29),
        0x0D,
        0x1B,
        0x09,
        0x08,
    ]
    codes += [0x20, 0x2E, 0x2D, 0x24, 0x23, 0x21, 0x22, *range(0xBA, 0xC1), *range(0xDB, 0xDF), 0xE2]
    codes += [*range(0x60, 0x70), 0x14, 0x90, 0x2C, 0x5D, *range(0xAD, 0xB4), *range(0xA0, 0xA6), 0x5B, 0x5C]
    assert [hex(code) for code in codes if code not in EVDEV_OF_VIRTUAL_KEY] == []


def test_events_go_by_the_channels_of_section_10_2() -> None:
    channels = {name: channel_of(event) for name, (_, event) in SAMPLES.items()}
    assert channels == {
        **dict.fromkeys(("relative", "position", "button", "button up", "scroll", "horizontal scroll"), 3),
        "haptics": 0,
        "text": 6,
        "touch": 5,
        "pen": 4,
        "motion": 0x21,
        **dict.fromkeys(("battery", "arrival", "pad touch"), 0x11),
    }
    assert channel_of(InputEvent(DOWN, A_KEY)) == 2
    assert channel_of(PAD_REPORT) == 0x11


def test_only_what_is_soon_out_of_date_may_get_lost() -> None:
    assert unreliable(SAMPLES["motion"][1])
    assert not unreliable(PadMotion(1, PadSensor.GYROSCOPE, 0, 0, 0)), "that one stops something"
    assert unreliable(InputEvent(InputKind.TOUCH_MOVE, 1, surface=PLACE))
    assert not any(unreliable(event) for name, (_, event) in SAMPLES.items() if name != "motion")


def test_what_there_is_no_message_for_is_not_written() -> None:
    for event in (
        InputEvent(InputKind.PAD_BUTTON, 1),
        InputEvent(InputKind.MOUSE_ABSOLUTE, 0, 1, 1),
        InputEvent(InputKind.MOUSE_MOVE, x=40_000),
    ):
        with pytest.raises(ValueError, match=r"no message|does not fit"):
            encode(event)
