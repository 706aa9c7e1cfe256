"""The session bus as a desktop asks it: against a bus and a program on it, both real."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from punktfunk.desktop import session_bus as module
from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.session_bus import SessionBus, require_bus, variant
from punktfunk.errors import CapabilityError, DesktopError
from tests.support.dbus import NAME, PATH, BusPeer, session_bus
from tests.support.waiting import PATIENCE_S, eventually

Bus = tuple[str, subprocess.Popen[bytes]]


@pytest.fixture
def daemon(tmp_path: Path, need_tool: Callable[..., str]) -> Iterator[Bus]:
    """The address of a bus, and its process."""
    need_tool("dbus-daemon")
    with session_bus(tmp_path) as running:
        yield running


@pytest.fixture
def peer(daemon: Bus) -> Iterator[BusPeer]:
    """A program on it."""
    running = BusPeer(daemon[0])
    yield running
    running.close()


@pytest.fixture
def bus(daemon: Bus) -> Iterator[SessionBus]:
    """A connection to it."""
    with SessionBus(daemon[0]) as connected:
        yield connected


def _pipes() -> set[str]:
    """What pipes this process has open, as the kernel names them."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(each.readlink()))
        except FileNotFoundError:
            continue
    return {name for name in found if name.startswith("pipe:")}


def test_a_call_is_answered_with_its_variants_unwrapped(bus: SessionBus, peer: BusPeer) -> None:
    body = ("text", {"key": variant("u", 7)}, 3)
    assert bus.call(NAME, PATH, NAME, "Echo", "sa{sv}i", body).body == ("text", {"key": 7}, 3)
    assert bus.call(NAME, PATH, NAME, "Wrapped").body == ({"size": (1280, 720), "deep": ["x"]},)


def test_calls_of_several_threads_each_get_their_own_answer(bus: SessionBus, peer: BusPeer) -> None:
    answers: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()

    def ask(number: int) -> None:
        answers.put((number, bus.call(NAME, PATH, NAME, "Echo", "i", (number,)).body[0]))

    threads = [threading.Thread(target=ask, args=[number]) for number in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_S)
    assert sorted(answers.get(timeout=PATIENCE_S) for _ in threads) == [(n, n) for n in range(16)]


def test_an_error_carries_its_name_and_its_words_made_printable(bus: SessionBus, peer: BusPeer) -> None:
    with pytest.raises(BusError, match=r"org\.example\.Error\.No") as caught:
        bus.call(NAME, PATH, NAME, "Fail")
    assert caught.value.name == "org.example.Error.No"
    assert "it \\x1b[31mdoes not" in caught.value.cause


def test_a_name_that_nobody_has_is_an_error_and_not_a_wait(bus: SessionBus) -> None:
    assert not bus.name_has_owner(NAME)
    with pytest.raises(BusError) as caught:
        bus.call(NAME, PATH, NAME, "Echo")
    assert caught.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"


def test_what_a_service_returns_as_a_path_is_no_way_to_break_a_call(bus: SessionBus) -> None:
    with pytest.raises(DesktopError, match="invalid object path"):
        bus.call(NAME, "no path", NAME, "Echo")


def test_a_descriptor_is_the_callers_and_no_child_inherits_it(bus: SessionBus, peer: BusPeer) -> None:
    reply = bus.call(NAME, PATH, NAME, "Give", takes_descriptors=True)
    descriptor = reply.descriptors[reply.body[0]]
    try:
        assert os.read(descriptor, 99) == b"given"
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_an_answer_that_lacks_what_was_asked_for_is_said_to(bus: SessionBus, peer: BusPeer) -> None:
    with pytest.raises(DesktopError, match="without a value"):
        bus.get_property(NAME, PATH, NAME, "Version")
    assert bus.call(NAME, PATH, NAME, "Echo", "s", ("one",)).value == "one"
    with pytest.raises(DesktopError, match=r"org\.example\.Peer\.Echo without a value"):
        _ = bus.call(NAME, PATH, NAME, "Echo").value


@pytest.mark.parametrize("member", ["Give", "FailAndGive"])
def test_a_descriptor_that_nobody_asked_for_is_closed(bus: SessionBus, peer: BusPeer, member: str) -> None:
    before = _pipes()
    with contextlib.suppress(BusError):
        assert not bus.call(NAME, PATH, NAME, member).descriptors
    with contextlib.suppress(BusError):
        # An error has none that anybody could take.
        os.close(bus.call(NAME, PATH, NAME, member, takes_descriptors=True).descriptors[0])
    eventually(lambda: _pipes() <= before, "the pipes are closed on both sides")


def test_a_descriptor_that_comes_too_late_is_closed(bus: SessionBus, peer: BusPeer) -> None:
    before = _pipes()
    with pytest.raises(DesktopError, match="does not answer"):
        bus.call(NAME, PATH, NAME, "Hang", timeout_s=0.05)
    bus.call(NAME, PATH, NAME, "GiveLate")
    eventually(lambda: _pipes() <= before, "the pipe is closed on both sides")
    assert bus.call(NAME, PATH, NAME, "Echo", "s", ("after it",)).body == ("after it",)


def test_a_signal_is_told_in_order_until_it_is_cancelled(bus: SessionBus, peer: BusPeer) -> None:
    told: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()
    cancel = bus.subscribe(PATH, NAME, "Changed", told.put)
    for number in range(3):
        peer.signal("Changed", "iv", number, _wrapped(number))
    assert [told.get(timeout=PATIENCE_S) for _ in range(3)] == [(0, "n0"), (1, "n1"), (2, "n2")]
    cancel()
    cancel()
    peer.signal("Changed", "iv", 3, _wrapped(3))
    fence = bus.subscribe(PATH, NAME, "Fence", told.put)
    peer.signal("Fence", "s", "end")
    assert told.get(timeout=PATIENCE_S) == ("end",)
    fence()


