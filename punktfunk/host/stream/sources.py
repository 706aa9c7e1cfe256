"""What a host streams: everything of the media layer, and a desktop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from punktfunk import media
from punktfunk.desktop import BackendName, capture
from punktfunk.desktop.capture import ScreenOpener, ScreenSpec
from punktfunk.media import EncoderConfig, FileSpec, Opener, Producer, SyntheticSpec, TestCardSpec


class DesktopSpec(BaseModel):
    """A desktop: the one that the host was started in, or a headless one of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["desktop"] = "desktop"
    backend: Literal["auto"] | BackendName = "auto"
    """``auto`` takes the first that can be streamed here, in the order of :class:`BackendName`."""
    or_testcard: bool = False
    """Stream the test card where no desktop can be opened, in place of not serving at all."""
    app: tuple[str, ...] = ()
    """Argument list of the program that a headless desktop starts with its first stream; () chooses one."""
    keyboard_layout: str = ""
    """XKB's ``layout[:variant]`` where it is not that of the host (``HostConfig.keyboard_layout``)."""
    audio: bool = True
    """Stream the sound too, where PipeWire is installed; a desktop without it is streamed silently."""

    @property
    def each_its_own(self) -> bool:
        """Whether there is no desktop that all clients share: each of them gets one for each app."""
        return self.backend == BackendName.GAMESCOPE


HostSource = Annotated[TestCardSpec | FileSpec | SyntheticSpec | DesktopSpec, Field(discriminator="kind")]
"""What a host's configuration may name."""

WorkerSource = Annotated[FileSpec | SyntheticSpec | ScreenSpec, Field(discriminator="kind")]
"""What a stream worker is told to open: of a desktop, the screen of one output."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a worker is told to capture."""

    screen: ScreenSpec
    connection: socket.socket | None = None
    """What the screen is reached by, where the worker cannot connect itself; whoever has this closes it."""

    @classmethod
    def open(cls, screen: ScreenSpec, open_remote: Callable[[], int] | None) -> Self:
        """Open the connection, where there is one to open; raise what ``open_remote`` raises."""
        return cls(screen, None if open_remote is None else socket.socket(fileno=open_remote()))

    def close(self) -> None:
        """Close the connection, once it has been passed on or where nobody wants it."""
        if self.connection is not None:
            self.connection.close()


def _without_connection(opener: Opener) -> ScreenOpener:
    """Return an opener of what is reached by no connection: one that comes along is closed."""

    def opened(source: Any, encoder: EncoderConfig, connection: int | None) -> Producer:
        capture.close_unused(connection)
        return opener(source, encoder)

    return opened


PRODUCERS: Final[Mapping[str, ScreenOpener]] = {
    **{kind: _without_connection(opener) for kind, opener in media.PRODUCERS.items()},
    **capture.PRODUCERS,
}
"""What opens each of them, by its ``kind``."""


def open_worker_producer(
    source: WorkerSource, encoder: EncoderConfig, connection: int | None = None
) -> Producer:
    """Open what a worker streams; raise as :func:`punktfunk.media.open_producer` and ``capture.open_screen`` do.

    ``connection`` is a descriptor that came with the order, by which the source is reached, and is taken.
    """
    return PRODUCERS[source.kind](source, encoder, connection)
