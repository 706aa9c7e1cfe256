"""Keys of a board, as SDL names them, and the Windows virtual keys that punktfunk/1 carries (section 3.1).

SDL's scancodes are the usages of the USB HID keyboard page (HID usage tables, page 0x07): places on a board,
whatever is printed on them. A virtual key stands for the place that it has on a US board, so one table does for
every layout: the host's layout makes the letter.
"""

from __future__ import annotations

from typing import Final


def _row(first_scancode: int, *virtual_keys: int) -> dict[int, int]:
    return {first_scancode + offset: key for offset, key in enumerate(virtual_keys) if key}


VIRTUAL_KEY_OF_SCANCODE: Final[dict[int, int]] = {
    **_row(4, *range(0x41, 0x5B)),  # A to Z
    **_row(30, *range(0x31, 0x3A), 0x30),  # digits 1 to 9, 0
    **_row(40, 0x0D, 0x1B, 0x08, 0x09, 0x20),  # enter, escape, backspace, tab, space
    **_row(45, 0xBD, 0xBB, 0xDB, 0xDD, 0xDC, 0xDC),  # - = [ ] \ and the ISO key beside enter
    **_row(51, 0xBA, 0xDE, 0xC0, 0xBC, 0xBE, 0xBF, 0x14),  # ; ' ` , . / caps lock
    **_row(58, *range(0x70, 0x7C)),  # F1 to F12
    **_row(70, 0x2C, 0x91, 0x13, 0x2D, 0x24, 0x21, 0x2E, 0x23, 0x22),  # print, scroll lock, pause, six keys
    **_row(79, 0x27, 0x25, 0x28, 0x26),  # arrows: right, left, down, up
    **_row(83, 0x90, 0x6F, 0x6A, 0x6D, 0x6B, 0x0D),  # num lock, keypad / * - + enter
    **_row(89, *range(0x61, 0x6A), 0x60, 0x6E),  # keypad 1 to 9, 0, separator
    100: 0xE2,  # beside left shift on ISO boards
    101: 0x5D,  # menu
    **_row(104, *range(0x7C, 0x88)),  # F13 to F24
    **_row(224, 0xA2, 0xA0, 0xA4, 0x5B, 0xA3, 0xA1, 0xA5, 0x5C),  # control, shift, alt, logo: left, right
}

SCANCODE_F11: Final = 68
SCANCODE_M: Final = 16
SCANCODE_Q: Final = 20