def test_what_waited_for_its_turn_is_not_told_after_the_cancellation(bus: SessionBus, peer: BusPeer) -> None:
    told: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()
    go_on = threading.Event()

    def slow(body: tuple[object, ...]) -> None:
        told.put(body)
        go_on.wait(PATIENCE_S)

    cancel = bus.subscribe(PATH, NAME, "Changed", slow)
    bus.subscribe(PATH, NAME, "Fence", told.put)
    peer.signal("Changed", "i", 1)
    peer.signal("Changed", "i", 2)
    peer.signal("Fence", "s", "end")
    assert told.get(timeout=PATIENCE_S) == (1,)
    bus.call(NAME, PATH, NAME, "Echo")  # whose answer comes after all of these
    cancel()
    go_on.set()
    assert told.get(timeout=PATIENCE_S) == ("end",)


def test_what_is_told_may_call_in_turn(bus: SessionBus, peer: BusPeer) -> None:
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    bus.subscribe(
        PATH, NAME, "Changed", lambda body: told.put(bus.call(NAME, PATH, NAME, "Echo", "i", body).body)
    )
    peer.signal("Changed", "i", 5)
    assert told.get(timeout=PATIENCE_S) == (5,)


def test_a_signal_of_a_stranger_is_not_taken_for_the_senders(
    bus: SessionBus, daemon: Bus, peer: BusPeer
) -> None:
    told: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()
    bus.subscribe(PATH, NAME, "Changed", told.put, sender=NAME)
    stranger = BusPeer(daemon[0], "org.example.Stranger")
    try:
        stranger.signal("Changed", "s", "to all")
        stranger.signal("Changed", "s", "to you", to=bus.unique_name)
    finally:
        stranger.close()
    peer.signal("Changed", "s", "true")
    assert told.get(timeout=PATIENCE_S) == ("true",)


def test_the_sender_is_known_again_when_it_comes_back(bus: SessionBus, daemon: Bus, peer: BusPeer) -> None:
    told: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()
    bus.subscribe(PATH, NAME, "Changed", told.put, sender=NAME)
    peer.close()
    again = BusPeer(daemon[0])
    try:
        again.signal("Changed", "s", "again")
        assert told.get(timeout=PATIENCE_S) == ("again",)
    finally:
        again.close()


def test_an_owner_that_goes_and_one_that_comes_are_told(bus: SessionBus, daemon: Bus, peer: BusPeer) -> None:
    owners: queue.SimpleQueue[str] = queue.SimpleQueue()
    bus.watch_owner(NAME, owners.put)
    peer.close()
    assert not owners.get(timeout=PATIENCE_S)
    again = BusPeer(daemon[0])
    try:
        assert owners.get(timeout=PATIENCE_S) == bus.owner_of(NAME)
    finally:
        again.close()


def test_a_bus_that_ends_ends_calls_and_all_names_with_it(
    bus: SessionBus, daemon: Bus, peer: BusPeer
) -> None:
    owners: queue.SimpleQueue[str] = queue.SimpleQueue()
    bus.watch_owner(NAME, owners.put)
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def hang() -> None:
        with pytest.raises(DesktopError) as caught:
            bus.call(NAME, PATH, NAME, "Hang", timeout_s=PATIENCE_S)
        ended.put(caught.value.cause)

    caller = threading.Thread(target=hang)
    caller.start()
    eventually(lambda: peer._late, "the call is under way")
    daemon[1].kill()
    assert not owners.get(timeout=PATIENCE_S)
    assert "has gone" in ended.get(timeout=PATIENCE_S)
    caller.join(PATIENCE_S)
    assert bus.lost
    with pytest.raises(DesktopError, match="has gone"):
        bus.call(NAME, PATH, NAME, "Echo")


def test_a_closed_connection_leaves_no_thread_and_no_descriptor(daemon: Bus) -> None:
    def connect() -> None:
        with SessionBus(daemon[0]) as one:
            one.subscribe(PATH, NAME, "Changed", lambda _body: None)
        one.close()
        with pytest.raises(DesktopError, match="closed"):
            one.owner_of(NAME)

    connect()  # what is loaded once
    gc.collect()  # what tests before have left is theirs, and may end meanwhile
    threads, descriptors = set(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))
    connect()
    assert set(threading.enumerate()) <= threads
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_no_bus_is_said_with_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(CapabilityError, match="DBUS_SESSION_BUS_ADDRESS") as caught:
        require_bus()
    assert "not by sudo" in caught.value.hint
    (tmp_path / "bus").touch()
    require_bus()
    with pytest.raises(CapabilityError, match="no D-Bus session bus answers"):
        SessionBus()
    for address in ("unix:path=/no/such/bus", "carrier-pigeon:"):
        with pytest.raises(CapabilityError, match="no D-Bus session bus answers"):
            SessionBus(address)


def test_a_bus_that_accepts_and_says_nothing_is_waited_for_no_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_CONNECT_LIMIT_S", 0.1)
    gc.collect()
    caplog.clear()  # what tests before have left behind is theirs
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "bus"))
        mute.listen()
        with pytest.raises(CapabilityError, match="no D-Bus session bus answers"):
            SessionBus(f"unix:path={tmp_path / 'bus'}")
    gc.collect()
    assert not caplog.records  # such as of a task that was left pending


def _wrapped(number: int) -> object:
    return variant("s", f"n{number}")
