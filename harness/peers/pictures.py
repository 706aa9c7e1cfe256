"""What the pictures say that a foreign client received: the frame markers in the coded video that it left.

The file is a stranger's: it is decoded up to a number of pictures and bytes, damage is counted and raises nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import av
from av.container import InputContainer

from punktfunk.media import frame_marker
from punktfunk.media.decoders import MAX_PIXELS
from punktfunk.media.types import DecodedFrame

MAX_PICTURES: Final = 100_000
"""Of a file: half an hour at 60 a second."""
MAX_FILE_BYTES: Final = 4 << 30
MAX_SIZES: Final = 16
"""Changes of the picture's size that are told."""
_RAW: Final = {"h264": "h264", "hevc": "hevc", "av1": "obu"}
"""FFmpeg's demuxers of bare coded video."""


@dataclass(slots=True)
class Pictures:
    """What came out of a decoder, and what its frame markers said."""

    decoded: int = 0
    unreadable: int = 0
    """Decoded pictures without a readable marker."""
    repeated: int = 0
    """Markers that named a frame that an earlier picture had named."""
    backwards: int = 0
    """Markers that named a frame before the one last named, and none that was named."""
    missing: int = 0
    """Frames between the first and the last that were named, which no picture named."""
    first: int | None = None
    last: int | None = None
    damaged: int = 0
    """Packets that the decoder refused."""
    sizes: list[str] = field(default_factory=list)
    """``WIDTHxHEIGHT`` in the order in which pictures had them."""
    trouble: str = ""
    """Why the file was not read, or not to its end."""

    @property
    def read(self) -> int:
        """Different frames that pictures named."""
        return self.decoded - self.unreadable - self.repeated

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self) | {"read": self.read}


def read_pictures(path: Path, codec: str, *, container: bool = False) -> Pictures:
    """Decode a file of coded video and read each picture's frame marker; nothing in the file makes it raise."""
    found = Pictures()
    try:
        size = path.stat().st_size
    except OSError as error:
        found.trouble = f"{path.name}: {error.strerror or error}"
        return found
    if size > MAX_FILE_BYTES:
        found.trouble = f"{path.name} has {size} bytes; at most {MAX_FILE_BYTES} are read"
        return found
    try:
        # Probing at length would decode the beginning twice.
        opened = av.open(
            str(path), format=None if container else _RAW[codec], options={"probesize": "500000"}
        )
        with opened as source:
            _read(source, found)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        found.trouble = found.trouble or f"{path.name} holds no coded video: {error}"
    return found


def _read(source: InputContainer, found: Pictures) -> None:
    stream = source.streams.video[0]
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    named: set[int] = set()
    packets = source.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        try:
            pictures = packet.decode()
        except av.error.EOFError:
            break
        except av.error.FFmpegError:
            found.damaged += 1
            continue
        for picture in pictures:
            if isinstance(picture, av.VideoFrame):
                _note(picture, found, named)
        if found.decoded >= MAX_PICTURES:
            found.trouble = f"only the first {MAX_PICTURES} pictures were read"
            break
    if named:
        found.first, found.last = min(named), max(named)
        found.missing = found.last - found.first + 1 - len(named)


def _note(picture: av.VideoFrame, found: Pictures, named: set[int]) -> None:
    found.decoded += 1
    size = f"{picture.width}x{picture.height}"
    if found.sizes[-1:] != [size] and len(found.sizes) < MAX_SIZES:
        found.sizes.append(size)
    reading = frame_marker.read(DecodedFrame(picture, -1, -1, False).luma)
    if reading is None:
        found.unreadable += 1
    elif reading.frame in named:
        found.repeated += 1
    else:
        found.backwards += bool(named) and reading.frame < (found.last or 0)
        named.add(reading.frame)
        found.last = reading.frame
