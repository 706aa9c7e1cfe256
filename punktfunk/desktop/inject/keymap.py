"""Keymaps and modifier state, by the system's libxkbcommon.

A virtual keyboard must bring its keymap as text and must say itself which modifiers a key changes. Both come
from the library that every Wayland compositor is linked with, bound here with ctypes.
"""

from __future__ import annotations

import ctypes
from ctypes import CDLL, POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Final

from punktfunk.desktop.inject.keycodes import EVDEV_NUM_LOCK
from punktfunk.desktop.keyboard_layout import HINT
from punktfunk.errors import CapabilityError, ConfigError

_LIBRARY: Final = "libxkbcommon.so.0"
TEXT_V1: Final = 1
"""The format of keymaps as text."""
ONLY_CRITICAL: Final = 10
"""The log level at which libxkbcommon prints nothing of a name or a keymap that is wrong: the error says it."""
KEY_UP, KEY_DOWN = 0, 1
EVDEV_OFFSET: Final = 8
"""X keycodes are evdev's plus 8, for historical reasons that the wire format keeps."""
_MODS_DEPRESSED, _MODS_LATCHED, MODS_LOCKED, LAYOUT_EFFECTIVE = 1, 2, 4, 128


class _RuleNames(ctypes.Structure):
    _fields_ = [(name, c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


@dataclass(frozen=True, slots=True)
class Modifiers:
    """The modifier masks and the layout number as ``wl_keyboard.modifiers`` carries them."""

    depressed: int
    latched: int
    locked: int
    group: int


class Keyboard:
    """A keymap and the state of a keyboard that uses it, num lock on.

    ``layout`` and ``variant`` are XKB's names (``us``, ``de`` and ``nodeadkeys``); several layouts are
    separated by commas. Raises CapabilityError without libxkbcommon and ConfigError for an unknown layout.
    """

    def __init__(self, layout: str = "us", variant: str = "") -> None:
        self._library = load_xkbcommon()
        context = self._library.xkb_context_new(0)
        if not context:
            raise CapabilityError("libxkbcommon finds no keymaps", "apt-get install xkb-data")
        self._library.xkb_context_set_log_level(context, ONLY_CRITICAL)
        names = _RuleNames(layout=layout.encode(), variant=variant.encode() or None)
        keymap = self._library.xkb_keymap_new_from_names(context, byref(names), 0)
        self._library.xkb_context_unref(context)
        if not keymap:
            raise ConfigError(
                f"there is no keyboard layout {layout!r}" + (f" with variant {variant!r}" if variant else ""),
                HINT,
            )
        pointer = self._library.xkb_keymap_get_as_string(keymap, TEXT_V1)
        text = ctypes.cast(pointer, c_char_p).value
        self.keymap_text: bytes = text or b""
        """The keymap in XKB's text format, version 1, without a terminating zero."""
        ctypes.CDLL(None).free(c_void_p(pointer))
        self._state = self._library.xkb_state_new(keymap)
        self._library.xkb_keymap_unref(keymap)
        # Clients send keypad digits as such, and navigation keys where their own num lock is off.
        self.press(EVDEV_NUM_LOCK)
        self.release(EVDEV_NUM_LOCK)

    def press(self, evdev: int) -> bool:
        """Note that a key went down; return whether that changed modifiers or layout."""
        return self._update(evdev, KEY_DOWN)

    def release(self, evdev: int) -> bool:
        """Note that a key went up; return whether that changed modifiers or layout."""
        return self._update(evdev, KEY_UP)

    @property
    def modifiers(self) -> Modifiers:
        """What applies now."""
        mods = self._library.xkb_state_serialize_mods
        return Modifiers(
            mods(self._state, _MODS_DEPRESSED),
            mods(self._state, _MODS_LATCHED),
            mods(self._state, MODS_LOCKED),
            self._library.xkb_state_serialize_layout(self._state, LAYOUT_EFFECTIVE),
        )

    def close(self) -> None:
        """Free the state. Closing twice is harmless."""
        if self._state:
            self._library.xkb_state_unref(self._state)
            self._state = None

    def _update(self, evdev: int, direction: int) -> bool:
        changed: int = self._library.xkb_state_update_key(self._state, evdev + EVDEV_OFFSET, direction)
        return changed != 0


@cache
def load_xkbcommon() -> CDLL:
    """Return libxkbcommon with the signatures of what is used of it; raise CapabilityError where there is none."""
    try:
        library = CDLL(_LIBRARY)
    except OSError as error:
        raise CapabilityError(
            f"{_LIBRARY} cannot be loaded: {error}", "apt-get install libxkbcommon0 xkb-data"
        ) from error
    signatures: dict[str, tuple[object, list[object]]] = {
        "xkb_context_new": (c_void_p, [c_int]),
        "xkb_context_set_log_level": (None, [c_void_p, c_int]),
        "xkb_context_unref": (None, [c_void_p]),
        "xkb_keymap_new_from_names": (c_void_p, [c_void_p, POINTER(_RuleNames), c_int]),
        "xkb_keymap_new_from_buffer": (c_void_p, [c_void_p, c_char_p, c_size_t, c_int, c_int]),
        "xkb_keymap_min_keycode": (c_uint32, [c_void_p]),
        "xkb_keymap_max_keycode": (c_uint32, [c_void_p]),
        "xkb_keymap_get_as_string": (c_void_p, [c_void_p, c_int]),
        "xkb_keymap_unref": (None, [c_void_p]),
        "xkb_state_new": (c_void_p, [c_void_p]),
        "xkb_state_unref": (None, [c_void_p]),
        "xkb_state_update_key": (c_int, [c_void_p, c_uint32, c_int]),
        "xkb_state_update_mask": (c_int, [c_void_p, *[c_uint32] * 6]),
        "xkb_state_key_get_one_sym": (c_uint32, [c_void_p, c_uint32]),
        "xkb_state_key_get_utf32": (c_uint32, [c_void_p, c_uint32]),
        "xkb_state_serialize_mods": (c_uint32, [c_void_p, c_int]),
        "xkb_state_serialize_layout": (c_uint32, [c_void_p, c_int]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
