"""What becomes of a GNOME desktop whose Mutter refuses, ends or says nonsense: by one that does so at a wish, on a bus.

The real one streams in ``tests/desktops/test_mutter.py``.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from dbus_fast import Variant

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.gnome_shell import shell_version
from punktfunk.desktop.mutter import MutterDesktop, examine, reach, session
from punktfunk.desktop.mutter import desktop as mutter_desktop
from punktfunk.desktop.mutter.reach import require_mutter
from punktfunk.desktop.mutter.session import MutterSession
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import CapabilityError, DesktopError, SessionClosedError, SharingStoppedError
from punktfunk.input import InputEvent, InputKind
from punktfunk.units import Mode
from tests.support.dbus import session_bus
from tests.support.fake_mutter import FAILED, REMOTE_DESKTOP, UNKNOWN_METHOD, FakeMutter
from tests.support.waiting import PATIENCE_S, eventually

MODE = Mode(1280, 720, 60)


@pytest.fixture
def address(tmp_path: Path, need_tool: Callable[..., str]) -> Iterator[str]:
    """A bus."""
    need_tool("dbus-daemon")
    with session_bus(tmp_path) as (address, _):
        yield address


@pytest.fixture
def mutter(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMutter]:
    """A Mutter on it, and no PipeWire."""
    monkeypatch.setenv("PIPEWIRE_RUNTIME_DIR", str(tmp_path))
    running = FakeMutter(address)
    yield running
    running.close()


@pytest.fixture
def desktop(address: str, mutter: FakeMutter) -> Iterator[MutterDesktop]:
    """A desktop that is Mutter's."""
    with MutterDesktop(address=address) as opened:
        yield opened


def _screen(output: object) -> PipeWireScreen:
    screen = getattr(output, "screen", None)
    assert isinstance(screen, PipeWireScreen)
    return screen


def test_nothing_is_asked_of_mutter_before_a_stream_and_all_is_over_after_the_last(
    desktop: MutterDesktop, mutter: FakeMutter
) -> None:
    assert not mutter.calls
    first, second = desktop.provide(MODE), desktop.provide(MODE)
    assert mutter.calls["RemoteDesktop.CreateSession"] == 1
    assert mutter.calls["ScreenCast.Session.RecordVirtual"] == 2
    desktop.give_back(first)
    assert (mutter.calls["ScreenCast.Stream.Stop"], mutter.calls["RemoteDesktop.Session.Stop"]) == (1, 0)
    desktop.give_back(first)
    desktop.give_back(second)
    assert mutter.calls["RemoteDesktop.Session.Stop"] == 1
    assert first.name != second.name


@pytest.mark.parametrize(
    ("shell", "newer"),
    [
        ("48.7", False),
        ("49.2", False),
        ("50.0", True),
        ("50.beta", True),
        ("", False),
        ("ColorManager", True),
    ],
)
def test_gnome_48_is_asked_for_twice_the_rate_and_for_no_scale(address: str, shell: str, newer: bool) -> None:
    service = ("org.gnome.Mutter.ColorManager",) if shell == "ColorManager" else ()
    mutter = FakeMutter(address, *service, shell="" if service else shell)
    try:
        with MutterDesktop(address=address) as desktop:
            output = desktop.provide(MODE)
            screen = _screen(output)
            assert (screen.sized, screen.node, screen.offer_hz) == (True, 40, None if newer else 120)
            changed = desktop.change(output, Mode(1920, 1080, 30))
            assert _screen(changed).offer_hz == (None if newer else 60)
            assert (changed.name, changed.mode) == (output.name, Mode(1920, 1080, 30))
            scaled = desktop.provide(MODE, scale=9.0)
            assert _screen(scaled).sized is not newer
            assert mutter.modes == [None, [1280, 720, 60.0, 4.0] if newer else None]
            assert _screen(desktop.change(scaled, Mode(1920, 1080, 30))).sized is not newer
            desktop.provide(MODE, scale=0.5)
            assert mutter.modes[2] is None
    finally:
        mutter.close()


def test_a_shells_version_that_is_none_is_not_believed(address: str) -> None:
    for said in ("../../etc", "48.7; rm", "4800.1"):
        mutter = FakeMutter(address, shell=said)
        try:
            with SessionBus(address) as bus:
                assert shell_version(bus) == ""
        finally:
            mutter.close()


