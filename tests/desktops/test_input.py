"""Input by EIS on real servers: what is typed, pointed at, scrolled and touched arrives in programs, and is let go."""

from __future__ import annotations

import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis import EisInjector
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.terminal import say
from tests.desktops.support import eis
from tests.desktops.support.compositors import KWin, Mutter
from tests.desktops.support.desktops import Window
from tests.desktops.support.processes import Program
from tests.desktops.support.session import user_session
from tests.support.waiting import eventually

SUPPORT = Path(__file__).with_name("support")
SURFACE = SurfaceSize(1920, 1080)
"""A client's, of another size than either output."""
FINGERS = 10
KWIN_GESTURE_NS = 300_000_000
"""KWin takes three fingers for a gesture of its own unless the second comes later than 250 ms after the first."""
LEFT = 0x110


class KWinOfTwo(KWin):
    """KWin with two outputs side by side and a German keyboard; no frames are taken, so it needs no OpenGL."""

    graphics = False
    more = ("--output-count", "2")
    names: ClassVar[tuple[str, str]] = ("Virtual-0", "Virtual-1")
    rects: ClassVar[tuple[Rect, Rect]] = (Rect(0, 0, 1280, 720), Rect(1280, 0, 1280, 720))
    notch_length = 15.0

    def start(self) -> Program:
        """Start it as a user who has set that layout."""
        settings = self.session.home / ".config" / "kxkbrc"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("[Layout]\nUse=true\nLayoutList=de\n")
        return super().start()


class MutterOfTwo(Mutter):
    """Mutter with two monitors; without the shell it has the American keyboard."""

    more = ("--virtual-monitor", "800x600@60")
    names: ClassVar[tuple[str, str]] = ("Meta-0", "Meta-1")
    rects: ClassVar[tuple[Rect, Rect]] = (Rect(0, 0, 1280, 720), Rect(1280, 0, 800, 600))
    notch_length = 10.0


class Desk:
    """A compositor with two outputs, and input into it."""

    def __init__(self, compositor: KWinOfTwo | MutterOfTwo, folder: Path) -> None:
        self.compositor, self._folder = compositor, folder
        self.kind = compositor.name
        self.bus = SessionBus(compositor.session.env["DBUS_SESSION_BUS_ADDRESS"])
        self.given = eis.connect(self.kind, self.bus, *compositor.names)
        self.injector: EisInjector = self.given.open()
        self.aim(0)

    def aim(self, output: int) -> None:
        """Have positions count on one of the outputs."""
        if self.given.mapping_ids:
            self.injector.aim(mapping_id=self.given.mapping_ids[output])
        else:
            self.injector.aim(region=self.compositor.rects[output])

    def window(self, output: int) -> Window:
        """Open the test window on one of the outputs, and point at its middle until that is seen."""
        log = self._folder / f"window-{output}.jsonl"
        with log.open("wb") as file:
            argv = [
                sys.executable,
                str(SUPPORT / "window.py"),
                "--output",
                self.compositor.names[output],
                "--rate",
                "2",
            ]
            self.compositor.session.programs.start("window", argv, stdout=file)
        shown = Window(log)
        eventually(lambda: shown.events("ready"), "the window")
        self.aim(output)
        eventually(lambda: self.points(shown, 960, 540, self.place(output, 960, 540)), "the window under it")
        return shown

    def place(self, output: int, x: int, y: int) -> tuple[float, float]:
        """Return where in a window that fills the output a position of the client lies."""
        rect = self.compositor.rects[output]
        return min(x * rect.width / 1920, rect.width - 1), min(y * rect.height / 1080, rect.height - 1)

    def points(self, window: Window, x: int, y: int, wanted: tuple[float, float]) -> bool:
        """Send the pointer there; return whether the window sees it there.

        From another place each time: KWin tells a window that is still on its way of a place, and then no more.
        """
        for at in (x - 20, x):
            self.inject(InputKind.MOUSE_ABSOLUTE, x=at, y=y)
        return window.pointer == pytest.approx(wanted, abs=0.01)

    def inject(self, kind: InputKind, code: int = 0, x: int = 0, y: int = 0) -> None:
        """Put an event in that must not be dropped."""
        done = self.injector.inject(InputEvent(kind, code, x, y, SURFACE))
        assert done, self.injector.counters

    def taps(self, window: Window) -> bool:
        """Touch once; return whether the window has seen that within a second."""
        before = len(window.events("touch_up"))
        self.inject(InputKind.TOUCH_DOWN, 0, 960, 540)
        self.inject(InputKind.TOUCH_UP, 0)
        deadline = monotonic_ns() + 1_000_000_000
        while monotonic_ns() < deadline:
            if len(window.events("touch_up")) > before:
                return True
            time.sleep(0.01)
        return False

    def click(self) -> None:
        """Give what is under the pointer the keyboard, as a person does."""
        self.inject(InputKind.BUTTON_DOWN, 1)
        self.inject(InputKind.BUTTON_UP, 1)

    def type(self, characters: str) -> dict[str, int]:
        """Type characters, some of which the keymap may lack; return the counters."""
        for character in characters:
            self.injector.inject(InputEvent(InputKind.TEXT, ord(character)))
        return self.injector.counters


