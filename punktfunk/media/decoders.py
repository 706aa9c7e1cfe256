"""Decoders without delay: an access unit in, its picture out, and damage counted instead of raised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import av
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext
from typing_extensions import Buffer

from punktfunk.clock import monotonic_ns
from punktfunk.errors import CodecUnavailableError, MediaError
from punktfunk.media.bitstream import is_key
from punktfunk.media.types import Codec, DecodedFrame
from punktfunk.units import MAX_DIMENSION

_FFMPEG_NAMES: Final = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d"}
_OPTIONS: Final[dict[Codec, dict[str, str]]] = {
    Codec.H264: {},
    Codec.HEVC: {},
    # dav1d would keep as many pictures back as it has frame threads.
    Codec.AV1: {"max_frame_delay": "1"},
}
MAX_PIXELS: Final = MAX_DIMENSION * MAX_DIMENSION
"""Largest picture a decoder allocates, whatever the stream's headers say: about 100 MB in 4:2:0."""


@dataclass(slots=True)
class DecoderStats:
    """What a decoder has seen so far."""

    access_units: int = 0
    frames: int = 0
    """Pictures returned."""
    errors: int = 0
    """Access units that the decoder refused or that gave no picture."""
    concealed: int = 0
    """Pictures returned that the decoder marked as damaged."""
    restarts: int = 0
    """Times the decoder was opened afresh, at the first key frame after an error."""


class Decoder:
    """Decodes one stream. Not safe for use by two threads at once.

    Slices are decoded in parallel, pictures are not: frame threads would hold each picture back by their
    number.
    """

    def __init__(self, codec: Codec, *, threads: int = 2, max_pixels: int = MAX_PIXELS) -> None:
        """Open a decoder; raise CodecUnavailableError where this installation has none."""
        self.codec = codec
        self.stats = DecoderStats()
        self._threads = threads
        self._max_pixels = max_pixels
        self._refused = False
        self._context: VideoCodecContext | None = self._open()

    def decode(self, data: Buffer) -> DecodedFrame | None:
        """Decode one access unit; None where it gave no picture (counted in ``stats.errors``).

        Raises MediaError only after ``close``; nothing in ``data`` makes it raise.
        """
        context = self._context
        if context is None:
            raise MediaError(f"the {self.codec} decoder is closed", "open a new one")
        self.stats.access_units += 1
        begin_ns = monotonic_ns()
        if self._refused and is_key(self.codec, bytes(data)):
            # Damaged headers can leave a decoder in a state that even a key frame does not end: dav1d, fed a
            # wrong sequence header, refused everything after it in about half of the trials.
            self._context = context = self._open()
            self._refused = False
            self.stats.restarts += 1
        pictures: list[av.VideoFrame] = []
        # An empty packet would mean the end of the stream and lock the decoder.
        if memoryview(data).nbytes:
            try:
                pictures = context.decode(av.Packet(data))  # type: ignore[arg-type]  # takes any buffer
            except av.error.FFmpegError:
                pictures = []
        end_ns = monotonic_ns()
        if not pictures:
            self.stats.errors += 1
            self._refused = True
            return None
        # Damage can release a picture that an earlier access unit failed to; the newest is the one to show.
        picture = pictures[-1]
        concealed = bool(picture.is_corrupt)
        self.stats.frames += 1
        self.stats.concealed += concealed
        return DecodedFrame(picture, begin_ns, end_ns, concealed)

    def close(self) -> None:
        """Free the decoder. Closing twice is harmless."""
        self._context = None

    def _open(self) -> VideoCodecContext:
        try:
            context = av.CodecContext.create(_FFMPEG_NAMES[self.codec], "r")
            assert isinstance(context, VideoCodecContext)
            context.flags |= Flags.low_delay
            context.thread_type = ThreadType.SLICE
            context.thread_count = self._threads
            context.options = {**_OPTIONS[self.codec], "max_pixels": str(self._max_pixels)}
            context.open()
        except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            raise CodecUnavailableError(
                f"no decoder for {self.codec} can be opened: {error}",
                "install the PyAV wheel, whose FFmpeg has it: pip install --force-reinstall av",
            ) from error
        return context


def open_decoder(codec: Codec | str, *, threads: int = 2, max_pixels: int = MAX_PIXELS) -> Decoder:
    """Open a low-delay decoder for ``codec``; raise CodecUnavailableError where there is none.

    A picture of more than ``max_pixels`` is counted as an error and not allocated.
    """
    try:
        known = Codec(codec)
    except ValueError:
        raise CodecUnavailableError(f"{codec!r} is not a codec", f"one of {', '.join(Codec)}") from None
    return Decoder(known, threads=threads, max_pixels=max_pixels)
