"""Record a stream into a playable file, by way of the core: the proof that the whole path holds.

Every access unit goes through a core host session, a loopback socket and a core client session, and is
compared byte for byte with what went in (``loopback``). The file is made of what came out.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.container import OutputContainer

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.capture import WlrScreen, open_screen
from punktfunk.desktop.session import DesktopSession, SessionOptions
from punktfunk.errors import DesktopError, MediaError, UsageError
from punktfunk.host.loopback import Loopback, Pair, loopback_pair
from punktfunk.host.stream.pace import FrameClock, wake_precisely
from punktfunk.media import Codec, EncoderConfig, Producer
from punktfunk.units import Mode

_TIME_BASE: Final = Fraction(1, 1_000_000)
_SUFFIXES: Final = (".mkv", ".mp4", ".mov")
_PROGRESS_NS: Final = 1_000_000_000
TESTCARD: Final = (sys.executable, "-m", "punktfunk.desktop.testcard")
"""What runs in a session that was given no program."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded, and whether it came through the core as it went in."""

    path: Path
    codec: Codec
    mode: Mode
    frames: int
    """Access units made."""
    intact: int
    """Those that came back byte for byte; these are in the file."""
    corrupt: int
    missing: int
    """Those that did not come back, however often they were sent."""
    sent_again: int
    """Times that an access unit was sent again: a machine that was too busy to take it in."""
    bytes: int
    """Size of the access units."""
    packets: int
    """Packets on the socket, recovery included."""
    seconds: float
    """From the first capture to the last."""
    capture: dict[str, int]
    """Counters of the capture; empty for other sources."""

    @property
    def passed(self) -> bool:
        """Whether every access unit came back as it went in, and there was one."""
        return self.frames > 0 and self.intact == self.frames

    @property
    def fps(self) -> float:
        """Pictures a second on average; 0 for fewer than two."""
        return (self.frames - 1) / self.seconds if self.frames > 1 and self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is, at most once in each of its seconds."""

    seconds: float
    """Since it began."""
    frames: int
    """Access units made so far."""
    intact: int
    """Those that have come back byte for byte."""
    bytes: int


def _unwatched(_progress: Progress) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who follows a recording: ``on_progress`` is called once a second, ``stop`` ends it early when it is set."""

    on_progress: Callable[[Progress], None] = _unwatched
    stop: threading.Event = field(default_factory=threading.Event)


def check_target(out: Path, *, overwrite: bool = False) -> None:
    """Raise UsageError where ``out`` names no container or is there already, MediaError where it cannot be made."""
    if out.suffix not in _SUFFIXES:
        raise UsageError(f"{out.name!r} names no container", f"end it with one of {', '.join(_SUFFIXES)}")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", "name a file")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already", "name another file, or say --overwrite")
    if not out.parent.is_dir():
        raise MediaError(f"cannot write {out}: there is no folder {out.parent}", "make it first")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise MediaError(f"cannot write {out}: permission denied", "name a place that is yours")


def record(
    producer: Producer,
    mode: Mode,
    out: Path,
    *,
    seconds: float,
    watch: Watch | None = None,
    pair: Callable[[], Pair] = loopback_pair,
) -> Recording:
    """Record ``seconds`` of a producer's access units, from its first key frame, into ``out``.

    The suffix says which container: .mkv, .mp4 or .mov. A file that is there is written over. The producer stays
    open. ``pair`` gives the two UDP sockets that join both ends. Raises UsageError for another suffix or a source that
    is no video, and MediaError where source, encoder or file fail.
    """
    codec = producer.codec
    if codec is None:
        raise UsageError("a synthetic source makes no pictures", "record the test card, a file or a screen")
    check_target(out, overwrite=True)
    with _File(out, codec, mode) as file, Loopback(file.write, pair) as loop:
        made = _run(producer, mode, loop, seconds=seconds, watch=watch or Watch())
        loop.settle()
        packets = loop.packets
    return Recording(
        path=out,
        codec=codec,
        mode=mode,
        frames=len(made),
        intact=loop.intact,
        corrupt=loop.corrupt,
        missing=len(made) - loop.intact - loop.corrupt,
        sent_again=loop.sent_again,
        bytes=sum(size for _, size in made),
        packets=packets,
        seconds=(made[-1][0] - made[0][0]) / 1e9 if made else 0.0,
        capture={},
    )


