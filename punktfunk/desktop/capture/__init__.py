"""Pictures of a desktop: one protocol class, one file a back end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.desktop.wayland import connect
from punktfunk.media.encoders import EncoderConfig, open_encoder
from punktfunk.media.producer import VideoProducer
from punktfunk.media.types import RawFrame
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.desktop.capture.screencopy import ScreencopyCapture


class ScreenSpec(BaseModel):
    """An output of a Wayland compositor as a source, as the host tells it to a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["screen"] = "screen"
    socket: str
    """The compositor's socket: an absolute path, or a name within XDG_RUNTIME_DIR."""
    output: str
    cursor: bool = True
    """Have the compositor draw the pointer into the picture."""
    keepalive_ms: int = Field(default=100, ge=1, le=1000)
    """A picture is given again when nothing has changed for this long."""
    read_strip: bool = False
    """Number pictures by the test card's frame marker, -1 where there is none to read, so that a measurement can say
    which picture a client should have seen. Costs 60 µs a picture."""


class ScreenCapture(Protocol):
    """A source of pictures (``punktfunk.media.VideoSource``) that sets the pace itself.

    ``capture`` returns at the compositor's next picture, or after the keep-alive time with the last one: it
    waits, but never for long. A caller that paces as well only adds latency.
    """

    @property
    def counters(self) -> dict[str, int]:
        """Pictures captured, given again, and left out by reason."""
        ...

    def capture(self) -> RawFrame:
        """Return the next picture (yuv420p, of the mode's size); raise MediaError when there is no more."""
        ...

    def close(self) -> None:
        """Free what the source holds. Closing twice is harmless."""
        ...


def open_capture(spec: ScreenSpec, mode: Mode) -> ScreencopyCapture:
    """Open the capture of an output, scaled to ``mode``'s size where its own is another.

    Raises CapabilityError where the compositor offers no capture, or pywayland is missing, and DesktopError
    where there is no compositor or no such output.
    """
    connection = connect(spec.socket)
    from punktfunk.desktop.capture.screencopy import ScreencopyCapture

    try:
        return ScreencopyCapture(
            connection,
            spec.output,
            mode,
            cursor=spec.cursor,
            keepalive_ns=spec.keepalive_ms * 1_000_000,
            read_strip=spec.read_strip,
        )
    except BaseException:
        connection.close()
        raise


class ScreenProducer(VideoProducer):
    """A captured output and an encoder; ``produce`` waits for the compositor, see :class:`ScreenCapture`."""

    self_paced = True

    def __init__(self, spec: ScreenSpec, encoder: EncoderConfig) -> None:
        """Open both; raise what :func:`open_capture` and :func:`punktfunk.media.open_encoder` raise."""
        opened = open_encoder(encoder)
        try:
            self.capture = open_capture(spec, encoder.mode)
        except BaseException:
            opened.close()
            raise
        super().__init__(self.capture, opened)

    @property
    def counters(self) -> dict[str, int]:
        """The capture's, see :class:`ScreenCapture`."""
        return self.capture.counters
