"""The client's key table against the host's: a place on the client's board is the same place on the host's."""

from __future__ import annotations

from punktfunk.client.keys import VIRTUAL_KEY_OF_SCANCODE
from punktfunk.desktop.inject.keycodes import EVDEV_OF_VIRTUAL_KEY

# Usages of the HID keyboard page and the KEY_ codes that Linux gives them (drivers/hid/hid-input.c's own table
# says the same), for keys whose places are far apart in both.
SAMPLES = {
    4: 30,
    29: 44,
    30: 2,
    39: 11,
    40: 28,
    41: 1,
    44: 57,
    57: 58,
    58: 59,
    69: 88,
    79: 106,
    82: 103,
    98: 82,
}
KEYPAD_ENTER = 88
ISO_HASH = 50


def test_every_key_of_the_client_is_one_that_the_host_can_press() -> None:
    assert set(VIRTUAL_KEY_OF_SCANCODE.values()) <= set(EVDEV_OF_VIRTUAL_KEY)


def test_keys_arrive_at_the_place_that_they_were_pressed_at() -> None:
    pressed = {scancode: EVDEV_OF_VIRTUAL_KEY[VIRTUAL_KEY_OF_SCANCODE[scancode]] for scancode in SAMPLES}
    assert pressed == SAMPLES


def test_no_two_places_share_a_key_but_those_that_have_no_virtual_key_of_their_own() -> None:
    keys = [
        key for scancode, key in VIRTUAL_KEY_OF_SCANCODE.items() if scancode not in (KEYPAD_ENTER, ISO_HASH)
    ]
    assert len(set(keys)) == len(keys)
    assert len(keys) > 100
