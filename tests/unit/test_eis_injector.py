"""The injector of an EIS server: its thread, its waits, and what becomes of it when the server goes."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from punktfunk.desktop.inject import ei_wire, eis
from punktfunk.desktop.inject.ei_wire import Message
from punktfunk.desktop.inject.eis import EisInjector
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent, InputKind
from punktfunk.log_ring import LogRing
from tests.support.eis_server import CONNECTION, EisServer, u32, u64
from tests.support.waiting import PATIENCE_S, eventually

KEY_DOWN = InputEvent(InputKind.KEY_DOWN, ord("A"))
MOVE = InputEvent(InputKind.MOUSE_MOVE, x=1)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the other thread, which a busy machine gives no time, as long as it takes."""
    for limit in ("START_LIMIT_S", "_QUIET_S", "LOCK_LIMIT_S", "CLOSE_LIMIT_S"):
        monkeypatch.setattr(eis, limit, PATIENCE_S)


@pytest.fixture
def server() -> Iterator[EisServer]:
    begun = EisServer()
    begun.greet()
    begun.welcome()
    begun.seat("ei_keyboard", "ei_pointer")
    yield begun
    begun.hang_up()


def opened(server: EisServer) -> EisInjector:
    """Return an injector with a keyboard and a pointer."""
    seat = server.number() - 1
    server.device(seat, "ei_keyboard", keymap=Keyboard("de").keymap_text)
    server.device(seat, "ei_pointer")
    return EisInjector(server.client)


def keys(server: EisServer) -> list[bytes]:
    """Return the keys that the server was told of since the last time."""
    keyboards = {parts["ei_keyboard"] for parts in server.parts.values() if "ei_keyboard" in parts}
    return [body for object_id, opcode, body in server.told() if object_id in keyboards and opcode == 1]


def test_it_waits_for_no_more_than_all_devices(server: EisServer) -> None:
    injector = opened(server)
    assert injector.inject(KEY_DOWN)
    assert injector.inject(MOVE)
    assert injector.counters == {"injected": 2}
    assert keys(server) == [u32(30, 1)]
    injector.close()
    assert keys(server) == [u32(30, 0)]


def test_text_is_typed_by_the_keymap_that_the_server_sent(server: EisServer) -> None:
    injector = opened(server)
    assert injector.inject(InputEvent(InputKind.TEXT, ord("z")))
    assert keys(server) == [u32(21, 1), u32(21, 0)]
    injector.close()


def test_a_character_that_cannot_be_typed_is_told_once_and_not_named(
    server: EisServer, ring: LogRing
) -> None:
    injector = opened(server)
    for character in "語本":
        assert not injector.inject(InputEvent(InputKind.TEXT, ord(character)))
    assert injector.counters["dropped_no_key_for_character"] == 2
    said = [str(entry) for entry in ring.entries() if "layout lacks it" in entry.event]
    assert len(said) == 1
    assert "語" not in said[0]
    injector.close()


def test_without_a_keymap_text_is_typed_by_the_one_that_was_given(server: EisServer) -> None:
    seat = server.number() - 1
    server.device(seat, "ei_keyboard")
    server.device(seat, "ei_pointer")
    injector = EisInjector(server.client, keyboard=Keyboard("de"))
    assert injector.inject(InputEvent(InputKind.TEXT, ord("z")))
    assert keys(server) == [u32(21, 1), u32(21, 0)]
    injector.close()


def test_a_device_that_comes_later_is_used(server: EisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eis, "START_LIMIT_S", 0.1)
    injector = EisInjector(server.client)
    assert not injector.inject(MOVE)
    assert injector.counters == {"injected": 0, "dropped_no_pointer": 1}
    server.device(server.number() - 1, "ei_pointer")
    eventually(lambda: injector.inject(MOVE), "the device")
    injector.close()


def test_a_server_that_hangs_up_is_a_failure_that_is_known_before_the_next_event(server: EisServer) -> None:
    injector = opened(server)
    server.hang_up()
    eventually(lambda: injector.failure is not None, "the end of the connection")
    with pytest.raises(DesktopError, match="closed"):
        injector.inject(MOVE)
    injector.release_all()
    injector.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "eis"]


def test_a_server_that_hangs_up_at_once_is_a_failure_of_opening() -> None:
    server = EisServer()
    server.hang_up()
    with pytest.raises(DesktopError, match="closed"):
        EisInjector(server.client)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(server.client)


def test_a_server_that_floods_is_heard_to_the_end(server: EisServer) -> None:
    injector = opened(server)
    server.told()
    server.raw(b"".join(Message(CONNECTION, 3, u64(99) + u32(1)).encode() for _ in range(1000)))
    answers: list[int] = []

    def answered() -> bool:
        answers.extend(object_id for object_id, _, _ in server.told())
        return answers == [99] * 1000

    eventually(answered, "an answer to each ping")
    injector.close()


def test_what_had_no_room_follows_when_the_server_reads_again(server: EisServer) -> None:
    injector = opened(server)
    sent = 0
    while not injector._link.unsent:
        assert injector.inject(MOVE)
        sent += 1
    moves: list[bytes] = []

    def arrived() -> bool:
        [part] = [parts["ei_pointer"] for parts in server.parts.values() if "ei_pointer" in parts]
        moves.extend(body for object_id, _, body in server.told() if object_id == part)
        return len(moves) == sent

    # Nothing else is injected: it is the thread that sends the rest.
    eventually(arrived, "the rest of the movements")
    injector.close()


def test_a_server_that_reads_nothing_for_long_is_a_failure(
    server: EisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ei_wire, "MAX_UNSENT_BYTES", 1 << 14)
    injector = opened(server)

    def move_for_ever() -> None:
        while True:
            injector.inject(MOVE)

    with pytest.raises(DesktopError, match="does not read"):
        move_for_ever()
    assert injector.failure is not None
    injector.close()


def test_an_event_waits_no_longer_than_it_may(server: EisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    injector = opened(server)
    monkeypatch.setattr(eis, "LOCK_LIMIT_S", 0.05)
    with injector._lock:
        assert not injector.inject(MOVE)
    assert injector.counters == {"injected": 0, "dropped_busy": 1}
    injector.close()


def test_closing_twice_is_harmless_and_nothing_is_injected_then(server: EisServer) -> None:
    gc.collect()  # what tests before have left is theirs, and may end meanwhile
    before = _descriptors()
    injector = opened(server)
    injector.close()
    injector.close()
    assert _descriptors() <= before - 1  # its socket, which was there before
    assert not injector.inject(MOVE)
    assert injector.counters == {"injected": 0, "dropped_closed": 1}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
