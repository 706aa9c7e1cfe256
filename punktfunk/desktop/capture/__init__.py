"""Pictures of a desktop: a tagged description of a screen, one protocol class, one file a back end.

A new way to capture is a class with a ``kind`` of its own in :data:`ScreenSpec`, its opener in :data:`PRODUCERS` and a
file here.

Not here: what makes outputs (``vdisplay``), and what codes pictures (``media``).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk import log
from punktfunk.desktop.wayland import connect
from punktfunk.errors import CapabilityError
from punktfunk.media import (
    EncoderConfig,
    Producer,
    TestCardSpec,
    VideoProducer,
    VideoSource,
    open_encoder,
)
from punktfunk.media.handover import POINTER_DRAWN, Handover
from punktfunk.media.types import BT709, Colours
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.desktop.capture.cursor_session import CursorSession
    from punktfunk.desktop.wayland.connection import Connection, Output


CursorPlace = Literal["embedded", "metadata"]
"""Whether the pointer is in the pictures, or told beside them and drawn here."""


class WlrScreen(BaseModel):
    """An output that a Wayland compositor copies on request, as wlroots ones do; as the host tells it to a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["wayland-copy"] = "wayland-copy"
    display: str
    """The compositor's socket: an absolute path, or a name within XDG_RUNTIME_DIR."""
    output: str
    cursor: CursorPlace = "embedded"
    keepalive_ms: int = Field(default=100, ge=1, le=1000)
    """A picture is given again when nothing has changed for this long; every half second once it stands still."""
    read_marker: bool = False
    """Number pictures by the test card's frame marker, -1 where there is none to read, so that a measurement can say
    which picture a client should have seen. Costs 60 µs a picture."""


class PipeWireScreen(BaseModel):
    """A node of PipeWire that gives video, as the host tells it to a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pipewire"] = "pipewire"
    node: int = Field(ge=0, lt=0xFFFF_FFFF)
    """Its id on the connection that it is reached by."""
    remote: str | None = None
    """PipeWire's socket: an absolute path, or a name within XDG_RUNTIME_DIR; None: as the environment says. Not asked
    where the worker is given a connection with its order (``DesktopOutput.open_remote``)."""
    sized: bool = False
    """Whether the producer makes its pictures of the size and rate that are asked for, as Mutter's virtual monitors do;
    elsewhere any size is taken, and scaled."""
    offer_hz: int | None = Field(default=None, ge=1, le=1000)
    """Rate to ask a producer for in place of the mode's: Mutter 48 halves what it is asked for."""
    begins_anew: bool = True
    """Whether the producer can be stopped and begun anew for a first picture: xdg-desktop-portal-wlr 0.8 ends by it."""
    provoked_at: str | None = None
    """Wayland socket of a compositor that gives its later consumers no first picture of a program that stands still, as
    gamescope does not: a window is opened there for a moment, after which it does."""
    cursor: CursorPlace = "embedded"
    oldest_stamp_ms: int = Field(default=10_000, ge=1, le=10_000)
    """A picture whose stamp is older is taken for made when it comes. KWin stamps by its last presentation, which on a
    desktop that stood still was long ago."""
    keepalive_ms: int = Field(default=100, ge=1, le=10_000)
    """A picture is given again when nothing has changed for this long; every half second once it stands still."""
    read_marker: bool = False
    """As of :class:`WlrScreen`."""


ScreenSpec = Annotated[WlrScreen | PipeWireScreen | TestCardSpec, Field(discriminator="kind")]
"""How the pictures of a desktop's output are had: captured from a compositor, or drawn, where nothing has to run."""


ScreenOpener = Callable[[Any, EncoderConfig, int | None], Producer]
"""Opens a screen of one kind and the encoder; the last parameter is the descriptor of a connection that the screen is
reached by, if there is one, and is the opener's from then on."""


def numbered(screen: ScreenSpec) -> ScreenSpec:
    """Return the same screen with its pictures numbered by the frame marker in them; the test card's always are."""
    captured = isinstance(screen, WlrScreen | PipeWireScreen)
    return screen.model_copy(update={"read_marker": True}) if captured else screen


def shared(screen: ScreenSpec) -> ScreenSpec:
    """Return how a screen that others capture too is captured: in the size that it has, whatever the stream wants."""
    return screen.model_copy(update={"sized": False}) if isinstance(screen, PipeWireScreen) else screen


def open_capture(
    spec: WlrScreen | PipeWireScreen,
    mode: Mode,
    colours: Colours = BT709,
    *,
    connection: int | None = None,
    handover: Handover | None = None,
) -> VideoSource:
    """Open the capture of an output, scaled to ``mode``'s size where its own is another.

    ``connection`` is the descriptor of a PipeWire remote that the screen is reached by, and is taken. ``handover``
    decides what becomes of a picture in a DMA-BUF; without, all frames are in memory. Raises CapabilityError where a
    library or what the compositor would have to offer is missing, and DesktopError where there is no compositor, no
    PipeWire or no such output.
    """
    if isinstance(spec, PipeWireScreen):
        return _open_pipewire(spec, mode, colours, connection, handover or Handover("the caller", None))
    close_unused(connection)
    return _open_copies(spec, mode, colours)


