"""What holds of every event that comes of a client's input."""

from __future__ import annotations

import math
from typing import get_args

from punktfunk.gamestream import input as wire
from punktfunk.gamestream.input import EnableHaptics
from punktfunk.input import MAX_PADS, InputEvent, PadInput, PadMotion


def held(event: wire.Event) -> None:
    """Hold what whoever applies an event relies on."""
    if isinstance(event, InputEvent):
        if event.surface is not None:
            assert 0 <= event.x <= event.surface.width
            assert 0 <= event.y <= event.surface.height
        if event.contact is not None:
            contact = event.contact
            assert contact.pressure is None or 0 < contact.pressure <= 1
            assert contact.distance is None or 0 <= contact.distance <= 1
            assert 0 <= contact.major <= 1
            assert 0 <= contact.minor <= 1
    elif isinstance(event, PadMotion):
        assert all(map(math.isfinite, (event.x, event.y, event.z)))
    if isinstance(event, get_args(PadInput)):
        assert 0 <= event.pad < MAX_PADS
    else:
        assert isinstance(event, InputEvent | EnableHaptics)
