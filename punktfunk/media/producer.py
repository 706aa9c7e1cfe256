"""What a stream worker drives: one call, one access unit, from an encoder or synthetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Protocol

from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorListener
from punktfunk.errors import ImportRefusedError, MediaError, SourceLostError
from punktfunk.media.encoders import (
    Encoder,
    EncoderConfig,
    FallbackEncoder,
    RateChange,
    Replacement,
    open_encoder,
)
from punktfunk.media.handover import Decision, Handover
from punktfunk.media.sources import (
    CursorSource,
    FileSpec,
    SyntheticSpec,
    TestCardSpec,
    VideoSource,
    open_source,
)
from punktfunk.media.synthetic import MIN_BYTES, test_frame
from punktfunk.media.types import AccessUnit, Codec, RawFrame, Stamps
from punktfunk.units import Bitrate, Mode


class Producer(Protocol):
    """Makes the access units of one stream. Not safe for use by two threads at once."""

    @property
    def codec(self) -> Codec | None:
        """What the access units are coded in; None: not a video (synthetic)."""
        ...

    @property
    def encoder(self) -> str | None:
        """Which encoder codes them; None: not a video."""
        ...

    @property
    def encoding(self) -> bool:
        """Whether it is in a call of its encoder just now; any thread may ask."""
        ...

    @property
    def replacements(self) -> tuple[Replacement, ...]:
        """Which encoders took over from others so far, in order."""
        ...

    @property
    def bitrate(self) -> Bitrate:
        """The rate it aims at now."""
        ...

    @property
    def handover(self) -> Decision | None:
        """How its pictures reach the encoder, and why; None before the first, and where nothing is decided."""
        ...

    @property
    def self_paced(self) -> bool:
        """Whether ``produce`` itself waits until there is something to show; else the caller paces."""
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """What its source counts itself; empty for nothing."""
        ...

    def begin(self) -> None:
        """Wait for a first picture, which may take seconds: from then on there is one to hold.

        Raises SourceLostError where none comes.
        """
        ...

    def produce(self) -> AccessUnit:
        """Capture and encode now, and return the access unit.

        Raises SourceLostError when there is no picture any more, and MediaError when the encoder fails.
        """
        ...

    def hold(self) -> bool:
        """Show the last picture from now on, dark, for the source has gone; ``False`` where there was none."""
        ...

    def request_key(self) -> None:
        """Make the next access unit one that decoding can start at. Asking twice before it asks once."""
        ...

    def separate_cursor(self, listener: CursorListener | None) -> None:
        """Have the pointer told to ``listener`` in place of painted, where the source can; ``None``: painted again."""
        ...

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Aim at a new rate from the next access unit on, and return how."""
        ...

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Share the bit rate out among so many frames a second from the next access unit on, and return how."""
        ...

    def close(self) -> None:
        """Free source and encoder. Closing twice is harmless."""
        ...


class VideoProducer:
    """A picture source and an encoder."""

    def __init__(self, source: VideoSource, encoder: Encoder, handover: Handover | None = None) -> None:
        """``handover`` is what a source asks that may give DMA-BUFs."""
        self._source = source
        self._encoder = encoder
        self._handover = handover
        self._key = True
        self._encoding = False
        self._last: RawFrame | None = None

    @property
    def codec(self) -> Codec:
        """The encoder's codec."""
        return self._encoder.codec

    @property
    def encoder(self) -> str:
        """The encoder's name."""
        return str(self._encoder.name)

    @property
    def encoding(self) -> bool:
        """Whether a picture is with the encoder."""
        return self._encoding

    @property
    def replacements(self) -> tuple[Replacement, ...]:
        """The encoder's, where it is one that is followed by others."""
        return self._encoder.replacements if isinstance(self._encoder, FallbackEncoder) else ()

    @property
    def bitrate(self) -> Bitrate:
        """The encoder's rate."""
        return self._encoder.bitrate

    @property
    def handover(self) -> Decision | None:
        """What was decided of the last picture."""
        return None if self._handover is None else self._handover.decision

    @property
    def self_paced(self) -> bool:
        """The source's word."""
        return self._source.self_paced

    @property
    def counters(self) -> Mapping[str, int]:
        """The source's."""
        return self._source.counters

    def begin(self) -> None:
        """Capture a picture; the next to be encoded is a newer one, or the same again."""
        self._capture()

    def produce(self) -> AccessUnit:
        """Capture and encode now; see :class:`Producer`."""
        while True:
            frame = self._capture()
            self._encoding = True
            try:
                unit = self._encoder.encode(frame, key=self._key)
            except ImportRefusedError as error:
                self._take_refusal(frame, error)
            else:
                self._key = False
                return unit
            finally:
                self._encoding = False

    def _capture(self) -> RawFrame:
        try:
            frame = self._last = self._source.capture()
        except MediaError as error:
            raise SourceLostError(error.cause, error.hint) from error
        return frame

    def _take_refusal(self, frame: RawFrame, error: ImportRefusedError) -> None:
        """Have the source give no more of what was not imported: each kind is refused once."""
        refused, handover = frame.dma_buf, self._handover
        if refused is None or handover is None:
            raise error
        if not handover.refuse(refused.fourcc, refused.modifier, error.cause):
            raise error

    def hold(self) -> bool:
        """Go on with the last picture; see :class:`Producer`."""
        if self._last is None:
            return False
        from punktfunk.media.sources.still import StillSource

        former, self._source = self._source, StillSource(self._last)
        self._last = self._handover = None
        former.close()
        return True

    def request_key(self) -> None:
        """Make the next access unit a key one."""
        self._key = True

    def separate_cursor(self, listener: CursorListener | None) -> None:
        """Pass it on to a source that can; one that is held shows its pointer no more."""
        if isinstance(self._source, CursorSource):
            self._source.separate_cursor(listener)

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Pass a new rate on to the encoder."""
        return self._encoder.set_bitrate(bitrate)

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Pass a new frame rate on to the encoder."""
        return self._encoder.set_frame_rate(refresh_hz)

    def close(self) -> None:
        """Free source and encoder."""
        self._encoder.close()
        self._source.close()