def close_unused(connection: int | None) -> None:
    """Close a connection that is of no use to a screen of that kind."""
    if connection is not None:
        os.close(connection)


def obstacles(spec: WlrScreen | PipeWireScreen) -> list[str]:
    """Return in words what has to be done to each picture of a screen, for which it has to be in memory."""
    found = []
    if isinstance(spec, WlrScreen):
        found.append("the compositor copies its pictures into memory")
    elif spec.cursor == "metadata":
        found.append(POINTER_DRAWN)
    if spec.read_marker:
        found.append("the frame marker is read")
    return found


def _open_pipewire(
    spec: PipeWireScreen, mode: Mode, colours: Colours, connection: int | None, handover: Handover
) -> VideoSource:
    from punktfunk.desktop.capture.pipewire import PipeWireCapture
    from punktfunk.desktop.capture.provoke import provoke
    from punktfunk.desktop.capture.shared_stream import join
    from punktfunk.desktop.pipewire.formats import Wish
    from punktfunk.desktop.pipewire.stream import PipeWireStream

    wish = Wish.of(mode, exact=spec.sized, hz=spec.offer_hz, dma_bufs=handover.offers)

    def opened() -> PipeWireStream:
        cursor = spec.cursor == "metadata"
        return PipeWireStream(
            spec.node,
            wish,
            remote=spec.remote,
            descriptor=connection,
            cursor=cursor,
            oldest_stamp_ns=spec.oldest_stamp_ms * 1_000_000,
        )

    shared = join((spec.node, spec.remote), wish, opened, lambda: close_unused(connection))
    return PipeWireCapture(
        shared,
        mode,
        wish,
        handover,
        keepalive_ns=spec.keepalive_ms * 1_000_000,
        read_marker=spec.read_marker,
        colours=colours,
        begins_anew=spec.begins_anew,
        provoke=None if spec.provoked_at is None else functools.partial(provoke, spec.provoked_at),
    )


def _open_copies(spec: WlrScreen, mode: Mode, colours: Colours) -> VideoSource:
    """Open the capture of an output by ext-image-copy-capture where that is offered, by wlr-screencopy elsewhere."""
    connection = connect(spec.display)
    from punktfunk.desktop.capture.copies import CopyBuffers, CopyCapture
    from punktfunk.desktop.capture.image_copy import ImageCopier
    from punktfunk.desktop.capture.screencopy import Screencopier
    from punktfunk.desktop.wayland.capture_session import is_offered

    try:
        output, buffers = connection.output(spec.output), CopyBuffers(connection)
        kind = ImageCopier if is_offered(connection) else Screencopier
        pointing = _open_pointing(connection, output) if spec.cursor == "metadata" else None
        return CopyCapture(
            connection,
            output,
            kind(connection, output, buffers, cursor=pointing is None),
            buffers,
            mode,
            pointing=pointing,
            keepalive_ns=spec.keepalive_ms * 1_000_000,
            read_marker=spec.read_marker,
            colours=colours,
        )
    except BaseException:
        connection.close()
        raise


def _open_pointing(connection: Connection, output: Output) -> CursorSession | None:
    """Open what tells the pointer of an output; None where it cannot be told any more, and is to be painted."""
    from punktfunk.desktop.capture.cursor_session import CursorSession

    try:
        return CursorSession(connection, output)
    except CapabilityError as error:
        log.get("desktop").warning("the pointer is painted", cause=error.cause, hint=error.hint)
        return None


def open_screen(
    spec: WlrScreen | PipeWireScreen, encoder: EncoderConfig, connection: int | None = None
) -> Producer:
    """Open the capture of an output, and the encoder; raise what :func:`open_capture` and ``open_encoder`` raise."""
    try:
        opened = open_encoder(encoder)
    except BaseException:
        close_unused(connection)
        raise
    try:
        handover = Handover(opened.name, opened.imports, obstacles(spec))
        if isinstance(spec, WlrScreen):
            handover.of_memory(copied=False)
        source = open_capture(spec, encoder.mode, encoder.colours, connection=connection, handover=handover)
        return VideoProducer(source, opened, handover)
    except BaseException:
        opened.close()
        raise


PRODUCERS: Final[Mapping[str, ScreenOpener]] = {"wayland-copy": open_screen, "pipewire": open_screen}
"""What opens a screen, by its ``kind``; of a drawn one it is ``punktfunk.media.PRODUCERS``."""
