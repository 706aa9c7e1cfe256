"""Any video file as a source: decoded, scaled to the mode, looped, with the frame marker drawn on top."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from types import MappingProxyType

import av
from av.video.reformatter import Interpolation, VideoReformatter

from punktfunk.clock import monotonic_ns
from punktfunk.errors import ConfigError, MediaError
from punktfunk.media import frame_marker
from punktfunk.media.conversion import destination
from punktfunk.media.marker_layout import layout
from punktfunk.media.planes import plane_view
from punktfunk.media.types import BT709, PIXEL_FORMAT, Colours, RawFrame
from punktfunk.units import Mode


class FileSource:
    """Plays a file for ever, one of its pictures a capture, whatever the file's own timing.

    Decoding happens within ``capture``, before its stamp: use a file that decodes faster than the mode's
    rate.
    """

    self_paced = False
    counters: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self, path: Path, mode: Mode, *, draw_marker: bool = True, tag: int = 0, colours: Colours = BT709
    ) -> None:
        """Open the file and its first video stream; raise ConfigError where that fails."""
        self._path = path
        self._mode = mode
        self._draw_marker = draw_marker
        self._tag = tag
        self._reformatter = VideoReformatter()
        self._destination = destination(colours)
        self._frame = 0
        if draw_marker:
            layout(mode.width, mode.height)
        try:
            self._container = av.open(str(path))
        except (OSError, av.error.FFmpegError) as error:
            raise ConfigError(
                f"cannot open the video {path}: {error}", "give the path of a video file"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise ConfigError(f"{path} has no video stream", "give the path of a video file")
        self._pictures = self._decode()

    def capture(self) -> RawFrame:
        """Decode, scale and return the next picture; raise MediaError when the file has none at all."""
        decoded = self._next_picture()
        captured_ns = monotonic_ns()
        picture = self._reformatter.reformat(
            decoded,
            width=self._mode.width,
            height=self._mode.height,
            format=PIXEL_FORMAT,
            **self._destination,
            interpolation=Interpolation.BILINEAR,
        )
        if picture is decoded:
            picture.make_writable()
        if self._draw_marker:
            frame_marker.draw(
                plane_view(picture, 0), frame=self._frame, time_us=captured_ns // 1000, tag=self._tag
            )
        frame, self._frame = self._frame, self._frame + 1
        return RawFrame(picture, frame, captured_ns, monotonic_ns())

    def close(self) -> None:
        """Close the file."""
        self._pictures.close()
        self._container.close()

    def _decode(self) -> Generator[av.VideoFrame]:
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from self._container.decode(stream)

    def _next_picture(self) -> av.VideoFrame:
        try:
            picture = next(self._pictures, None)
            if picture is None:
                # Opened again, not rewound: raw streams cannot seek.
                self._container.close()
                self._container = av.open(str(self._path))
                self._pictures = self._decode()
                picture = next(self._pictures, None)
        except (OSError, av.error.FFmpegError) as error:
            raise MediaError(
                f"cannot decode {self._path}: {error}", "convert it with ffmpeg first"
            ) from error
        if picture is None:
            raise MediaError(f"{self._path} holds no picture", "give another file")
        return picture