class SyntheticProducer:
    """Access units of checkable content at the size that the rate gives, or at a fixed one."""

    codec: Codec | None = None
    encoder: str | None = None
    encoding = False
    handover: Decision | None = None
    replacements: tuple[Replacement, ...] = ()
    self_paced = False
    counters: Mapping[str, int] = MappingProxyType({})

    def __init__(self, spec: SyntheticSpec, mode: Mode, bitrate: Bitrate) -> None:
        self._spec = spec
        self._mode = mode
        self._bitrate = bitrate
        self._frame = 0
        self._key = True
        self._closed = False

    @property
    def bitrate(self) -> Bitrate:
        """The rate that sizes follow, unless the size is fixed."""
        return self._bitrate

    @property
    def frame_bytes(self) -> int:
        """Size of the next access unit."""
        if self._spec.frame_bytes is not None:
            return self._spec.frame_bytes
        return max(MIN_BYTES, self._bitrate.bytes_in(self._mode.frame_interval))

    def begin(self) -> None:
        """Do nothing: there is no picture to wait for."""

    def produce(self) -> AccessUnit:
        """Make the next access unit; see :class:`Producer`."""
        if self._closed:
            raise MediaError("the synthetic source is closed", "open a new one")
        captured_ns = monotonic_ns()
        frame, self._frame = self._frame, self._frame + 1
        interval = self._spec.key_interval
        key = self._key or (interval > 0 and frame % interval == 0)
        self._key = False
        data = test_frame(frame, self.frame_bytes)
        return AccessUnit(data, key, frame, captured_ns, Stamps(captured_ns=captured_ns))

    def hold(self) -> bool:
        """Return ``False``: there is no picture."""
        return False

    def request_key(self) -> None:
        """Mark the next access unit as a key one."""
        self._key = True

    def separate_cursor(self, listener: CursorListener | None) -> None:
        """Do nothing: there is no pointer."""

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Follow a new rate at once."""
        if bitrate == self._bitrate:
            return RateChange.UNCHANGED
        self._bitrate = bitrate
        return RateChange.IN_PLACE

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Follow a new frame rate at once."""
        if refresh_hz == self._mode.refresh_hz:
            return RateChange.UNCHANGED
        self._mode = replace(self._mode, refresh_hz=refresh_hz)
        return RateChange.IN_PLACE

    def close(self) -> None:
        """End the stream."""
        self._closed = True


Opener = Callable[[Any, EncoderConfig], Producer]
"""Opens a source of one kind and its encoder. The first parameter is that kind's specification, and no other's."""


def open_producer(source: TestCardSpec | FileSpec | SyntheticSpec, encoder: EncoderConfig) -> Producer:
    """Open what ``source`` and ``encoder`` describe.

    A synthetic source takes only mode and rate from the latter. Raises CodecUnavailableError, ConfigError or
    UsageError as :func:`open_encoder` and :func:`open_source` do.
    """
    return PRODUCERS[source.kind](source, encoder)


def _open_video(source: TestCardSpec | FileSpec, encoder: EncoderConfig) -> Producer:
    opened = open_encoder(encoder)
    try:
        return VideoProducer(open_source(source, encoder.mode, encoder.colours), opened)
    except BaseException:
        opened.close()
        raise


def _open_synthetic(source: SyntheticSpec, encoder: EncoderConfig) -> Producer:
    return SyntheticProducer(source, encoder.mode, encoder.bitrate)


PRODUCERS: Final[Mapping[str, Opener]] = {
    "testcard": _open_video,
    "file": _open_video,
    "synthetic": _open_synthetic,
}
"""What opens a source, by its ``kind``."""
