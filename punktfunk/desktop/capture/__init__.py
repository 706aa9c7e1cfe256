"""Pictures of a desktop: a tagged description of a screen, one protocol class, one file a back end.

A new way to capture is a class with a ``kind`` of its own in :data:`ScreenSpec`, its opener in :data:`PRODUCERS` and a
file here.

Not here: what makes outputs (``vdisplay``), and what codes pictures (``media``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.desktop.wayland import connect
from punktfunk.media import (
    EncoderConfig,
    Opener,
    Producer,
    TestCardSpec,
    VideoProducer,
    VideoSource,
    open_encoder,
)
from punktfunk.media.types import BT709, Colours
from punktfunk.units import Mode


class WlrScreen(BaseModel):
    """An output that a Wayland compositor copies on request, as wlroots ones do; as the host tells it to a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["wayland-copy"] = "wayland-copy"
    display: str
    """The compositor's socket: an absolute path, or a name within XDG_RUNTIME_DIR."""
    output: str
    cursor: bool = True
    """Have the compositor draw the pointer into the picture."""
    keepalive_ms: int = Field(default=100, ge=1, le=1000)
    """A picture is given again when nothing has changed for this long."""
    read_marker: bool = False
    """Number pictures by the test card's frame marker, -1 where there is none to read, so that a measurement can say
    which picture a client should have seen. Costs 60 µs a picture."""


ScreenSpec = Annotated[WlrScreen | TestCardSpec, Field(discriminator="kind")]
"""How the pictures of a desktop's output are had: captured from a compositor, or drawn, where nothing has to run."""


def numbered(screen: ScreenSpec) -> ScreenSpec:
    """Return the same screen with its pictures numbered by the frame marker in them; the test card's always are."""
    return screen.model_copy(update={"read_marker": True}) if isinstance(screen, WlrScreen) else screen


def open_capture(spec: WlrScreen, mode: Mode, colours: Colours = BT709) -> VideoSource:
    """Open the capture of an output, scaled to ``mode``'s size where its own is another.

    By ext-image-copy-capture where the compositor offers it, by wlr-screencopy elsewhere. Raises CapabilityError where
    it offers neither, or pywayland is missing, and DesktopError where there is no compositor or no such output.
    """
    connection = connect(spec.display)
    from punktfunk.desktop.capture import image_copy
    from punktfunk.desktop.capture.copies import CopyBuffers, CopyCapture
    from punktfunk.desktop.capture.screencopy import Screencopier

    try:
        output, buffers = connection.output(spec.output), CopyBuffers(connection)
        newer = connection.offers(image_copy.MANAGER) and connection.offers(image_copy.SOURCES)
        kind = image_copy.ImageCopier if newer else Screencopier
        return CopyCapture(
            connection,
            output,
            kind(connection, output, buffers, cursor=spec.cursor),
            buffers,
            mode,
            keepalive_ns=spec.keepalive_ms * 1_000_000,
            read_marker=spec.read_marker,
            colours=colours,
        )
    except BaseException:
        connection.close()
        raise


def open_wlr(spec: WlrScreen, encoder: EncoderConfig) -> Producer:
    """Open the capture of an output, and the encoder; raise what :func:`open_capture` and ``open_encoder`` raise."""
    opened = open_encoder(encoder)
    try:
        return VideoProducer(open_capture(spec, encoder.mode, encoder.colours), opened)
    except BaseException:
        opened.close()
        raise


PRODUCERS: Final[Mapping[str, Opener]] = {"wayland-copy": open_wlr}
"""What opens a screen, by its ``kind``; of a drawn one it is ``punktfunk.media.PRODUCERS``."""
