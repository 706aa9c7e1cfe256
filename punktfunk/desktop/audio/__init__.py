"""Sound of a desktop: where it plays, and who records it; one protocol class, one file a back end.

Not here: how it is coded (``media``) and sent (``host/peripherals``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    """Interleaved channels, shape (samples, channels), -1 to 1."""

from punktfunk.errors import CapabilityError

SAMPLE_RATE: Final = 48_000
CHUNK_SAMPLES: Final = 240
"""Samples of a chunk: 5 ms, one packet of punktfunk/1 section 3.2."""


@dataclass(frozen=True, slots=True)
class SoundPlace:
    """Where a desktop's programs play: a source of a sound server, the user's own where ``server`` is empty."""

    server: str
    source: str


def why_silent(*demands: Callable[[], None], wanted: bool) -> str:
    """Return what keeps a desktop from being heard, "" for nothing; a demand raises CapabilityError."""
    if not wanted:
        return "not asked for"
    try:
        for demand in demands:
            demand()
    except CapabilityError as error:
        return f"{error.cause} ({error.hint})"
    return ""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """5 ms of sound."""

    samples: Samples
    captured_ns: int
    """When the first sample reached the recorder (CLOCK_MONOTONIC); the server's own way is not in it."""


class AudioCapture(Protocol):
    """Records what programs play. To be read from one thread, which does nothing slow between reads."""

    @property
    def channels(self) -> int:
        """Number of channels."""
        ...

    def read(self) -> AudioChunk:
        """Wait for the next chunk, 5 ms as a rule; raise DesktopError when the sound server is gone."""
        ...

    def close(self) -> None:
        """Stop recording. Closing twice is harmless; not to be called while another thread reads."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
