"""What a client sends for text, clicks and the wheel."""

from __future__ import annotations

import string

import pytest

from punktfunk.client import input as make
from punktfunk.desktop.inject.keycodes import EVDEV_OF_VIRTUAL_KEY
from punktfunk.errors import UsageError
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.native.datagrams import encode


def test_every_printable_character_is_a_key_that_hosts_know_and_all_are_let_go_of() -> None:
    for character in string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""):
        events = list(make.text(character))
        down = [event.code for event in events if event.kind is InputKind.KEY_DOWN]
        up = [event.code for event in events if event.kind is InputKind.KEY_UP]
        assert up == down[::-1]
        assert all(code in EVDEV_OF_VIRTUAL_KEY for code in down), character


def test_capitals_and_signs_are_typed_with_shift_and_no_two_characters_alike() -> None:
    typed = {character: tuple(make.text(character)) for character in string.printable[:95]}
    assert len(set(typed.values())) == 95
    assert [event.code for event in typed["a"]] == [0x41, 0x41]
    assert [event.code for event in typed["A"]] == [0x10, 0x41, 0x41, 0x10]
    assert [event.code for event in typed["?"]] == [0x10, 0xBF, 0xBF, 0x10]


def test_a_character_without_a_key_is_refused() -> None:
    with pytest.raises(UsageError, match="US keyboard"):
        list(make.text("é"))


def test_positions_clicks_and_notches_are_as_the_wire_has_them() -> None:
    assert make.move_to(640, 360, 1280, 720) == InputEvent(
        InputKind.MOUSE_ABSOLUTE, 0, 640, 360, SurfaceSize(1280, 720)
    )
    assert encode(make.move_to(640, 360, 1280, 720))[14:].hex() == "d0020005"
    assert [event.kind for event in make.click(3)] == [InputKind.BUTTON_DOWN, InputKind.BUTTON_UP]
    assert make.scroll(-2) == InputEvent(InputKind.SCROLL, 0, -240)
    assert make.scroll(1, horizontal=True).code == 1
