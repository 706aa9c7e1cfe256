"""Input: what a client sends arrives in the programs of a session, and nothing stays pressed."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from punktfunk.desktop.inject.keycodes import EVDEV_OF_VIRTUAL_KEY
from punktfunk.desktop.session import DesktopSession, SessionOptions
from punktfunk.errors import ConfigError
from punktfunk.input import Contact, InputEvent, InputKind, SurfaceSize, Tool
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S, eventually

MODE = Mode(640, 480, 60)
SHIFT, CONTROL, RETURN, SPACE, PERIOD = 0x10, 0x11, 0x0D, 0x20, 0xBE
BTN_LEFT, BTN_RIGHT, BTN_SIDE = 0x110, 0x111, 0x113
KEY_A, KEY_LEFTSHIFT = 30, 42
REPOSITORY = Path(__file__).parents[3]
PROBE = Path(__file__).with_name("probe.py")


def _tap(session: DesktopSession, *virtual_keys: int) -> None:
    """Press keys one upon the other, and let them go in reverse."""
    for key in virtual_keys:
        session.inject(InputEvent(InputKind.KEY_DOWN, key))
    for key in reversed(virtual_keys):
        session.inject(InputEvent(InputKind.KEY_UP, key))


def _type(session: DesktopSession, text: str) -> None:
    for letter in text:
        if letter.isupper():
            _tap(session, SHIFT, ord(letter))
        else:
            _tap(session, {" ": SPACE, ".": PERIOD, "\n": RETURN}.get(letter, ord(letter.upper())))


class Probe:
    """The probe client in a session, and what it reported."""

    def __init__(self, session: DesktopSession, output: Path) -> None:
        self._output = output
        self._read = 0
        self.events: list[dict[str, Any]] = []
        script = 'exec "$0" "$1" >"$2"'
        argv = ["sh", "-c", script, sys.executable, str(PROBE), str(output)]
        self.app = session.launch(argv, env={"PYTHONPATH": str(REPOSITORY)})
        for name in ("ready", "keyboard_enter", "pointer_enter"):  # in whatever order they come
            self._read = 0
            self.wait(lambda event, name=name: event["event"] == name)
        self._read = len(self.events)

    def wait(self, wanted: Callable[[dict[str, Any]], bool], limit_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the first event from now on that is ``wanted``."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            lines = self._output.read_text().split("\n") if self._output.exists() else [""]
            self.events = [json.loads(line) for line in lines[:-1]]
            for number in range(self._read, len(self.events)):
                if wanted(self.events[number]):
                    self._read = number + 1
                    return self.events[number]
            assert self.app.status is None, "the probe has ended"
            time.sleep(0.005)
        raise AssertionError(f"did not come; there were {self.events[self._read :]}")

    def expect(self, name: str, *values: float) -> dict[str, Any]:
        """Wait for an event of that name whose last values are these."""
        count = len(values)
        return self.wait(
            lambda event: (
                event["event"] == name
                and event["values"][len(event["values"]) - count :] == pytest.approx(values)
            )
        )


@pytest.fixture
def probe(session: DesktopSession, tmp_path: Path) -> Iterator[Probe]:
    session.create(MODE)
    yield Probe(session, tmp_path / "events")
    assert session.failure is None, "the compositor did not survive"


class Terminal:
    """A terminal that reads lines: an ``x`` says that it has the keyboard, the first line of something else is kept."""

    def __init__(self, session: DesktopSession, folder: Path) -> None:
        self.session = session
        self._hears, self._typed = folder / "hears", folder / "typed"
        # Of the first line that it hears, its keyboard may have come in the middle.
        case = f'x) touch "{self._hears}";; *[!x]*) printf %s "$line" >"{self._typed}"; exit;;'
        self.app = session.launch(
            ["foot", "sh", "-c", f"while read line; do case $line in {case} esac; done"]
        )

        def heard() -> bool:
            # Before the window has the keyboard, what is typed goes nowhere.
            _type(session, "x\n")
            session.release_all()  # waits: more than the session takes at once is refused
            return self._hears.exists()

        eventually(heard, "a terminal that has the keyboard")

    def line(self) -> str:
        """Return the line that was typed."""
        assert self.app.ended.wait(PATIENCE_S)
        return self._typed.read_text()


def test_characters_of_any_script_are_typed_whatever_the_layout(
    session: DesktopSession, tmp_path: Path
) -> None:
    """More of them than a keymap holds at a time, a key of the board in between, and control held down."""
    session.create(MODE)
    terminal = Terminal(session, tmp_path)
    text = "é€ß漢😀" + "".join(chr(0x400 + n) for n in range(210)) + "é"
    for number, character in enumerate(text):
        _let_it_catch_up(session, number)
        session.inject(InputEvent(InputKind.TEXT, ord(character)))
    _tap(session, ord("Q"))
    session.inject(InputEvent(InputKind.KEY_DOWN, CONTROL))
    session.inject(InputEvent(InputKind.TEXT, ord("c")))
    session.inject(InputEvent(InputKind.KEY_UP, CONTROL))
    session.inject(InputEvent(InputKind.TEXT, ord("\n")))
    assert terminal.line().lstrip("x") == text + "qc"


def test_text_typed_into_a_terminal_arrives(session: DesktopSession, tmp_path: Path) -> None:
    session.create(MODE)
    terminal = Terminal(session, tmp_path)
    _type(session, "Hello World. it works\n")
    assert terminal.line() == "Hello World. it works"


def test_a_key_arrives_with_its_modifiers(session: DesktopSession, probe: Probe) -> None:
    _tap(session, SHIFT, ord("A"))
    probe.expect("keyboard_key", KEY_LEFTSHIFT, 1)
    probe.wait(lambda event: event["event"] == "keyboard_modifiers" and event["values"][1] & 1 == 1)
    probe.expect("keyboard_key", KEY_A, 1)
    probe.expect("keyboard_key", KEY_A, 0)
    probe.expect("keyboard_key", KEY_LEFTSHIFT, 0)
    probe.wait(lambda event: event["event"] == "keyboard_modifiers" and event["values"][1] & 1 == 0)


def test_repeated_and_needless_key_events_are_left_out(session: DesktopSession, probe: Probe) -> None:
    session.inject(InputEvent(InputKind.KEY_UP, ord("A")))
    for _ in range(3):
        session.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    session.inject(InputEvent(InputKind.KEY_UP, ord("A")))
    _tap(session, ord("B"))
    probe.expect("keyboard_key", EVDEV_OF_VIRTUAL_KEY[ord("B")], 0)
    presses = [e["values"][-2:] for e in probe.events if e["event"] == "keyboard_key"]
    assert presses == [[KEY_A, 1], [KEY_A, 0], [48, 1], [48, 0]]


def test_an_absolute_position_is_scaled_from_the_clients_area(session: DesktopSession, probe: Probe) -> None:
    area = SurfaceSize(1280, 960)
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=640, y=240, surface=area))
    moved = probe.expect("pointer_motion")
    assert moved["values"][-2:] == pytest.approx([320, 120], abs=1)
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=9999, y=-5, surface=area))
    moved = probe.expect("pointer_motion")
    assert moved["values"][-2:] == pytest.approx([639, 0], abs=1), "clamped to the area"


def test_relative_movement_arrives_pixel_for_pixel(session: DesktopSession, probe: Probe) -> None:
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=320, y=240, surface=SurfaceSize(640, 480)))
    session.inject(InputEvent(InputKind.MOUSE_MOVE, x=-12, y=34))
    probe.expect("relative", -12, 34)


def test_each_button_arrives_as_the_right_one(session: DesktopSession, probe: Probe) -> None:
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=320, y=240, surface=SurfaceSize(640, 480)))
    for button, code in ((1, BTN_LEFT), (2, 0x112), (3, BTN_RIGHT), (4, BTN_SIDE), (5, 0x114)):
        session.inject(InputEvent(InputKind.BUTTON_DOWN, button))
        probe.expect("pointer_button", code, 1)
        session.inject(InputEvent(InputKind.BUTTON_UP, button))
        probe.expect("pointer_button", code, 0)


def test_the_wheel_turns_in_notches_and_smoothly(session: DesktopSession, probe: Probe) -> None:
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=320, y=240, surface=SurfaceSize(640, 480)))
    session.inject(InputEvent(InputKind.SCROLL, 0, x=240))  # two notches up
    probe.expect("pointer_axis_discrete", 0, -2)
    probe.expect("pointer_axis", 0, -30)
    session.inject(InputEvent(InputKind.SCROLL, 1, x=-120))  # one to the left
    probe.expect("pointer_axis_discrete", 1, -1)
    probe.expect("pointer_axis", 1, -15)
    session.inject(InputEvent(InputKind.SCROLL, 0, x=-30))  # a quarter down
    probe.expect("pointer_axis", 0, 3.75)


def test_a_finger_moves_and_presses(session: DesktopSession, probe: Probe) -> None:
    area = SurfaceSize(640, 480)
    session.inject(InputEvent(InputKind.TOUCH_DOWN, 7, x=100, y=100, surface=area))
    probe.expect("pointer_button", BTN_LEFT, 1)
    session.inject(InputEvent(InputKind.TOUCH_DOWN, 8, x=300, y=300, surface=area))
    session.inject(InputEvent(InputKind.TOUCH_MOVE, 7, x=200, y=150, surface=area))
    moved = probe.expect("pointer_motion")
    assert moved["values"][-2:] == pytest.approx([200, 150], abs=1), "a second finger does not take over"
    session.inject(InputEvent(InputKind.TOUCH_UP, 7))
    probe.expect("pointer_button", BTN_LEFT, 0)
    assert session.release_all()["dropped_further_finger"] == 1


def test_a_pen_hovers_draws_and_is_cancelled(session: DesktopSession, probe: Probe) -> None:
    area, pen = SurfaceSize(640, 480), Contact(Tool.PEN, 0.5)

    def does(kind: InputKind, x: int, contact: Contact | None = pen) -> None:
        session.inject(InputEvent(kind, 0, x, 50, area, contact=contact))

    does(InputKind.TOUCH_HOVER, 100)
    assert probe.expect("pointer_motion")["values"][-2:] == pytest.approx([100, 50], abs=1)
    does(InputKind.TOUCH_DOWN, 100)
    probe.expect("pointer_button", BTN_LEFT, 1)
    does(InputKind.TOUCH_DOWN, 300, None)
    does(InputKind.TOUCH_CANCEL, 300, None)
    does(InputKind.TOUCH_MOVE, 120)
    assert probe.expect("pointer_motion")["values"][-2:] == pytest.approx([120, 50], abs=1)
    session.inject(InputEvent(InputKind.TOUCH_CANCEL_ALL))
    probe.expect("pointer_button", BTN_LEFT, 0)
    does(InputKind.TOUCH_LEAVE, 120)
    counters = session.release_all()
    assert (counters["dropped_further_finger"], counters["dropped_no_such_device"]) == (2, 1)


def test_all_that_is_down_is_released_when_the_client_leaves(session: DesktopSession, probe: Probe) -> None:
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=320, y=240, surface=SurfaceSize(640, 480)))
    session.inject(InputEvent(InputKind.KEY_DOWN, SHIFT))
    session.inject(InputEvent(InputKind.KEY_DOWN, ord("A")))
    session.inject(InputEvent(InputKind.BUTTON_DOWN, 1))
    probe.expect("pointer_button", BTN_LEFT, 1)
    session.release_all()
    released = [probe.expect("keyboard_key", 0), probe.expect("keyboard_key", 0)]
    assert sorted(event["values"][-2] for event in released) == [KEY_A, KEY_LEFTSHIFT]
    probe.expect("pointer_button", BTN_LEFT, 0)


def _let_it_catch_up(session: DesktopSession, number: int) -> None:
    """Wait, every fifty events, until the session has applied them: more than it takes at once is refused."""
    if number % 50 == 49:
        session.release_all()


def test_what_no_desktop_knows_is_dropped_and_counted(
    session: DesktopSession, probe: Probe, rng: random.Random
) -> None:
    session.inject(InputEvent(InputKind.KEY_DOWN, 0x07))
    session.inject(InputEvent(InputKind.BUTTON_DOWN, 9))
    session.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=1, y=1))
    session.inject(InputEvent(InputKind.PAD_BUTTON, 1, x=1))
    session.inject(InputEvent(InputKind.SCROLL, 5, x=120))
    for area in (SurfaceSize(0, 1), SurfaceSize(1, 0)):
        session.inject(InputEvent(InputKind.TOUCH_DOWN, 1, x=1, y=1, surface=area))
    with pytest.raises(ValueError, match="77"):
        InputEvent(77)  # type: ignore[arg-type]
    counters = session.release_all()
    for reason in ("unknown_key", "unknown_button", "no_gamepad", "unknown_axis"):
        assert counters[f"dropped_{reason}"] == 1, reason
    assert counters["dropped_no_area"] == 3
    for number in range(500):
        _let_it_catch_up(session, number)
        session.inject(
            InputEvent(
                rng.choice(list(InputKind)),
                rng.randrange(1 << 32),
                rng.randrange(-(1 << 31), 1 << 31),
                rng.randrange(-(1 << 31), 1 << 31),
                SurfaceSize(rng.randrange(1 << 16), rng.randrange(1 << 16)),
                rng.randrange(1 << 32),
            )
        )
    for number, kind in enumerate(list(InputKind) * 20):
        _let_it_catch_up(session, number)
        session.inject(InputEvent(kind, rng.randrange(8), -(1 << 31), (1 << 31) - 1, SurfaceSize(1, 65535)))
    total = sum(session.release_all().values())
    assert total == 7 + 500 + len(InputKind) * 20


def test_a_layout_turns_positions_into_its_own_letters(desktop_parts: None, tmp_path: Path) -> None:
    with DesktopSession(SessionOptions(keyboard_layout="de")) as session:
        session.create(MODE)
        terminal = Terminal(session, tmp_path)
        _type(session, "zy\n")
        assert terminal.line() == "yz"


def test_an_unknown_layout_is_refused_before_anything_starts(desktop_parts: None) -> None:
    with pytest.raises(ConfigError, match="klingon"):
        DesktopSession(SessionOptions(keyboard_layout="klingon"))