def test_a_bus_without_mutter_and_one_with_an_old_one_say_so(address: str) -> None:
    with SessionBus(address) as bus:
        with pytest.raises(CapabilityError, match="no GNOME session runs here"):
            require_mutter(bus)
        old = FakeMutter(address, api_version=2)
        try:
            with pytest.raises(CapabilityError, match="makes no virtual monitors"):
                require_mutter(bus)
        finally:
            old.close()


def test_what_is_found_is_said_and_what_is_not_there_is_not_to_be_mended(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reach, "require_library", lambda: None)
    monkeypatch.setattr(reach, "require_keymaps", lambda: None)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    for desktop, absent in (("GNOME", False), ("ubuntu:GNOME", False), ("KDE", True), ("", True)):
        monkeypatch.setenv("XDG_CURRENT_DESKTOP", desktop)
        found = examine()
        assert (found.usable, found.absent, found.hint != "") == (False, absent, True)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    monkeypatch.setenv("XDG_CURRENT_DESKTOP", "GNOME")
    assert examine().absent, "nobody has Mutter's name"
    mutter = FakeMutter(address)
    try:
        assert (examine().usable, examine().reason) == (True, "GNOME 48.7 runs here")

        def lacks() -> None:
            raise CapabilityError("libxkbcommon is not installed", "apt-get install libxkbcommon0")

        monkeypatch.setattr(reach, "require_keymaps", lacks)
        assert (
            examine().reason
            == "GNOME 48.7 runs here; input is put in by calls, for libxkbcommon is not installed"
        )
        assert (examine().usable, examine().hint) == (True, "apt-get install libxkbcommon0")
        monkeypatch.setattr(reach, "require_library", lacks)
        assert (examine().usable, examine().absent) == (False, False)
    finally:
        mutter.close()


@pytest.mark.parametrize(
    "refusal",
    [
        ("org.freedesktop.DBus.Error.Failed", "Session creation inhibited"),
        ("org.freedesktop.DBus.Error.AccessDenied", "no"),
    ],
)
def test_a_locked_screen_is_named_as_such(
    desktop: MutterDesktop, mutter: FakeMutter, refusal: tuple[str, str]
) -> None:
    mutter.errors["RemoteDesktop.CreateSession"] = refusal
    with pytest.raises(DesktopError, match="while it is locked"):
        desktop.provide(MODE)
    del mutter.errors["RemoteDesktop.CreateSession"]
    assert desktop.provide(MODE)


def test_a_session_that_mutter_ends_is_a_failure_until_the_next_stream(
    desktop: MutterDesktop, mutter: FakeMutter
) -> None:
    output = desktop.provide(MODE)
    mutter.end_session()
    failure = eventually(lambda: desktop.failure, "the desktop has failed")
    assert "has ended the session" in failure.cause
    with pytest.raises(DesktopError, match="has gone"):
        desktop.change(output, MODE)
    with pytest.raises(DesktopError, match="has ended the session"):
        desktop.inject(InputEvent(InputKind.KEY_DOWN, 65))
    desktop.give_back(output)
    assert desktop.release_all() == {}
    # Nobody has stopped the sharing where PipeWire has gone, too: here there is none.
    again = desktop.provide(MODE)
    assert desktop.failure is None
    assert again.name != output.name
    with pytest.raises(DesktopError, match="has gone"):
        desktop.change(output, MODE)
    desktop.give_back(output)  # of a stream that ends late: not the new one
    assert desktop.change(again, MODE)
    assert mutter.calls["ScreenCast.Stream.Stop"] == 0
    desktop.give_back(again)
    assert mutter.calls["RemoteDesktop.Session.Stop"] == 1


