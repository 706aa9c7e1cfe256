"""The messages between a host and one of its stream workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from punktfunk.cursor import CursorUpdate, PackedShape
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class Prepare:
    """Open source and encoder; the client's socket follows with :class:`Begin`.

    ``spec`` is a :class:`~punktfunk.host.stream.spec.StreamSpec` as JSON values, with keys in it: not in ``repr``.
    """

    spec: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Begin:
    """Stream now, on the connected socket whose descriptor comes along."""


@dataclass(frozen=True, slots=True)
class WantKeyframe:
    """The client cannot decode on. ``rtt_ns`` tells requests that a key frame under way already answers."""

    rtt_ns: int


@dataclass(frozen=True, slots=True)
class UseBitrate:
    """Encode and pace for another rate."""

    kbps: int


@dataclass(frozen=True, slots=True)
class UseFec:
    """Protect the next frames with another percentage."""

    percent: int


@dataclass(frozen=True, slots=True)
class UseMode:
    """Stream another mode; answered by :class:`ModeOutcome`."""

    mode: Mode
    source: dict[str, Any] | None = None
    """Another source, where the mode comes with one."""


@dataclass(frozen=True, slots=True)
class UseSource:
    """Show another source in place of one that was lost; answered by :class:`SourceTaken`."""

    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UseCursor:
    """Report the pointer beside the pictures (:class:`CursorTold`), where the source can, or paint it again."""

    separate: bool


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Send filler at a rate for a while, in place of frames; answered by :class:`ProbeSent`."""

    target_kbps: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ProbeSent:
    """Worker: a bandwidth probe is over. All zero: it was refused."""

    goodput_bytes: int = 0
    access_units: int = 0
    duration_ms: int = 0
    packets_sent: int = 0
    send_drops: int = 0


@dataclass(frozen=True, slots=True)
class PortRefused:
    """Worker: the client's data port refused datagrams (ECONNREFUSED) between two times, CLOCK_MONOTONIC ns."""

    count: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker: source and encoder are open; neither codec nor encoder where the source is no video."""

    codec: str | None
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Worker: counters and figures of the stream, about once a second.

    Keys of ``counters`` are those of ``HostStream.stats``, and what the worker counts itself; ``stages`` and
    ``rates`` are those of :class:`punktfunk.host.stream.telemetry.Figures`.
    """

    counters: dict[str, int]
    stages: dict[str, list[int]]
    rates: dict[str, float]


@dataclass(frozen=True, slots=True)
class CursorTold:
    """Worker: where the pointer is that its client draws, and what it looks like where that has changed."""

    visible: bool
    x: int
    y: int
    shape: PackedShape | None

    @classmethod
    def of(cls, update: CursorUpdate) -> CursorTold:
        """Return the message of an update."""
        shape = None if update.shape is None else PackedShape.of(update.shape)
        return cls(update.visible, update.x, update.y, shape)

    @property
    def update(self) -> CursorUpdate:
        """The update again."""
        shape = None if self.shape is None else self.shape.shape
        return CursorUpdate(self.visible, self.x, self.y, shape)


@dataclass(frozen=True, slots=True)
class SourceLost:
    """Worker: what was streamed has gone; its last picture is shown until there is another source, or the end."""

    code: str
    cause: str
    hint: str


@dataclass(frozen=True, slots=True)
class SourceTaken:
    """Worker: another source is shown; with a ``cause`` it cannot be, and the picture stands still on."""

    cause: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Worker: the encoder reaches another frame rate, which is streamed now."""

    hz: int
    wanted_hz: int
    """That of the mode."""
    encode_us: int
    """What a picture took, as median of the last second."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Worker: how pictures reach the encoder now, and why (:class:`punktfunk.media.handover.Decision`)."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True)
class EncoderReplaced:
    """Worker: another encoder took over, from one that could not be opened or has failed."""

    encoder: str
    refused: list[list[str]]
    """Those that it took over from, in order: name, and code, cause and hint of the error."""


@dataclass(frozen=True, slots=True)
class Logged:
    """Worker: a line of its log, scrubbed; the host writes it to the one log of the process."""

    level: str
    concern: str
    event: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModeOutcome:
    """Worker: whether the mode was changed, and the one that is streamed now."""

    accepted: bool
    mode: Mode


@dataclass(frozen=True, slots=True)
class Ended:
    """Worker: the stream is over and everything has been sent. ``reason``: frames, seconds or stopped."""

    reason: str
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker: the stream cannot go on."""

    code: str
    cause: str
    hint: str
    held_by: str = ""
    """The encoder that does not come back from a picture, where it was that."""


Change = WantKeyframe | UseBitrate | UseFec | UseMode | UseSource | UseCursor | SendProbe
"""What a host asks of a stream that it has prepared."""
Order = Prepare | Begin | Change
"""Host to worker."""
Notice = (
    Ready
    | Progress
    | FrameRate
    | HandedOver
    | EncoderReplaced
    | CursorTold
    | SourceLost
    | SourceTaken
    | Logged
    | ModeOutcome
    | ProbeSent
    | PortRefused
    | Ended
    | Failed
)
"""Worker to host."""
VOCABULARY: tuple[type[Any], ...] = (*get_args(Order), *get_args(Notice))
