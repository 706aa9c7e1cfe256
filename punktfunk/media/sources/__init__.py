"""Where pictures come from when no desktop is captured: the test card, or a video file.

Not here: a desktop's screens (``desktop/capture``), and encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.cursor import CursorListener
from punktfunk.errors import UsageError
from punktfunk.media.types import BT709, Colours, RawFrame
from punktfunk.units import Mode

__all__ = [
    "CursorSource",
    "FileSpec",
    "SourceSpec",
    "SyntheticSpec",
    "TestCardSpec",
    "VideoSource",
    "open_source",
]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestCardSpec(_Spec):
    """The test card."""

    __test__ = False

    kind: Literal["testcard"] = "testcard"
    entropy: float = Field(default=0.3, ge=0.0, le=1.0)
    """0: smooth and predictable; 1: strong texture and noise in every frame."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    tag: int = Field(default=0, ge=0, lt=2**16)
    """Number in the frame marker that tells streams apart."""


class FileSpec(_Spec):
    """A video file, looped and scaled to the mode."""

    kind: Literal["file"] = "file"
    path: Path
    strip: bool = True
    """Draw the frame marker over it."""
    tag: int = Field(default=0, ge=0, lt=2**16)


class SyntheticSpec(_Spec):
    """Access units with checkable content, without pictures and encoder."""

    kind: Literal["synthetic"] = "synthetic"
    frame_bytes: int | None = Field(default=None, ge=4, le=2**26)
    """Size of every access unit; None takes it from the bit rate and follows its changes."""
    key_interval: int = Field(default=1, ge=0)
    """Access units between key ones: 1 marks every one, 0 only the first and those asked for."""


SourceSpec = Annotated[TestCardSpec | FileSpec | SyntheticSpec, Field(discriminator="kind")]
"""What to stream, as configuration files say it: a mapping with ``kind``."""


class VideoSource(Protocol):
    """A source of pictures."""

    @property
    def self_paced(self) -> bool:
        """Whether ``capture`` itself waits for the next picture: pacing by the caller would only add latency.

        Without, it has a picture whenever it is asked, and the caller paces.
        """
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """What it counts itself, such as pictures left out by reason; empty for nothing."""
        ...

    def capture(self) -> RawFrame:
        """Return the next picture, of the mode's size; raise MediaError when there is none.

        It is yuv420p in memory, or in a DMA-BUF where the stream's handover has decided so.
        """
        ...

    def close(self) -> None:
        """Free what the source holds. Closing twice is harmless."""
        ...


@runtime_checkable
class CursorSource(Protocol):
    """A source that can give the pointer beside its pictures; of others it is in them, or there is none."""

    def separate_cursor(self, listener: CursorListener | None) -> None:
        """Leave the pointer out of the pictures and tell ``listener`` of it, or paint it again (``None``).

        The listener is called by ``capture``, and at once with what is known. A pointer that is too large to be told
        is painted all the same, and told as invisible meanwhile.
        """
        ...


def open_source(spec: TestCardSpec | FileSpec, mode: Mode, colours: Colours = BT709) -> VideoSource:
    """Open a source of pictures of ``mode``'s size. The test card is drawn by number, in whatever colours that means.

    Raises ConfigError for a file that cannot be opened and UsageError for the synthetic source, which has
    access units but no pictures (see :func:`punktfunk.media.producer.open_producer`).
    """
    match spec:
        case TestCardSpec():
            from punktfunk.media.sources.card import TestCardSource
            from punktfunk.media.testcard import TestCard

            card = TestCard(mode.resolution, entropy=spec.entropy, seed=spec.seed, tag=spec.tag)
            return TestCardSource(card)
        case FileSpec():
            from punktfunk.media.sources.file import FileSource

            return FileSource(spec.path, mode, draw_marker=spec.strip, tag=spec.tag, colours=colours)
        case _:
            raise UsageError(f"the source {spec.kind!r} has no pictures", "use a test card or a file")
