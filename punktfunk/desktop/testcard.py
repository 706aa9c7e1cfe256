"""A Wayland client that draws the coded test card into a session, fullscreen.

It makes the path of a real desktop measurable like the synthetic one: every picture carries its number and
the time at which its drawing began (CLOCK_MONOTONIC), so that a client that decodes it knows what it saw and
how old it is. A picture is drawn as soon as the compositor asks for one.

    punktfunk testcard [--seconds N] [--entropy 0.3] [--tag N] [--output NAME]

Says ``{"event": "ready", ...}`` on standard output with the first picture and ``{"event": "ended", ...}``
with what was drawn; ends on SIGTERM, when its window is closed, and when the compositor goes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import connect
from punktfunk.errors import PunktfunkError
from punktfunk.media.testcard import TestCard
from punktfunk.terminal import say, say_json
from punktfunk.units import Resolution

_WAIT_S: Final = 0.1
_OF_GAMESCOPE: Final = "GAMESCOPE_WAYLAND_DISPLAY"
"""gamescope's socket, of which it tells programs beside X11's."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a test card client has drawn."""

    frames: int
    seconds: float
    width: int
    height: int


class TestCardClient:
    """Draws the card into a window of its own until told to stop.

    ``display`` is the compositor's socket. Raises CapabilityError without pywayland and DesktopError where
    there is no compositor, or it gives the window no size.
    """

    __test__ = False

    def __init__(
        self,
        display: str,
        *,
        output: str | None = None,
        entropy: float = 0.3,
        seed: int = 0,
        tag: int = 0,
    ) -> None:
        self._connection = connect(display)
        from punktfunk.desktop.wayland.window import Window

        self._window = Window(self._connection, "punktfunk test card", output=output)
        self._window.hide_pointer()
        self._window.on_frame = self._wanted
        self._look = (entropy, seed, tag)
        self._card: TestCard | None = None
        self._picture: av.VideoFrame | None = None
        self._reformatter = VideoReformatter()
        self._due = True
        self._frames = 0
        self._began_ns = monotonic_ns()
        self.stopping = False
        """Set this to end ``run``."""

    def run(self, *, seconds: float | None = None, announce: bool = False) -> Drawn:
        """Draw until ``stopping``, until the window is closed, or for ``seconds``."""
        ends = None if seconds is None else self._began_ns + round(seconds * 1e9)
        while not (self.stopping or self._window.closed):
            if ends is not None and monotonic_ns() >= ends:
                break
            if self._due and self._draw() and announce and self._frames == 1:
                self._say("ready")
            self._connection.dispatch(_WAIT_S)
        drawn = self.drawn
        if announce:
            self._say("ended", frames=drawn.frames, seconds=round(drawn.seconds, 3))
        return drawn

    @property
    def drawn(self) -> Drawn:
        """What has been drawn so far."""
        seconds = (monotonic_ns() - self._began_ns) / 1e9
        return Drawn(self._frames, seconds, self._window.width, self._window.height)

    def close(self) -> None:
        """Close the window and disconnect. Closing twice is harmless."""
        self._connection.close()

    def _wanted(self) -> None:
        self._due = True

    def _draw(self) -> bool:
        begun = self._window.begin()
        if begun is None:
            return False  # the compositor still reads all buffers; its release of one comes as an event
        number, pixels = begun
        card, picture = self._canvas(Resolution(self._window.width & ~1, self._window.height & ~1))
        card.draw(picture, frame=self._frames, time_us=monotonic_ns() // 1000)
        shown = self._reformatter.reformat(
            picture,
            format="bgra",
            src_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.POINT,
        )
        plane = shown.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(shown.height, plane.line_size)  # type: ignore[call-overload]  # has the buffer protocol
        pixels[: shown.height, : shown.width] = rows[:, : shown.width * 4].reshape(
            shown.height, shown.width, 4
        )
        self._due = False
        self._frames += 1
        self._window.show(number)
        return True

    def _canvas(self, resolution: Resolution) -> tuple[TestCard, av.VideoFrame]:
        if self._card is None or self._picture is None or self._card.resolution != resolution:
            entropy, seed, tag = self._look
            self._card = TestCard(resolution, entropy=entropy, seed=seed, tag=tag)
            self._picture = self._card.new_picture()
        return self._card, self._picture

    def _say(self, event: str, **fields: object) -> None:
        size = {"width": self._window.width, "height": self._window.height}
        say_json({"event": event, **size, **fields})


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m punktfunk.desktop.testcard",
        description="Draw the coded test card into a Wayland session, fullscreen.",
    )
    made.add_argument(
        "--display",
        help="the compositor's socket (default: WAYLAND_DISPLAY)",
    )
    made.add_argument("--output", help="the output to fill (default: the compositor chooses)")
    made.add_argument("--seconds", type=float, help="end after this long (default: when told to)")
    made.add_argument("--entropy", type=float, default=0.3, help="0 is smooth, 1 is noise (default: 0.3)")
    made.add_argument("--seed", type=int, default=0, help="texture of the card")
    made.add_argument("--tag", type=int, default=0, help="number in the frame marker, 0 to 65535")
    return made


def draw(
    *,
    display: str | None = None,
    output: str | None = None,
    seconds: float | None = None,
    entropy: float = 0.3,
    seed: int = 0,
    tag: int = 0,
) -> Drawn:
    """Draw until SIGTERM, until the window is closed, or for ``seconds``, and say so on standard output.

    ``display`` defaults to WAYLAND_DISPLAY. Raises what :class:`TestCardClient` does, and DesktopError when the
    compositor goes.
    """
    socket = display or os.environ.get("WAYLAND_DISPLAY") or os.environ.get(_OF_GAMESCOPE) or "wayland-0"
    client = TestCardClient(socket, output=output, entropy=entropy, seed=seed, tag=tag)
    before = signal.signal(signal.SIGTERM, lambda *_: setattr(client, "stopping", True))
    try:
        return client.run(seconds=seconds, announce=True)
    finally:
        client.close()
        signal.signal(signal.SIGTERM, before)


def main(arguments: list[str] | None = None) -> int:
    """Run the client; 0 when it was ended, or the exit code of the error that ended it."""
    given = parser().parse_args(arguments)
    try:
        draw(**vars(given))
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