def record_desktop(
    encoder: EncoderConfig,
    out: Path,
    *,
    seconds: float,
    program: tuple[str, ...] = TESTCARD,
    options: SessionOptions | None = None,
    watch: Watch | None = None,
) -> Recording:
    """Record a headless desktop that runs ``program``: virtual output, capture, encoder, core, file.

    Raises what :class:`punktfunk.desktop.session.DesktopSession`, the encoder and :func:`record` raise, and
    DesktopError when the program fails while it is recorded.
    """
    with DesktopSession(options) as session:
        output = session.create(encoder.mode)
        app = session.launch(program, cwd=Path.cwd())
        producer = open_screen(WlrScreen(display=session.socket, output=output.name), encoder)
        try:
            recording = record(producer, encoder.mode, out, seconds=seconds, watch=watch)
            counters = dict(producer.counters)
        finally:
            producer.close()
        if app.status:
            raise DesktopError(
                f"{program[0]} ended with status {app.status} while it was recorded: {app.words}",
                f"{out} shows the desktop up to there and after",
            )
    return replace(recording, capture=counters)


def _run(
    producer: Producer, mode: Mode, loop: Loopback, *, seconds: float, watch: Watch
) -> list[tuple[int, int]]:
    """Produce until the time is over; return capture time and size of each access unit."""
    wake_precisely()
    paced = not producer.self_paced
    began = monotonic_ns()
    ends = began + round(seconds * 1e9)
    clock = FrameClock(mode.refresh_hz, began)
    made: list[tuple[int, int]] = []
    progress_due = began + _PROGRESS_NS
    producer.request_key()
    while monotonic_ns() < ends and not watch.stop.is_set():
        if paced:
            loop.wait_until(clock.next_deadline(monotonic_ns()))
        unit = producer.produce()
        loop.send(unit)
        made.append((unit.pts_ns, len(unit.data)))
        if (now := monotonic_ns()) >= progress_due:
            # The next whole one: what came late is told once, and not again for each that it missed.
            progress_due = now + _PROGRESS_NS - (now - began) % _PROGRESS_NS
            so_far = sum(size for _, size in made)
            watch.on_progress(Progress((now - began) / 1e9, len(made), loop.intact, so_far))
    return made


class _File:
    """A container with one video stream of coded pictures, timed by their capture."""

    def __init__(self, path: Path, codec: Codec, mode: Mode) -> None:
        self._path = path
        self._first_ns: int | None = None
        self._last_us = -1
        try:
            self._container: OutputContainer = av.open(str(path), "w")
            self._stream: Any = self._container.add_mux_stream(
                str(codec), rate=mode.refresh_hz, width=mode.width, height=mode.height
            )
        except (OSError, av.error.FFmpegError) as error:
            raise MediaError(f"cannot write {path}: {error}", "is the folder there, and writable?") from error
        self._stream.time_base = _TIME_BASE

    def write(self, data: bytes, pts_ns: int, key: bool) -> None:
        """Add one access unit; its time is made later than the last one's where it is not."""
        if self._first_ns is None:
            self._first_ns = pts_ns
        self._last_us = max(self._last_us + 1, (pts_ns - self._first_ns) // 1000)
        packet = av.Packet(data)
        packet.stream = self._stream
        packet.time_base = _TIME_BASE
        packet.pts = packet.dts = self._last_us
        packet.is_keyframe = key
        try:
            self._container.mux(packet)
        except (OSError, av.error.FFmpegError) as error:
            raise MediaError(f"cannot write {self._path}: {error}", "is the disk full?") from error

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            raise MediaError(f"cannot finish {self._path}: {error}", "is the disk full?") from error
