"""What KWin tells of its casts and outputs, as any compositor might tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")

from punktfunk.desktop.inject import Rect
from punktfunk.desktop.kwin.modes import _Device
from punktfunk.desktop.kwin.outputs import MAX_OUTPUTS, Outputs
from punktfunk.desktop.kwin.screencast import RefusedError, Screencast
from punktfunk.desktop.wayland.connection import Connection
from punktfunk.desktop.wayland.kde import SCREENCAST
from punktfunk.errors import CapabilityError
from punktfunk.units import Mode


class Proxy:
    """An object of the compositor's: the handlers of its events, and the requests that it got."""

    def __init__(self) -> None:
        self.dispatcher: dict[str, Callable[..., None]] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.made: list[Proxy] = []

    def tell(self, event: str, *values: object) -> None:
        """Have an event happen."""
        self.dispatcher[event](self, *values)

    def __getattr__(self, request: str) -> Callable[..., Any]:
        if request.startswith("__"):
            raise AttributeError(request)

        def send(*values: object) -> Proxy:
            self.asked.append((request, *values))
            self.made.append(Proxy())
            return self.made[-1]

        return send


class Output:
    """An output as any client sees it."""

    def __init__(self, number: int, name: str, width: int = 1280, height: int = 720) -> None:
        self.number, self.name, self.width, self.height = number, name, width, height
        self.proxy = Proxy()


class FakeConnection:
    """A compositor with some outputs; ``answer`` is what it does when it is waited for."""

    def __init__(self, *outputs: Output, version: int = 5, answer: Callable[[], None] = lambda: None) -> None:
        self.outputs = list(outputs)
        self.answer = answer
        self.version = version
        self.globals: dict[str, Proxy] = {}

    def bind(self, interface: str, version: int) -> Proxy:
        assert version <= self.version_of(interface)
        return self.globals.setdefault(interface, Proxy())

    def offers(self, interface: str, version: int = 1) -> bool:
        return version <= self.version_of(interface)

    def version_of(self, interface: str) -> int:
        return self.version if interface == SCREENCAST else 1

    def adopt(self, proxy: Proxy) -> Proxy:
        return proxy

    def dispatch(self, _timeout_s: float) -> bool:
        self.answer()
        return True

    def round_trip(self) -> None:
        pass

    def flush(self) -> None:
        pass


def as_connection(fake: FakeConnection) -> Connection:
    return cast("Connection", fake)


def casting(fake: FakeConnection, *events: tuple[Any, ...]) -> Screencast:
    """Return a screencast in which each stream that is asked for tells these events."""
    manager = fake.bind(SCREENCAST, 1)

    def answer() -> None:
        for event in events:
            manager.made[-1].tell(*event)

    fake.answer = answer
    return Screencast(as_connection(fake))


def test_a_cast_has_the_node_that_it_is_told_of_and_ends_once() -> None:
    fake = FakeConnection(Output(1, "DP-1"))
    begun = casting(fake, ("created", 51)).of_output(cast("Any", fake.outputs[0]))
    assert (begun.node, begun.output, begun.virtual) == (51, "DP-1", False)
    begun.end()
    begun.end()
    assert fake.globals[SCREENCAST].made[0].asked == [("close",)]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([("failed", "OpenGL \x1b[31mcompositing")], r"OpenGL \\x1b\[31mcompositing"),
        ([("closed",)], "it ended before it began"),
        ([("created", 51), ("closed",)], "it ended before it began"),
        ([("created", 0xFFFF_FFFF)], "it names no node"),
        ([("failed", "")], "it does not begin"),
    ],
)
def test_a_refusal_has_kwins_words_and_ends_the_stream(events: list[tuple[Any, ...]], words: str) -> None:
    fake = FakeConnection(Output(1, "DP-1"))
    with pytest.raises(RefusedError, match=words):
        casting(fake, *events).of_output(cast("Any", fake.outputs[0]))
    assert fake.globals[SCREENCAST].made[0].asked == [("close",)]


def test_an_output_is_asked_for_by_its_scale_and_is_the_one_of_that_name() -> None:
    fake = FakeConnection(Output(1, "DP-1"))
    screencast = casting(fake, ("created", 51))
    answer = fake.answer

    def appear() -> None:
        answer()
        if len(fake.outputs) == 1:
            fake.outputs += [Output(2, "HDMI-1", 1600, 900), Output(3, "Virtual-punktfunk-1", 1600, 900)]

    fake.answer = appear
    begun = screencast.of_new_output("punktfunk-1", (1600, 900), 1.25)
    assert (begun.output, begun.virtual) == ("Virtual-punktfunk-1", True)
    [asked] = fake.globals[SCREENCAST].asked
    assert asked[1:2] + asked[3:] == ("punktfunk-1", 1280, 720, 1.25, 2)


