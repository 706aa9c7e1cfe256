"""What a host streams: everything of the media layer, and a desktop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk import media
from punktfunk.desktop import BackendName, capture
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.media import EncoderConfig, FileSpec, Opener, Producer, SyntheticSpec, TestCardSpec


class DesktopSpec(BaseModel):
    """A desktop: the one that the host was started in, or a headless one of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["desktop"] = "desktop"
    backend: Literal["auto"] | BackendName = "auto"
    """``auto`` takes the first that can be streamed here, in the order of :class:`BackendName`."""
    app: tuple[str, ...] = ()
    """Argument list of the program that a headless desktop starts with its first stream; () chooses one."""
    keyboard_layout: str = "us"
    audio: bool = True
    """Stream the sound too, where PipeWire is installed; a desktop without it is streamed silently."""


HostSource = Annotated[TestCardSpec | FileSpec | SyntheticSpec | DesktopSpec, Field(discriminator="kind")]
"""What a host's configuration may name."""

WorkerSource = Annotated[FileSpec | SyntheticSpec | ScreenSpec, Field(discriminator="kind")]
"""What a stream worker is told to open: of a desktop, the screen of one output."""

PRODUCERS: Final[Mapping[str, Opener]] = {**media.PRODUCERS, **capture.PRODUCERS}
"""What opens each of them, by its ``kind``."""


def open_worker_producer(source: WorkerSource, encoder: EncoderConfig) -> Producer:
    """Open what a worker streams; raise as :func:`punktfunk.media.open_producer` and ``capture.open_wlr`` do."""
    return PRODUCERS[source.kind](source, encoder)
