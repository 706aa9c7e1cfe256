"""What a host streams: everything of the media layer, and a desktop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.desktop.capture import ScreenProducer, ScreenSpec
from punktfunk.media import EncoderConfig, FileSpec, Producer, SyntheticSpec, TestCardSpec, open_producer


class DesktopSpec(BaseModel):
    """A desktop: the one that the host was started in, or a headless one of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["desktop"] = "desktop"
    backend: Literal["auto", "attached", "headless"] = "auto"
    """``auto`` takes a running wlroots session before a sway of the host's own."""
    app: tuple[str, ...] = ()
    """Argument list of the program that a headless desktop starts with its first stream."""
    keyboard_layout: str = "us"
    audio: bool = True
    """Stream the sound too, where PipeWire is installed; a desktop without it is streamed silently."""


HostSource = Annotated[TestCardSpec | FileSpec | SyntheticSpec | DesktopSpec, Field(discriminator="kind")]
"""What a host's configuration may name."""

WorkerSource = Annotated[TestCardSpec | FileSpec | SyntheticSpec | ScreenSpec, Field(discriminator="kind")]
"""What a stream worker is told to open: of a desktop, one output."""


def open_worker_producer(
    source: TestCardSpec | FileSpec | SyntheticSpec | ScreenSpec, encoder: EncoderConfig
) -> Producer:
    """Open what a worker streams; raise as :func:`punktfunk.media.open_producer` and ``ScreenProducer`` do."""
    if isinstance(source, ScreenSpec):
        return ScreenProducer(source, encoder)
    return open_producer(source, encoder)