@pytest.fixture
def pipewire(tmp_path: Path) -> Iterator[socket.socket]:
    """What a server of PipeWire looks like from afar."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "pipewire-0"))
        server.listen()
        yield server


@pytest.mark.parametrize("told", [True, False], ids=["told", "found"])
def test_whoever_stops_the_sharing_has_nobody_see_the_desktop_for_a_minute(
    desktop: MutterDesktop,
    mutter: FakeMutter,
    pipewire: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    told: bool,
) -> None:
    monkeypatch.setattr(mutter_desktop, "_TOLD_LIMIT_S", PATIENCE_S)
    desktop.provide(MODE)
    if told:
        mutter.end_session()
        eventually(lambda: desktop.failure is not None, "the desktop has failed")
    else:
        mutter.errors["ScreenCast.Session.RecordVirtual"] = (
            "org.freedesktop.DBus.Error.UnknownMethod",
            "gone",
        )
        threading.Timer(0.1, mutter.end_session).start()
    for _ in range(2):
        with pytest.raises(SharingStoppedError, match="was stopped on it"):
            desktop.provide(MODE)
    mutter.errors.pop("ScreenCast.Session.RecordVirtual", None)
    # A locked screen ends a session, too, and the next one that is begun is refused as long.
    mutter.errors["RemoteDesktop.CreateSession"] = (FAILED, "Session creation inhibited")
    with pytest.raises(DesktopError, match="while it is locked"):
        desktop.provide(MODE)
    del mutter.errors["RemoteDesktop.CreateSession"]
    assert desktop.provide(MODE)
    mutter.end_session()
    eventually(lambda: desktop.failure is not None, "the desktop has failed again")
    monkeypatch.setattr(mutter_desktop, "STOPPED_S", 0.0)
    assert desktop.provide(MODE)


def test_the_end_of_a_session_is_told_once_and_nothing_listens_to_it_any_more(
    address: str, mutter: FakeMutter
) -> None:
    ends: queue.SimpleQueue[str] = queue.SimpleQueue()
    with SessionBus(address) as bus:
        first = MutterSession(bus, lambda error: ends.put(f"first: {error.cause}"))
        first.close()
        listeners = len(bus._signals)
        second = MutterSession(bus, lambda error: ends.put(f"second: {error.cause}"))
        mutter.end_session()
        assert "has ended the session" in ends.get(timeout=PATIENCE_S)
        third = MutterSession(bus, lambda error: ends.put(f"third: {error.cause}"))
        mutter.close()
        assert ends.get(timeout=PATIENCE_S) == "third: GNOME has ended"
        for session_ in (second, third):
            session_.close()
        assert len(bus._signals) == listeners
    assert ends.empty()


def test_a_session_that_has_ended_unheard_is_begun_anew_and_one_that_refuses_is_not(
    desktop: MutterDesktop, mutter: FakeMutter
) -> None:
    desktop.provide(MODE)
    record = "ScreenCast.Session.RecordVirtual"
    mutter.errors[record] = (FAILED, "no more monitors")
    with pytest.raises(DesktopError, match="no more monitors"):
        desktop.provide(MODE)
    assert mutter.calls["RemoteDesktop.CreateSession"] == 1
    del mutter.errors[record]
    mutter.errors[f"{record} /org/gnome/Mutter/ScreenCast/Session/u1"] = (UNKNOWN_METHOD, "no such object")
    output = desktop.provide(MODE)
    assert mutter.calls["RemoteDesktop.CreateSession"] == 2
    desktop.give_back(output)
    assert mutter.calls["RemoteDesktop.Session.Stop"] == 2


def test_a_stream_that_has_gone_is_given_back_in_peace_and_one_that_stays_is_told_of(
    desktop: MutterDesktop, mutter: FakeMutter
) -> None:
    first, second, _third = (desktop.provide(MODE) for _ in range(3))
    mutter.errors["ScreenCast.Stream.Stop"] = (UNKNOWN_METHOD, "no such object")
    desktop.give_back(first)
    mutter.errors["ScreenCast.Stream.Stop"] = (FAILED, "not now")
    with pytest.raises(DesktopError, match="not now"):
        desktop.give_back(second)


@pytest.mark.parametrize(
    ("told", "known"),
    [("s" * 256, True), ("s" * 257, False), ("", False), (7, False)],
    ids=["longest", "too long", "empty", "number"],
)
def test_a_mapping_id_that_is_none_is_not_believed(
    address: str, mutter: FakeMutter, told: object, known: bool
) -> None:
    mutter.mapping_id = Variant("s" if isinstance(told, str) else "u", told)
    with SessionBus(address) as bus:
        begun = MutterSession(bus, lambda _error: None)
        assert begun.add_stream().mapping_id == (told if known else None)
        begun.close()


def test_the_pointer_is_brought_to_the_first_streams_monitor_once_unless_its_client_has_moved_it(
    address: str,
) -> None:
    display = "org.gnome.Mutter.DisplayConfig"
    mutter = FakeMutter(address, display)
    moves = "RemoteDesktop.Session.NotifyPointerMotionAbsolute"

    def monitors_change() -> None:
        mutter.signal("MonitorsChanged", path="/org/gnome/Mutter/DisplayConfig", interface=display)

    try:
        with MutterDesktop(address=address) as desktop:
            first = desktop.provide(MODE)
            monitors_change()
            eventually(lambda: mutter.calls[moves] == 1, "the pointer to be brought")
            desktop.provide(MODE)
            monitors_change()
            desktop.inject(InputEvent(InputKind.KEY_DOWN, 65))
            desktop.release_all()
            assert mutter.calls[moves] == 1
            desktop.give_back(first)
        with MutterDesktop(address=address) as desktop:
            desktop.provide(MODE)
            desktop.inject(InputEvent(InputKind.MOUSE_MOVE, x=1, y=1))
            monitors_change()
            desktop.release_all()
        assert mutter.calls[moves] == 1
    finally:
        mutter.close()


def test_a_mutter_that_ends_and_comes_again_is_streamed_again(
    desktop: MutterDesktop, mutter: FakeMutter, address: str
) -> None:
    desktop.provide(MODE)
    mutter.close()
    failure = eventually(lambda: desktop.failure, "the desktop has failed")
    assert "GNOME has ended" in failure.cause
    with pytest.raises(CapabilityError, match="no GNOME session runs here"):
        desktop.provide(MODE)
    again = FakeMutter(address)
    try:
        assert desktop.provide(MODE)
        assert desktop.failure is None
    finally:
        again.close()


def test_a_bus_that_ends_and_comes_again_is_connected_to_again(
    tmp_path: Path, need_tool: Callable[..., str]
) -> None:
    need_tool("dbus-daemon")
    with session_bus(tmp_path) as (address, daemon):
        mutter = FakeMutter(address)
        desktop = MutterDesktop(address=address)
        desktop.provide(MODE)
        daemon.kill()
        eventually(lambda: desktop.failure, "the desktop has failed")
        mutter.close()
    with desktop:
        with pytest.raises(CapabilityError):
            desktop.provide(MODE)
        (tmp_path / "bus").unlink()
        with session_bus(tmp_path) as (second, _):
            mutter = FakeMutter(second)
            try:
                address_without_id = second.partition(",")[0]
                assert address.startswith(address_without_id)
                assert desktop.provide(MODE)
            finally:
                mutter.close()


@pytest.mark.parametrize(
    "node",
    [Variant("s", "40"), Variant("b", True), Variant("i", -1), Variant("u", 0xFFFFFFFF), Variant("d", 4.0)],
)
def test_a_node_that_is_none_is_refused_and_its_stream_stopped(
    desktop: MutterDesktop, mutter: FakeMutter, node: Variant
) -> None:
    mutter.node = node
    with pytest.raises(DesktopError, match="names no PipeWire node"):
        desktop.provide(MODE)
    assert mutter.calls["ScreenCast.Stream.Stop"] == 1
    assert mutter.calls["RemoteDesktop.Session.Stop"] == 1


@pytest.mark.measures
def test_a_node_that_does_not_come_is_waited_for_no_longer_than_the_limit(
    desktop: MutterDesktop, mutter: FakeMutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_NODE_LIMIT_S", 0.05)
    mutter.node = None
    began = monotonic_ns()
    with pytest.raises(DesktopError, match="PipeWire node") as caught:
        desktop.provide(MODE)
    assert "is PipeWire running?" in caught.value.hint
    assert monotonic_ns() - began < 4_000_000_000
    assert mutter.calls["ScreenCast.Stream.Stop"] == 1


def test_a_gnome_without_an_eis_server_is_said(address: str, mutter: FakeMutter) -> None:
    ends: queue.SimpleQueue[DesktopError] = queue.SimpleQueue()
    with SessionBus(address) as bus:
        begun = MutterSession(bus, ends.put)
        with pytest.raises(CapabilityError, match="no EIS server"):
            begun.connect_input()
        begun.close()
        begun.close()
        mutter.end_session()  # as Mutter answers a stop
        assert not bus.call(REMOTE_DESKTOP, "/any", f"{REMOTE_DESKTOP}.Session", "Fence").body
    assert ends.empty()
    assert mutter.calls["RemoteDesktop.Session.Stop"] == 1


def test_a_closed_desktop_gives_nothing_and_takes_nothing(address: str, mutter: FakeMutter) -> None:
    desktop = MutterDesktop(address=address)
    desktop.provide(MODE)
    desktop.close()
    desktop.close()
    assert mutter.calls["RemoteDesktop.Session.Stop"] == 1
    with pytest.raises(SessionClosedError):
        desktop.provide(MODE)
    with pytest.raises(SessionClosedError):
        desktop.inject(InputEvent(InputKind.KEY_DOWN, 65))
    names = lambda: [each.name for each in threading.enumerate()]  # noqa: E731 - a question
    eventually(lambda: not any(name.startswith("bus") for name in names()), "its threads are gone")
