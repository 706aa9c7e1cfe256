"""What the loss of a frame brings about: the key frame that the client asks for."""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.analysis.records import NULL, Records
from harness.analysis.stages import FloatArray

_KEY: Final = 0x04
"""In a frame's flags (punktfunk/1 section 4.4); records of every wire have them so."""


def key_frame_waits_ms(records: Records, *, but_last: int = 0, noticed: bool = False) -> FloatArray:
    """Return for each frame that was sent and lost how long the next key frame took to be sealed, in ms.

    In the order of the frames, without the ``but_last`` last of the stream; nan where no key frame followed. Empty
    where the host left no records. With ``noticed`` only those after which the client heard of another frame before
    the last half of those: a client that hears nothing any more cannot know what it misses.
    """
    sealed = records["sealed_ns"]
    sent = (records["host_status"] == 0) & (sealed != NULL)
    last = records["index"].max(initial=0)
    due = records["index"] <= last - but_last
    if noticed:
        heard = (records["packets_received"] > 0) | (records["client_status"] == 0)
        heard &= records["index"] <= last - but_last // 2
        due &= records["index"] < records["index"][heard].max(initial=NULL)
    lost = np.flatnonzero(sent & due & (records["client_status"] > 0))
    keys = np.flatnonzero(sent & (records["flags"] != NULL) & (records["flags"] & _KEY != 0))
    following = np.searchsorted(keys, lost, side="right")
    known = following < keys.size
    waits: FloatArray = np.full(lost.size, np.nan)
    waits[known] = (sealed[keys[following[known]]] - sealed[lost[known]]) / 1e6
    return waits
