"""Gamepads: what becomes of a client's events and of what programs ask of a pad's motors."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from punktfunk.desktop.pads import PadState
from punktfunk.desktop.pads.uinput import UinputPad
from punktfunk.desktop.uinput import require_uinput
from punktfunk.errors import CapabilityError, DesktopError, PrivilegeError
from punktfunk.host.peripherals.gamepads import PadStates, RumbleState
from punktfunk.input import InputEvent, InputKind, PadAxis, PadButtons, Rumble

evdev = pytest.importorskip("evdev", reason="python-evdev (pip install 'punktfunk[gamepad]')")
ecodes = evdev.ecodes


def _button(bit: int, pressed: int = 1, pad: int = 0) -> InputEvent:
    return InputEvent(InputKind.PAD_BUTTON, bit, pressed, pad=pad)


def _axis(axis: int, value: int, pad: int = 0) -> InputEvent:
    return InputEvent(InputKind.PAD_AXIS, axis, value, pad=pad)


def test_events_add_up_to_states_of_each_pad() -> None:
    states = PadStates()
    assert states.take(_button(PadButtons.A)) == (0, PadState(PadButtons.A))
    assert states.take(_axis(PadAxis.LEFT_Y, 1000)) == (0, PadState(PadButtons.A, (0, 1000, 0, 0, 0, 0)))
    assert states.take(_button(PadButtons.B, pad=3)) == (3, PadState(PadButtons.B))
    assert states.take(_button(PadButtons.A, 0)) == (0, PadState(0, (0, 1000, 0, 0, 0, 0)))


def test_axes_are_held_to_their_range() -> None:
    states = PadStates()
    for axis, low, high in ((PadAxis.RIGHT_X, -32768, 32767), (PadAxis.RIGHT_TRIGGER, 0, 255)):
        for value, held in ((2**31 - 1, high), (-(2**31), low)):
            taken = states.take(_axis(axis, value))
            assert taken is not None
            assert taken[1].axes[axis] == held


@pytest.mark.parametrize(
    "event",
    [
        _button(PadButtons.A, pad=16),
        _button(PadButtons.A, pad=0xFFFF_FFFF),
        _button(0x800),
        _button(0x40_0000),
        _button(0),
        _button(PadButtons.A | PadButtons.B),
        _axis(6, 1),
        _axis(0xFFFF_FFFF, 1),
        InputEvent(InputKind.KEY_DOWN, 1),
    ],
)
def test_what_means_nothing_makes_no_pad(event: InputEvent) -> None:
    assert PadStates().take(event) is None


def test_a_state_is_repeated_while_a_motor_is_on_and_a_stop_a_few_times() -> None:
    book = RumbleState()
    assert book.quiet
    assert book.change(1, 500, 0) == Rumble(1, 500, 0)
    for _ in range(50):
        assert list(book.due()) == [Rumble(1, 500, 0)]
    assert book.change(1, 0, 0) == Rumble(1, 0, 0)
    assert [list(book.due()) for _ in range(6)] == [[Rumble(1, 0, 0)]] * 4 + [[], []]
    assert book.quiet
    book.change(1, 1, 1)
    assert not book.quiet


class Device:
    """Stands in for ``evdev.UInput``: what was written, and what programs ask for."""

    def __init__(self, capabilities: dict[int, Any], **identity: Any) -> None:
        self.fd = -1
        self.capabilities = capabilities
        self.identity = identity
        self.written: list[tuple[int, int, int]] = []
        self.syncs = 0
        self.asked: list[Any] = []
        self.uploads: dict[int, Any] = {}
        self.done: list[Any] = []
        self.fails = False

    def write(self, kind: int, code: int, value: int) -> None:
        if self.fails:
            raise OSError(19, "No such device")
        self.written.append((kind, code, value))

    def syn(self) -> None:
        self.syncs += 1

    def read(self) -> list[Any]:
        if not self.asked:
            raise BlockingIOError
        asked, self.asked = self.asked, []
        return asked

    def begin_upload(self, request: int) -> Any:
        return self.uploads[request]

    def begin_erase(self, request: int) -> Any:
        erase = evdev.ff.UInputErase()
        erase.effect_id = request
        return erase

    def end_upload(self, upload: Any) -> None:
        self.done.append(upload)

    end_erase = end_upload

    def close(self) -> None:
        self.fd = -2

    def ask(self, kind: int, code: int, value: int) -> None:
        self.asked.append(evdev.InputEvent(0, 0, kind, code, value))

    def upload(self, number: int, strong: int, weak: int) -> None:
        upload = evdev.ff.UInputUpload()
        upload.effect.type, upload.effect.id = ecodes.FF_RUMBLE, number
        upload.effect.u.ff_rumble_effect.strong_magnitude = strong
        upload.effect.u.ff_rumble_effect.weak_magnitude = weak
        self.uploads[number] = upload
        self.ask(ecodes.EV_UINPUT, ecodes.UI_FF_UPLOAD, number)


@pytest.fixture
def told() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def pad(told: list[tuple[int, int]]) -> UinputPad:
    return UinputPad(0, lambda low, high: told.append((low, high)), open_device=Device)


def test_the_pad_is_one_that_every_program_knows(pad: UinputPad) -> None:
    device: Any = pad._device
    assert (device.identity["vendor"], device.identity["product"]) == (0x045E, 0x028E)
    assert len(device.capabilities[ecodes.EV_KEY]) == 11
    assert ecodes.FF_RUMBLE in device.capabilities[ecodes.EV_FF]


def test_only_what_changed_is_written_and_up_is_up(pad: UinputPad) -> None:
    device: Any = pad._device
    pad.report(PadState(PadButtons.A | PadButtons.LEFT | PadButtons.UP, (100, 32767, 0, -32768, 255, 0)))
    assert sorted(device.written) == sorted(
        [
            (ecodes.EV_KEY, ecodes.BTN_A, 1),
            (ecodes.EV_ABS, ecodes.ABS_HAT0X, -1),
            (ecodes.EV_ABS, ecodes.ABS_HAT0Y, -1),
            (ecodes.EV_ABS, ecodes.ABS_X, 100),
            (ecodes.EV_ABS, ecodes.ABS_Y, -32768),
            (ecodes.EV_ABS, ecodes.ABS_RY, 32767),
            (ecodes.EV_ABS, ecodes.ABS_Z, 255),
        ]
    )
    device.written.clear()
    pad.report(PadState(PadButtons.A | PadButtons.X | PadButtons.RIGHT, (100, 32767, 0, -32768, 255, 0)))
    assert sorted(device.written) == sorted(
        [
            (ecodes.EV_KEY, ecodes.BTN_X, 1),
            (ecodes.EV_ABS, ecodes.ABS_HAT0X, 1),
            (ecodes.EV_ABS, ecodes.ABS_HAT0Y, 0),
        ]
    )
    assert device.syncs == 2


def test_every_state_within_the_wires_range_fits_the_kernels(pad: UinputPad) -> None:
    device: Any = pad._device
    ranges = dict(device.capabilities[ecodes.EV_ABS])
    rng = random.Random(20_261_122)
    states = PadStates()
    for _ in range(2000):
        event = _axis(rng.randrange(6), rng.randrange(-(2**31), 2**31))
        taken = states.take(event)
        assert taken is not None
        pad.report(taken[1])
    for kind, code, value in device.written:
        if kind == ecodes.EV_ABS:
            assert ranges[code].min <= value <= ranges[code].max


@pytest.mark.parametrize("code", ["UI_FF_UPLOAD", "UI_FF_ERASE"])
def test_a_program_that_is_killed_while_it_asks_leaves_the_other_effects_as_they_were(
    code: str, pad: UinputPad, told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    device: Any = pad._device

    def gone(_request: int) -> Any:
        raise evdev.UInputError("Failed to begin uinput upload: Invalid argument")

    device.upload(0, 500, 0)
    pad.read()
    monkeypatch.setattr(device, "begin_erase", gone)
    monkeypatch.setattr(device, "begin_upload", gone)
    device.ask(ecodes.EV_UINPUT, ecodes.ecodes[code], 7)
    device.ask(ecodes.EV_FF, 0, 1)
    pad.read()
    assert told == [(500, 0)]


def test_effects_are_played_mixed_and_stopped(pad: UinputPad, told: list[tuple[int, int]]) -> None:
    device: Any = pad._device
    device.upload(0, 40_000, 0)
    device.upload(1, 30_000, 500)
    pad.read()
    assert told == [], "an effect that is only stored moves nothing"
    assert [upload.retval for upload in device.done] == [0, 0]
    device.ask(ecodes.EV_FF, 0, 1)
    pad.read()
    device.ask(ecodes.EV_FF, 1, 1)
    pad.read()
    device.ask(ecodes.EV_FF, 0, 0)
    pad.read()
    device.ask(ecodes.EV_FF, ecodes.FF_GAIN, 0x8000)
    pad.read()
    device.ask(ecodes.EV_UINPUT, ecodes.UI_FF_ERASE, 1)
    pad.read()
    pad.read()
    assert told == [(40_000, 0), (65_535, 500), (30_000, 500), (15_000, 250), (0, 0)]


def test_an_effect_of_another_kind_is_refused(pad: UinputPad, told: list[tuple[int, int]]) -> None:
    device: Any = pad._device
    device.upload(0, 1, 1)
    device.uploads[0].effect.type = ecodes.FF_SPRING
    device.ask(ecodes.EV_FF, 0, 1)
    pad.read()
    assert device.done[0].retval == -22
    assert told == []


def test_a_pad_that_is_pulled_is_an_error_of_the_desktop(pad: UinputPad) -> None:
    device: Any = pad._device
    device.fails = True
    with pytest.raises(DesktopError, match="pad is gone"):
        pad.report(PadState(PadButtons.A))


def test_what_keeps_pads_away_is_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CapabilityError, match="there is no") as missing:
        require_uinput("gamepads", tmp_path / "uinput")
    assert "modprobe uinput" in missing.value.hint
    node = tmp_path / "locked"
    node.touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PrivilegeError, match="cannot be written") as locked:
        require_uinput("gamepads", node)
    assert "punktfunk service gamepads" in locked.value.hint
    monkeypatch.setitem(sys.modules, "evdev", None)
    with pytest.raises(CapabilityError, match="python-evdev") as absent:
        require_uinput("gamepads", node)
    assert "punktfunk[gamepad]" in absent.value.hint