@pytest.mark.parametrize(("version", "separates"), [(5, False), (6, True), (7, True)])
def test_a_kwin_from_6_7_on_leaves_the_pointer_out_of_the_pictures_beside_which_it_tells_it(
    version: int, separates: bool
) -> None:
    fake = FakeConnection(Output(1, "DP-1"), version=version)
    assert Screencast(as_connection(fake)).separates_cursor is separates


def test_the_pointer_is_in_the_pictures_or_beside_them_as_was_asked_for() -> None:
    fake = FakeConnection(Output(1, "DP-1"))
    screencast = casting(fake, ("created", 51))
    screencast.of_output(cast("Any", fake.outputs[0]))
    screencast.of_output(cast("Any", fake.outputs[0]), separate_cursor=True)
    assert [asked[-1] for asked in fake.globals[SCREENCAST].asked] == [2, 4]


def test_an_output_of_another_size_is_refused_and_taken_away() -> None:
    fake = FakeConnection(Output(1, "DP-1"))
    screencast = casting(fake, ("created", 51))
    answer = fake.answer

    def appear() -> None:
        answer()
        fake.outputs[1:] = [Output(2, "Virtual-punktfunk-1", 1280, 720)]

    fake.answer = appear
    with pytest.raises(RefusedError, match="1280x720"):
        screencast.of_new_output("punktfunk-1", (1600, 900))
    assert fake.globals[SCREENCAST].made[0].asked == [("close",)]


def test_a_kwin_that_knows_no_outputs_of_its_own_making_is_not_asked() -> None:
    fake = FakeConnection(Output(1, "DP-1"), version=1)
    with pytest.raises(RefusedError, match="makes no outputs"):
        Screencast(as_connection(fake)).of_new_output("punktfunk-1", (1600, 900))
    assert fake.globals[SCREENCAST].asked == []


def test_the_first_output_is_the_users_first_and_never_one_of_ours() -> None:
    fake = FakeConnection(Output(1, "Virtual-punktfunk-1"), Output(2, "DP-1"), Output(3, "HDMI-1"))
    outputs = Outputs(as_connection(fake))
    assert outputs.first().name == "DP-1"
    order = fake.globals["kde_output_order_v1"]
    for name in ("Virtual-punktfunk-1", "gone", "HDMI-1", "DP-1"):
        order.tell("output", name)
    assert outputs.first().name == "DP-1"
    order.tell("done")
    assert outputs.first().name == "HDMI-1"
    for number in range(2 * MAX_OUTPUTS):
        order.tell("output", f"X-{number}")
    order.tell("done")
    assert len(outputs._order) == MAX_OUTPUTS
    assert outputs.free_name() == "punktfunk-2"
    fake.outputs[1:] = []
    with pytest.raises(CapabilityError, match="no output"):
        outputs.first()


def test_a_place_is_told_when_it_changes_and_an_empty_one_is_none() -> None:
    fake = FakeConnection(Output(1, "DP-1"))
    told: list[Rect | None] = []
    place = Outputs(as_connection(fake)).place("DP-1", lambda: told.append(place.area if place else None))
    assert place is not None
    proxy = fake.globals["zxdg_output_manager_v1"].made[0]
    proxy.tell("logical_size", 0, -5)
    proxy.tell("logical_position", 1280, -20)
    assert (place.area, told) == (None, [])
    proxy.tell("logical_size", 640, 360)
    proxy.tell("logical_size", 640, 360)
    assert told == [Rect(1280, -20, 640, 360)]
    assert Outputs(as_connection(fake)).place("gone", lambda: None) is None


def test_a_mode_is_taken_by_its_exact_size_and_the_nearest_rate_within_a_hertz() -> None:
    device = _Device(as_connection(FakeConnection()), Proxy())
    described = [((1600, 900), 60_000), ((1600, 900), 89_856), ((1600, 896), 90_000), ((1600, 900), 90_900)]
    modes = []
    for size, refresh in described:
        mode = Proxy()
        device.proxy.tell("mode", mode)
        mode.tell("size", *size)
        mode.tell("refresh", refresh)
        modes.append(mode)

    def chosen(mode: Mode) -> object:
        found = device.mode(mode)
        return None if found is None else found.proxy

    assert chosen(Mode(1600, 900, 90)) is modes[1]
    assert chosen(Mode(1600, 900, 61)) is modes[0]
    assert chosen(Mode(1600, 900, 62)) is None
    assert chosen(Mode(1600, 898, 90)) is None
    modes[1].tell("removed")
    assert chosen(Mode(1600, 900, 90)) is modes[3]
