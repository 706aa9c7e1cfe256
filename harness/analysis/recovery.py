"""What the loss of a frame brings about: the key frame that the client asks for."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis.records import NULL, Records
from harness.analysis.stages import FloatArray

BoolArray: TypeAlias = NDArray[np.bool_]

_KEY: Final = 0x04
"""In a frame's flags (punktfunk/1 section 4.4); records of every wire have them so."""
_NEVER: Final = np.int64(1 << 62)


def key_frame_waits_ms(records: Records, *, of: BoolArray | None = None) -> FloatArray:
    """Return for each frame that was sent and lost how long the next key frame took to be sealed, in ms.

    In the order of the frames; nan where no key frame followed. Empty where the host left no records. With ``of``
    only of the frames that it holds for.
    """
    sealed = records["sealed_ns"]
    sent = _sent(records)
    chosen = sent if of is None else sent & of
    lost = np.flatnonzero(chosen & (records["client_status"] > 0))
    keys = np.flatnonzero(sent & (records["flags"] != NULL) & (records["flags"] & _KEY != 0))
    following = np.searchsorted(keys, lost, side="right")
    known = following < keys.size
    waits: FloatArray = np.full(lost.size, np.nan)
    waits[known] = (sealed[keys[following[known]]] - sealed[lost[known]]) / 1e6
    return waits


def answerable(
    records: Records, *, reorder_ns: int, loss_ns: int, patience_ns: int, request_ns: int
) -> BoolArray:
    """Return for each frame whether a key frame that the client asks for on its loss still belongs to this stream.

    That follows from when the client hears of later frames: it gives a frame up ``reorder_ns`` after a later one is
    complete, or ``loss_ns`` after the last packet of one that is not. Where it has asked for a key frame before, it
    asks again after ``patience_ns``, once it hears anything. ``request_ns`` later the host knows, and its next frame is
    a key frame. A client that hears nothing any more cannot know what it misses.
    """
    sent = _sent(records)
    first, last, complete = (records[name] for name in ("recv_first_ns", "recv_last_ns", "complete_ns"))
    heard = last != NULL
    if not np.any(sent) or not np.any(heard):
        return np.zeros(sent.size, dtype=bool)
    told = np.where(complete != NULL, complete + reorder_ns, np.where(heard, last + loss_ns, _NEVER))
    earliest = np.minimum.accumulate(told[::-1])[::-1]
    # A frame's loss is learnt from those after it.
    given_up = np.append(earliest[1:], _NEVER)
    heard_at = np.append(np.sort(np.concatenate([first[heard], last[heard]])), _NEVER)
    due = given_up + patience_ns
    asked = heard_at[np.minimum(np.searchsorted(heard_at, due), heard_at.size - 1)]
    answered: BoolArray = asked + request_ns <= records["sealed_ns"][sent].max()
    return answered


def _sent(records: Records) -> BoolArray:
    found: BoolArray = (records["host_status"] == 0) & (records["sealed_ns"] != NULL)
    return found
