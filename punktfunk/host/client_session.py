"""What the host asks of a wire: its sessions, and what it has agreed on with a client that wants a stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from punktfunk.cursor import CursorUpdate
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.ending import EndReason
from punktfunk.host.desktop import OpenDesktop
from punktfunk.host.stream.spec import RecordOptions, StreamSpec
from punktfunk.input import PadFeedback
from punktfunk.log_limit import LineWriter
from punktfunk.media.sound import DEFAULT_SOUND, SoundFormat
from punktfunk.units import Mode


class Remote(Protocol):
    """Who is at the other end."""

    @property
    def address(self) -> tuple[str, int]:
        """Where it comes from."""

    @property
    def fingerprint(self) -> str | None:
        """Of the certificate whose key it proved to hold; ``None`` for a client without one."""


class ClientSession(Protocol):
    """A connection of one wire, as the owner of all sessions sees it.

    A class that inherits from this may leave out what its wire has not: probes, modes that change, sound, feedback.
    """

    def __hash__(self) -> int:
        """Sessions are told apart by what they are, not by what they hold."""
        return object.__hash__(self)

    log: LineWriter
    dropped_datagrams: Counter[str]
    """Input, audio and feedback datagrams that were not taken, by reason."""

    @property
    def peer(self) -> Remote | None:
        """Who is at the other end, once that is known."""

    @property
    def ending(self) -> bool:
        """True once the session ends and it is known why."""

    def end(self, reason: EndReason) -> None:
        """End the session at once, its stream before its connection."""

    def stream_finished(self, reason: str) -> None:
        """Close in order once the worker has sent its last frame."""

    def stream_failed(self, reason: str) -> None:
        """Close as what failed."""

    def data_refused(self, count: int, first_ns: int, last_ns: int) -> None:
        """Take note that the client's data port refused what was sent."""
        return

    def mode_outcome(self, accepted: bool, mode: Mode) -> None:
        """Send the client the outcome of its mode request."""
        return

    def probe_over(
        self, goodput_bytes: int, access_units: int, duration_ms: int, packets_sent: int, send_drops: int
    ) -> None:
        """Send the client what its bandwidth probe sent."""
        return

    def send_sound(self, number: int, encoded_ns: int, opus: bytes) -> None:
        """Send the session's packet of that number, in the format of its request; empty: silence (DTX).

        ``encoded_ns`` is CLOCK_MONOTONIC. What does not get through is lost.
        """
        return

    def send_cursor(self, update: CursorUpdate) -> None:
        """Send the client the pointer that it draws; only of streams of which that was agreed on."""
        return

    def send_feedback(self, feedback: PadFeedback) -> None:
        """Send what a pad of the client is to do; what does not get through is lost."""
        return


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a wire has agreed on with a client, as far as the owner of all sessions has to know it."""

    name: str
    """What the client calls itself; its report has it as people are shown it."""
    mode: Mode
    source: str
    """Kind of what is streamed."""
    bitrate_kbps: int
    max_kbps: int
    fec_scheme: str
    fec_percent: int
    fec_floor: int | None
    """Where FEC follows the client's loss, never below; ``None`` keeps the percentage."""
    record_frames: bool
    """Whether every frame is recorded, its number read from the picture, where there is a folder for that."""
    spec: Callable[[RecordOptions | None, ScreenSpec | None], StreamSpec]
    """Describes the stream to its worker, with what that leaves behind and the output that it captures."""
    tells_loss: bool = True
    """Whether the client says what it loses; FEC follows nothing where it does not, whatever the host's settings."""
    sound: SoundFormat = DEFAULT_SOUND
    """How what is to be heard is coded; all streams that want it alike get the same packets."""
    host_audio: bool = True
    """Whether the host's own speakers go on playing; they are silent while all who listen wish so."""
    keep_pads: bool = False
    """Whether the client's gamepads stay plugged in when it leaves, until the wire says that it will not come back."""
    scale: float = 1.0
    """How large the client wishes a desktop made for it to draw things."""
    separate_cursor: bool = False
    """Whether the client draws the pointer, so that it is to be left out of the pictures."""
    open_desktop: OpenDesktop | None = None
    """Brings up the desktop that is streamed in place of the host's own source."""
