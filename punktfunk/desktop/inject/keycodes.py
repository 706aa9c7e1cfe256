"""Windows virtual keys, which clients send, and the evdev key codes of the same keys on a board.

A virtual key stands for the position that it has on a US keyboard; the session's keymap makes the letter.
Sources: WinUser.h's VK_ constants, linux/input-event-codes.h's KEY_ and BTN_ ones.
"""

from __future__ import annotations

from typing import Final


def _row(first_virtual_key: int, *evdev: int) -> dict[int, int]:
    return {first_virtual_key + offset: code for offset, code in enumerate(evdev) if code}


_LETTERS: Final = _row(
    0x41, 30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50,  # A to M
    49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44,  # N to Z
)  # fmt: skip

EVDEV_OF_VIRTUAL_KEY: Final[dict[int, int]] = {
    **_LETTERS,
    **_row(0x08, 14, 15),  # backspace, tab
    0x0D: 28,  # enter
    **_row(0x10, 42, 29, 56, 119, 58),  # shift, control, alt, pause, caps lock
    0x15: 93,  # kana
    0x19: 123,  # kanji, hanja
    0x1B: 1,  # escape
    **_row(0x1C, 92, 94),  # convert, non-convert
    **_row(0x20, 57, 104, 109, 107, 102, 105, 103, 106, 108),  # space, pages, end, home, arrows
    **_row(0x2C, 99, 110, 111, 138),  # print screen, insert, delete, help
    **_row(0x30, 11, 2, 3, 4, 5, 6, 7, 8, 9, 10),  # digits 0 to 9
    **_row(0x5B, 125, 126, 127, 0, 142),  # windows left and right, menu, sleep
    **_row(0x60, 82, 79, 80, 81, 75, 76, 77, 71, 72, 73),  # keypad 0 to 9
    **_row(0x6A, 55, 78, 121, 74, 83, 98),  # keypad * + separator - . /
    **_row(0x70, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 87, 88),  # F1 to F12
    **_row(0x7C, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194),  # F13 to F24
    **_row(0x90, 69, 70),  # num lock, scroll lock
    **_row(0xA0, 42, 54, 29, 97, 56, 100),  # shift, control, alt: left and right
    **_row(0xA6, 158, 159, 173, 128, 217, 156, 172),  # browser keys
    **_row(0xAD, 113, 114, 115, 163, 165, 166, 164, 155, 226, 148, 140),  # volume, media, programs
    **_row(0xBA, 39, 13, 51, 12, 52, 53, 41),  # ; = , - . / `
    **_row(0xDB, 26, 43, 27, 40),  # [ \ ] '
    0xE2: 86,  # the key beside left shift on ISO boards
}

EVDEV_NUM_LOCK: Final = 69

EVDEV_OF_BUTTON: Final[dict[int, int]] = {1: 0x110, 2: 0x112, 3: 0x111, 4: 0x113, 5: 0x114}
"""Buttons of punktfunk/1 section 3.1 (left, middle, right, X1, X2) as BTN_LEFT, _MIDDLE, _RIGHT, _SIDE, _EXTRA."""