@pytest.fixture(params=[KWinOfTwo, MutterOfTwo], ids=["kwin", "mutter"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Each server of EIS in turn."""
    kind: type[KWinOfTwo | MutterOfTwo] = request.param
    with user_session(tmp_path / kind.name) as session:
        begun = Desk(kind(session), tmp_path)
        yield begun
        begun.injector.close()
        begun.bus.close()


def test_text_arrives_in_a_program_as_the_keymap_has_it(desk: Desk, tmp_path: Path) -> None:
    written = tmp_path / "typed"
    programs = desk.compositor.session.programs
    programs.start(
        "foot", ["foot", "--fullscreen", "sh", "-c", f"echo >{written}.there; exec cat >{written}"]
    )
    eventually(Path(f"{written}.there").exists, "the terminal")
    # The terminal runs before its window has the keyboard: return is typed until it arrives.
    eventually(lambda: (desk.type("\n"), written.exists() and written.read_text())[1], "the keyboard", 60.0)
    text = "Hello, World! 42 €" if desk.kind == "mutter" else "Grüße, Wörld! 42 € @ é ^`\\{"
    desk.type(f"{text}語\n")
    eventually(lambda: text in written.read_text(encoding="utf-8"), f"{text!r} to be typed")
    assert written.read_text(encoding="utf-8").endswith(f"{text}\n")
    counters = desk.injector.counters
    assert counters["dropped_no_key_for_character"] == 1
    if desk.kind == "mutter":  # a German letter on an American keyboard is dropped, and said
        assert desk.type("ä")["dropped_no_key_for_character"] == 2


def test_the_pointer_lands_where_it_was_sent_on_either_output(desk: Desk) -> None:
    windows = [desk.window(output) for output in range(2)]
    for output in (1, 0):
        desk.aim(output)
        for x, y in ((480, 270), (0, 0), (1920, 1080), (960, 540)):
            wanted = desk.place(output, x, y)
            eventually(
                lambda window=windows[output], x=x, y=y, wanted=wanted: desk.points(window, x, y, wanted),
                f"the pointer at {wanted} of output {output}",
            )
    desk.inject(InputKind.MOUSE_MOVE, x=10, y=-3)
    x, y = desk.place(0, 960, 540)
    wanted = (x + 10, y - 3)
    eventually(lambda: windows[0].pointer == pytest.approx(wanted, abs=0.01), "the pointer moved")


def test_buttons_and_wheel_arrive(desk: Desk) -> None:
    window = desk.window(0)
    desk.click()
    buttons = eventually(
        lambda: window.events("pointer_button")[1:] and window.events("pointer_button"), "it"
    )
    assert [each["values"][-2:] for each in buttons] == [[LEFT, 1], [LEFT, 0]]
    notch = desk.compositor.notch_length
    # Up and right are positive in an event, down and right in what programs get.
    for code, distance, axis, value in (
        (0, -120, 0, notch),
        (1, 240, 1, 2 * notch),
        (0, 30, 0, -notch / 4),
    ):
        before = _turned(window)
        desk.inject(InputKind.SCROLL, code, distance)
        eventually(
            lambda before=before, axis=axis, value=value: (
                _turned(window)[axis] - before[axis] == pytest.approx(value, abs=0.01)
            ),
            f"{distance} of axis {axis}, not {_turned(window)} after {before}",
        )


def _turned(window: Window) -> tuple[float, float]:
    """Return how far each axis has been turned so far."""
    axes = [each["values"] for each in window.events("pointer_axis")]
    down, right = (sum(value for _, axis, value in axes if axis == wanted) for wanted in (0, 1))
    return down, right


def test_ten_fingers_touch_move_and_lift(desk: Desk) -> None:
    window = desk.window(1)
    assert desk.injector.takes_touch
    rect = desk.compositor.rects[1]
    wanted = [96 * (finger + 1) * rect.width / 1920 for finger in range(FINGERS)]
    rows = (row for row in range(108, 1000, 54) if _put_ten_down(desk, window, row, wanted))
    # Mutter loses the first touches of a window that is new, while it renders in software: then they are lifted, and
    # come down in another row.
    assert next(rows, None) is not None, window.events("touch_down", "touch_up", "devices")
    assert not desk.injector.inject(InputEvent(InputKind.TOUCH_DOWN, FINGERS, 5, 5, SURFACE))
    assert desk.injector.counters["dropped_further_finger"] == 1
    moved, lifted = len(window.events("touch_motion")), len(window.events("touch_up"))
    for finger in range(FINGERS):
        desk.inject(InputKind.TOUCH_MOVE, finger, 96 * (finger + 1), 1000)
    eventually(lambda: len(window.events("touch_motion")) == moved + FINGERS, "all to move")
    for finger in range(FINGERS):
        desk.inject(InputKind.TOUCH_UP, finger)
    eventually(lambda: len(window.events("touch_up")) == lifted + FINGERS, "all to lift")
    assert not window.events("touch_cancel")


def _put_ten_down(desk: Desk, window: Window, row: int, wanted: list[float]) -> bool:
    """Put ten fingers down in a row; ``False``, and all are lifted, where they have not all come within seconds."""
    began = monotonic_ns()
    for finger in range(FINGERS):
        desk.inject(InputKind.TOUCH_DOWN, finger, 96 * (finger + 1), row)
        if finger == 0 and desk.kind == "kwin":
            eventually(lambda: monotonic_ns() - began > KWIN_GESTURE_NS, "KWin to see no gesture")
    y = row * desk.compositor.rects[1].height / 1080
    deadline = monotonic_ns() + 3_000_000_000
    while monotonic_ns() < deadline:
        told = [each["values"][-3:] for each in window.events("touch_down")]
        places = [place for _, place, at in told if at == pytest.approx(y, abs=0.01)]
        if places == pytest.approx(wanted, abs=0.01):
            return True
        time.sleep(0.01)
    for finger in range(FINGERS):
        desk.inject(InputKind.TOUCH_UP, finger)
    return False


def test_all_is_let_go_when_a_client_leaves_and_when_the_host_is_killed(desk: Desk) -> None:
    window = desk.window(0)
    desk.click()
    eventually(lambda: len(window.events("pointer_button")) == 2, "the click")
    desk.inject(InputKind.KEY_DOWN, ord("A"))
    desk.inject(InputKind.BUTTON_DOWN, 1)
    eventually(lambda: desk.taps(window), "a touch of the window, which Mutter loses where that is new")
    touches = len(window.events("touch_up"))
    desk.inject(InputKind.TOUCH_DOWN, 1, 960, 540)
    eventually(lambda: window.held == {30} and len(window.events("touch_down")) > touches, "all to be down")
    desk.injector.release_all()
    eventually(lambda: not window.held, "the key to be up")
    eventually(lambda: [each["values"][-1] for each in window.events("pointer_button")] == [1, 0, 1, 0], "up")
    eventually(lambda: len(window.events("touch_up", "touch_cancel")) > touches, "the finger to lift")
    # The same of a host that is killed, in a process of its own.
    argv = [sys.executable, str(SUPPORT / "eis.py"), desk.kind]
    log = desk.compositor.session.home / "held"
    with log.open("wb") as file:
        host = desk.compositor.session.programs.start("held", argv, stdout=file)
    eventually(lambda: "held" in log.read_text(), "the other host")
    eventually(lambda: window.held == {30}, "its key to be down")
    host.signal(signal.SIGKILL)
    eventually(lambda: not window.held, "its key to be up")
    eventually(lambda: [each["values"][-1] for each in window.events("pointer_button")][4:] == [1, 0], "up")
    assert desk.compositor.program.running


def test_a_compositor_that_dies_is_a_failure_that_is_told(desk: Desk) -> None:
    desk.inject(InputKind.KEY_DOWN, ord("A"))
    desk.compositor.program.kill()
    eventually(lambda: desk.injector.failure is not None, "the end of the connection")
    with pytest.raises(DesktopError, match="closed its input connection"):
        desk.injector.inject(InputEvent(InputKind.KEY_UP, ord("A")))
    desk.injector.release_all()


def test_how_long_a_movement_takes(desk: Desk, record_property: Callable[[str, object], None]) -> None:
    window = desk.window(0)
    took: list[float] = []
    for step in range(150):
        before = len(window.events("pointer_motion"))
        began = monotonic_ns()
        desk.inject(InputKind.MOUSE_MOVE, x=1 if step % 2 else -1)
        moved = eventually(lambda before=before: window.events("pointer_motion")[before:], "the movement")
        took.append((moved[0]["at_ns"] - began) / 1e6)
    p50, p95 = statistics.median(took), statistics.quantiles(took, n=20)[-1]
    said = f"{desk.kind}: a movement reaches a program in {p50:.2f} ms (p95 {p95:.2f})"
    record_property("call_to_client", said)
    say(said)
