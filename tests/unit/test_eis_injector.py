"""The injector of an EIS server: its thread, its waits, and what becomes of it when the server goes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from punktfunk.desktop.inject.eis import EisInjector
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.errors import DesktopError
from punktfunk.input import InputEvent, InputKind
from tests.support.eis_server import EisServer, u32
from tests.support.waiting import eventually

KEY_DOWN = InputEvent(InputKind.KEY_DOWN, ord("A"))
MOVE = InputEvent(InputKind.MOUSE_MOVE, x=1)


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


def test_without_a_keymap_text_is_typed_by_the_one_that_was_given(server: EisServer) -> None:
    seat = server.number() - 1
    server.device(seat, "ei_keyboard")
    server.device(seat, "ei_pointer")
    injector = EisInjector(server.client, keyboard=Keyboard("de"))
    assert injector.inject(InputEvent(InputKind.TEXT, ord("z")))
    assert keys(server) == [u32(21, 1), u32(21, 0)]
    injector.close()


def test_a_device_that_comes_later_is_used(server: EisServer) -> None:
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


def test_closing_twice_is_harmless_and_nothing_is_injected_then(server: EisServer) -> None:
    injector = opened(server)
    injector.close()
    injector.close()
    assert not injector.inject(MOVE)
    assert injector.counters == {"injected": 0, "dropped_closed": 1}
