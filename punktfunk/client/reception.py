"""What becomes of the frames that any wire brings: decoded, read, counted, kept, and told of once a second.

The part of a receive worker that knows no wire: what is received, and when a stream is over, is its owner's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from punktfunk.client.ending import Counts, End, Hearing
from punktfunk.client.messages import Ended, Progress
from punktfunk.client.picture_log import PictureLog
from punktfunk.core._core import ClientStream, ReceivedFrame
from punktfunk.errors import ResultsError
from punktfunk.process import artefacts

if TYPE_CHECKING:
    from punktfunk.client.decode import PictureReader
    from punktfunk.media import DecodedFrame


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is made of the pictures of a stream, and what is kept of it."""

    codec: str | None
    """``None`` where nothing is to be decoded."""
    read_marker: bool
    reference: dict[str, Any] | None
    reference_every: int
    artefacts: str | None
    """Folder for records and statistics."""
    record_frames: bool
    out: str | None
    """File for access units."""


@dataclass(frozen=True, slots=True)
class Over:
    """Why a stream is over, and how long it had been silent then."""

    end: End
    reason: str
    hearing: Hearing
    realtime_offset_ns: int
    """From CLOCK_MONOTONIC to the clock on the wall."""


class Reception:
    """Frames of one stream on their way from the core to artefacts."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        recording = keeping.record_frames and keeping.artefacts is not None and keeping.codec is not None
        self._picture_log = PictureLog(compared=keeping.reference is not None) if recording else None
        self._pictures = self._open_pictures()
        self._out = self._open_out()
        self._records = artefacts.RecordStore()
        self._second_latency: list[int] = []
        self._second_frames = self._second_bytes = 0
        self._bytes = 0

    def take(self, frame: ReceivedFrame, latency_ns: int | None = None) -> DecodedFrame | None:
        """Take an access unit, in order; return its picture. ``latency_ns`` is from capture to the complete unit."""
        self._second_frames += 1
        self._second_bytes += len(frame)
        self._bytes += len(frame)
        if latency_ns is not None:
            self._second_latency.append(latency_ns)
        if self._out is not None:
            self._write_out(self._out, frame)
        if self._pictures is None or not frame.decodable:
            return None
        return self._pictures.take(frame)

    def progress(
        self, stream: ClientStream, counters: Mapping[str, int], latency_error_us: int = 0
    ) -> Progress:
        """Return the last second's figures and take what the core has recorded of it; ``counters`` are the owner's."""
        latency = [ns // 1000 for ns in sorted(self._second_latency)]
        progress = Progress(
            counters=self.counters(stream, counters),
            frames=self._second_frames,
            bytes=self._second_bytes,
            latency_us=[latency[at] for at in (len(latency) // 2, len(latency) * 95 // 100, -1)]
            if latency
            else None,
            last_packet_ns=stream.last_packet_ns(),
            latency_error_us=latency_error_us,
        )
        self._records.add(stream.take_records())
        self._second_latency.clear()
        self._second_frames = self._second_bytes = 0
        return progress

    def counters(self, stream: ClientStream, more: Mapping[str, int]) -> dict[str, int]:
        """Return what was counted of the stream, of its pictures, and ``more``."""
        counts = {**stream.stats(), **more, "bytes_received": self._bytes}
        if self._pictures is not None:
            counts |= {
                "pictures": self._pictures.pictures,
                "pictures_concealed": self._pictures.concealed,
                "decode_errors": self._pictures.errors,
                "strips_read": self._pictures.strips_read,
                "strips_unreadable": self._pictures.strips_unreadable,
            }
        return counts

    def finish(
        self, stream: ClientStream, over: Over, counters: Mapping[str, int], more: Mapping[str, Any]
    ) -> Ended:
        """Write what is kept and return the end. ``stream`` has been closed; ``more`` goes into the statistics.

        ``counters`` are the owner's. Raises ``ResultsError`` where something cannot be written.
        """
        end, reason, hearing = over.end, over.reason, over.hearing
        if hearing.tells_of(end):
            reason = f"{reason}; {hearing.sentence(over.realtime_offset_ns)}"
        counts = Counts.of(self.counters(stream, counters), loss_known=hearing.knows_loss(end))
        self._records.add(stream.take_records())
        if self._pictures is not None:
            self._pictures.close()
        if self._out is not None:
            self._out.close()
        ended = Ended(
            end, reason, counts.counters, counts.at_least, hearing.last_packet_ns, hearing.silent_ns
        )
        if self._keeping.artefacts is not None:
            self._write(Path(self._keeping.artefacts), ended, more)
        return ended

    def presented(self, index: int, presented_ns: int) -> None:
        """Keep when the picture of access unit ``index`` was shown."""
        if self._picture_log is not None:
            self._picture_log.presented(index, presented_ns)

    def _write(self, folder: Path, ended: Ended, more: Mapping[str, Any]) -> None:
        columns = self._records.columns()
        if columns:
            artefacts.write_columns(folder, "records.npz", columns)
        if self._picture_log is not None:
            artefacts.write_columns(folder, "decoded.npz", self._picture_log.columns())
        stats = {
            "schema_version": 1,
            "role": "client",
            "end": ended.end,
            "ended": ended.reason,
            "last_packet_ns": ended.last_packet_ns,
            "silent_ns": ended.silent_ns,
            "counters": ended.counters,
            "at_least": ended.at_least,
            "left_out": {
                "records": self._records.left_out,
                "pictures": 0 if self._picture_log is None else self._picture_log.left_out,
            },
            **more,
        }
        artefacts.write_stats(folder, "stats.json", stats)

    def _open_pictures(self) -> PictureReader | None:
        if self._keeping.codec is None:
            return None
        # FFmpeg and NumPy take longer than all else at the start, and a stream without pictures needs neither.
        from punktfunk.client.decode import PictureReader
        from punktfunk.media import TestCardSpec

        reference = self._keeping.reference
        return PictureReader(
            self._keeping.codec,
            read_marker=self._keeping.read_marker,
            log=self._picture_log,
            reference=None if reference is None else TestCardSpec.model_validate(reference),
            reference_every=self._keeping.reference_every,
        )

    def _open_out(self) -> IO[bytes] | None:
        path = self._keeping.out
        if path is None:
            return None
        try:
            return Path(path).open("ab", buffering=0)
        except OSError as error:
            raise ResultsError(
                f"{path} cannot be written: {error.strerror}", "name another --out file"
            ) from error

    def _write_out(self, out: IO[bytes], frame: ReceivedFrame) -> None:
        try:
            out.write(frame)
        except OSError as error:
            raise ResultsError(
                f"{self._keeping.out} cannot be written: {error.strerror}",
                "free space there, or name another --out file",
            ) from error
