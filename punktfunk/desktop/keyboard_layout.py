"""How an operator names the layout of a keyboard, and XKB's names for it."""

from __future__ import annotations

import re
from typing import Final

from punktfunk.errors import ConfigError

DEFAULT_LAYOUT: Final = "us"
MAX_LAYOUTS: Final = 4
"""XKB has no more groups in a keymap."""
_MAX_CHARS: Final = 128
_ONE: Final = re.compile(r"([A-Za-z0-9_-]+)(?::([A-Za-z0-9_-]+))?")
HINT: Final = "name it as XKB does, such as de or de:nodeadkeys; /usr/share/X11/xkb/rules/base.lst lists them"


def xkb_names(text: str) -> tuple[str, str]:
    """Return the layouts and the variants that ``text`` names, each as XKB takes them, separated by commas.

    ``text`` is ``layout[:variant]``, or up to four of them behind commas: ``us,de:nodeadkeys``. Raises ConfigError
    for anything else; whether XKB knows them is found out by :class:`punktfunk.desktop.inject.keymap.Keyboard`.
    """
    named = text.split(",") if len(text) <= _MAX_CHARS else []
    found = [match for each in named if (match := _ONE.fullmatch(each)) is not None]
    if not found or len(found) != len(named) or len(found) > MAX_LAYOUTS:
        raise ConfigError(f"{text[:_MAX_CHARS]!r} is no keyboard layout", HINT)
    variants = [match[2] or "" for match in found]
    return ",".join(match[1] for match in found), ",".join(variants) if any(variants) else ""
