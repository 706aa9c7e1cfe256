"""The receive worker: core → decoder → frame marker, in a process of its own. Run by the client only."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from punktfunk import log
from punktfunk.client import messages
from punktfunk.client.ending import Counts, End, Hearing, silence_ns
from punktfunk.client.latency import latency_words
from punktfunk.client.picture_log import PictureLog
from punktfunk.client.present import Presenter
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.core._core import FLAG_PROBE, ClientStream, ReceivedFrame, StreamConfig
from punktfunk.errors import PunktfunkError, ResultsError, SessionClosedError
from punktfunk.media import TestCardSpec, is_test_frame
from punktfunk.native.control import LOSS_REPORT_INTERVAL_NS, MS, S
from punktfunk.process import artefacts
from punktfunk.process.worker_end import WorkerEnd, leave

if TYPE_CHECKING:
    from punktfunk.client.decode import PictureReader

_ORDER_LIMIT_S = 30.0
_POLL_S = 0.02
_PRESENT_POLL_S = 0.002
"""With a window: input waits no longer than this."""
_DRAIN_NS = 300 * MS
"""After the control connection is over, quiet for this long means that nothing more is on the way."""
_TAIL_NS = 60 * MS
_DRAIN_LIMIT_NS = 1200 * MS
_VERIFY_SILENCE_NS = 8 * S
"""A verification without a frame for this long has failed (punktfunk/1 section 7.3)."""
_REPEAT_RECOVERY_S = 0.5
"""A key frame that was asked for and has not come by then is asked for again: it may have been lost."""
_KEY_FRAME_S = 0.1
"""Beyond two round trips, what a key frame takes: the host's frame interval, encoding, its many packets."""


@dataclass(frozen=True, slots=True)
class _Over:
    """Why a stream is over, and since when."""

    end: End
    reason: str
    at_ns: int


class ReceiveProgram:
    """One stream from its first packet to its artefacts."""

    def __init__(self, end: WorkerEnd, order: messages.Receive, descriptor: int) -> None:
        self._end = end
        self._order = order
        self._clock = SessionClock(order.clock_offset_ns, order.clock_error_ns)
        self._host_clock: messages.HostClock | None = None
        self._recording = order.record_frames and order.artefacts is not None
        self._picture_log = self._open_picture_log(order) if self._recording else None
        self._pictures = self._open_pictures(order)
        self._presenter = None if order.title is None else Presenter(order.title, order.mode.resolution)
        self._stream = self._open_stream(order, descriptor)
        self._out = self._open_out(order.out)
        self._records = artefacts.RecordStore()
        self._counts = dict.fromkeys(messages.COUNTERS, 0)
        self._draining: _Over | None = None
        self._began_ns = self._last_frame_ns = monotonic_ns()
        self._second_latency: list[int] = []
        self._second_frames = self._second_bytes = 0

    def run(self) -> None:
        """Receive until verified, over or told to stop, then leave the artefacts."""
        self._end.send(messages.Ready(self._stream.stats().get("receive_buffer_granted", -1)))
        over = self._loop()
        # Closing finalises the accounting of the frames that were still waited for, and lets those in turn out.
        self._stream.close()
        with contextlib.suppress(SessionClosedError):
            while (frame := self._stream.next_frame(0.0)) is not None:
                self._take(frame)
        over = self._verdict(over.at_ns) or over
        hearing = self._hearing(over.at_ns)
        counts = Counts.of(self._counters(), loss_known=hearing.knows_loss(over.end))
        reason = over.reason
        if hearing.tells_of(over.end):
            reason = f"{reason}; {hearing.sentence(self._clock.offset_ns)}"
        self._records.add(self._stream.take_records())
        if self._presenter is not None:
            self._presenter.close()
        if self._pictures is not None:
            self._pictures.close()
        if self._out is not None:
            self._out.close()
        if self._order.artefacts is not None:
            self._write(Path(self._order.artefacts), over.end, reason, counts, hearing)
        self._end.send(
            messages.Ended(
                over.end,
                reason,
                counts.counters,
                counts.at_least,
                hearing.last_packet_ns,
                hearing.silent_ns,
            )
        )

    def _hearing(self, over_ns: int) -> Hearing:
        last = self._stream.last_packet_ns()
        silent = max(0, over_ns - (self._began_ns if last is None else last))
        return Hearing(last, silent, silence_ns(self._order.mode.refresh_hz))

    def _loop(self) -> _Over:
        now = monotonic_ns()
        loss_due, progress_due = now + LOSS_REPORT_INTERVAL_NS, now + S
        self._began_ns = self._last_frame_ns = now
        while not self._end.stopping.is_set():
            frame = self._stream.next_frame(_POLL_S if self._presenter is None else _PRESENT_POLL_S)
            if frame is not None:
                self._take(frame)
            if self._presenter is not None and self._present(self._presenter):
                return _Over(End.STOPPED, "window closed", monotonic_ns())
            now = monotonic_ns()
            self._recover()
            while (received := self._end.poll()) is not None:
                self._obey(received[0], now)
            if now >= loss_due:
                loss_due += LOSS_REPORT_INTERVAL_NS
                if self._order.loss_reports:
                    self._end.send(messages.Loss(self._stream.take_loss_report_ppm()))
            if now >= progress_due:
                progress_due += S
                self._report()
            over = self._over(now, idle=frame is None)
            if over is not None:
                return over
        return _Over(End.STOPPED, "stopped", monotonic_ns())

    def _present(self, presenter: Presenter) -> bool:
        """Show the newest picture, pass input on; ``True`` once the window is closed."""
        for _ in range(self._order.queue_frames):
            # A picture that is overtaken already is decoded, for later ones refer to it, but not shown.
            frame = self._stream.next_frame(0.0) if presenter.waiting else None
            if frame is None:
                break
            self._take(frame)
        shown = presenter.show()
        if shown is not None:
            self._counts["pictures_presented"] += 1
            if self._picture_log is not None:
                self._picture_log.presented(*shown)
        for event in presenter.events():
            self._end.send(event)
        return presenter.closed

    def _over(self, now: int, *, idle: bool) -> _Over | None:
        """Return why the stream is over, ``None`` while it is not."""
        if self._order.frames and self._checked() >= self._order.frames:
            # The last frame is complete before its recovery packets are in, which are counted too.
            if idle and now - self._last_frame_ns >= _TAIL_NS:
                return self._verdict(now)
        elif self._draining is not None:
            since = self._draining.at_ns
            quiet = idle and now - max(self._last_frame_ns, since) >= _DRAIN_NS
            if quiet or now - since >= _DRAIN_LIMIT_NS:
                return self._draining
        if self._order.frames and now - self._last_frame_ns >= _VERIFY_SILENCE_NS:
            return _Over(End.STREAM_SILENT, "silence", now)
        return None

    def _verdict(self, now: int) -> _Over | None:
        if not self._order.frames or self._checked() < self._order.frames:
            return None
        intact = self._counts["test_frames_mismatched"] == 0
        return _Over(End.VERIFIED, "verified" if intact else "verification failed", now)

    def _checked(self) -> int:
        return self._counts["test_frames_intact"] + self._counts["test_frames_mismatched"]

    def _take(self, frame: ReceivedFrame) -> None:
        self._last_frame_ns = monotonic_ns()
        if frame.flags & FLAG_PROBE:
            self._counts["probe_frames"] += 1
            return
        self._second_frames += 1
        self._second_bytes += len(frame)
        self._counts["bytes_received"] += len(frame)
        if self._host_clock is not None:
            captured = frame.pts_ns - self._host_clock.offset_ns - self._clock.offset_ns
            self._second_latency.append(frame.complete_ns - captured)
        if self._order.frames:
            intact = is_test_frame(frame.index, frame)
            self._counts["test_frames_intact" if intact else "test_frames_mismatched"] += 1
        if self._out is not None:
            self._write_out(self._out, frame)
        if self._pictures is not None and frame.decodable:
            decoded = self._pictures.take(frame)
            if self._presenter is not None and decoded is not None:
                self._presenter.offer(frame.index, decoded)

    def _write_out(self, out: IO[bytes], frame: ReceivedFrame) -> None:
        try:
            out.write(frame)
        except OSError as error:
            raise ResultsError(
                f"{self._order.out} cannot be written: {error.strerror}",
                "free space there, or name another --out file",
            ) from error

    def _recover(self) -> None:
        if not self._order.recovery:
            return
        if self._stream.take_recovery_request(self._patience_s()) and self._draining is None:
            self._counts["recovery_requests"] += 1
            self._end.send(messages.NeedKeyframe())

    def _patience_s(self) -> float:
        """Return when to ask for a key frame again: waiting longer than one can take only freezes the picture."""
        clock = self._host_clock
        if clock is None:
            return _REPEAT_RECOVERY_S
        return min(_REPEAT_RECOVERY_S, 2 * clock.rtt_ns / 1e9 + _KEY_FRAME_S)

    def _obey(self, message: messages.Order, now: int) -> None:
        match message:
            case messages.HostClock():
                self._host_clock = message
            case messages.Drain(reason, end) if self._draining is None:
                self._draining = _Over(End(end), reason, now)
            case _:
                pass

    def _report(self) -> None:
        latency = [ns // 1000 for ns in sorted(self._second_latency)]
        error_us = 0 if self._host_clock is None else -(-self._host_clock.error_ns // 1000)
        self._end.send(
            messages.Progress(
                counters=self._counters(),
                frames=self._second_frames,
                bytes=self._second_bytes,
                latency_us=[
                    latency[len(latency) // 2],
                    latency[len(latency) * 95 // 100],
                    latency[-1],
                ]
                if latency
                else None,
                last_packet_ns=self._stream.last_packet_ns(),
                latency_error_us=error_us,
            )
        )
        if self._presenter is not None:
            median = latency_words(latency[len(latency) // 2], error_us) if latency else "unknown"
            self._presenter.say(self._second_frames, median)
        self._records.add(self._stream.take_records())
        self._second_latency.clear()
        self._second_frames = self._second_bytes = 0

    def _counters(self) -> dict[str, int]:
        if self._pictures is not None:
            self._counts["pictures"] = self._pictures.pictures
            self._counts["pictures_concealed"] = self._pictures.concealed
            self._counts["decode_errors"] = self._pictures.errors
            self._counts["strips_read"] = self._pictures.strips_read
            self._counts["strips_unreadable"] = self._pictures.strips_unreadable
        return {**self._stream.stats(), **self._counts}

    def _write(self, folder: Path, end: End, reason: str, counts: Counts, hearing: Hearing) -> None:
        order = self._order
        columns = self._records.columns()
        if columns:
            artefacts.write_columns(folder, "records.npz", columns)
        if self._picture_log is not None:
            artefacts.write_columns(folder, "decoded.npz", self._picture_log.columns())
        clock = self._host_clock
        stats = {
            "schema_version": 1,
            "role": "client",
            "end": end,
            "ended": reason,
            "last_packet_ns": hearing.last_packet_ns,
            "silent_ns": hearing.silent_ns,
            "counters": counts.counters,
            "at_least": counts.at_least,
            "left_out": {
                "records": self._records.left_out,
                "pictures": 0 if self._picture_log is None else self._picture_log.left_out,
            },
            "clock": {"offset_ns": self._clock.offset_ns, "error_ns": self._clock.error_ns},
            "host_clock": None
            if clock is None
            else {
                "offset_ns": clock.offset_ns,
                "error_ns": clock.error_ns,
                "rtt_ns": clock.rtt_ns,
                "rounds": clock.rounds,
            },
            "stream": {
                "mode": str(order.mode.resolution),
                "codec": order.codec,
                "fec_scheme": order.fec_scheme,
                "fec_percent": order.fec_percent,
                "max_block_shards": order.max_block_shards,
                "shard_bytes": order.shard_bytes,
                "frames_announced": order.frames,
                "encrypted": bool(order.key),
            },
        }
        artefacts.write_stats(folder, "stats.json", stats)

    @staticmethod
    def _open_picture_log(order: messages.Receive) -> PictureLog | None:
        return None if order.codec is None else PictureLog(compared=order.reference is not None)

    def _open_pictures(self, order: messages.Receive) -> PictureReader | None:
        if order.codec is None:
            return None
        # FFmpeg and NumPy take longer than all else at the start, and a stream without pictures needs neither.
        from punktfunk.client.decode import PictureReader

        return PictureReader(
            order.codec,
            read_marker=order.read_marker,
            log=self._picture_log,
            reference=None if order.reference is None else TestCardSpec.model_validate(order.reference),
            reference_every=order.reference_every,
        )

    def _open_stream(self, order: messages.Receive, descriptor: int) -> ClientStream:
        config = StreamConfig(
            scheme="gf16" if order.fec_scheme == "gf16" else "gf8",
            fec_percent=order.fec_percent,
            max_block_shards=order.max_block_shards,
            shard_bytes=order.shard_bytes,
            key=bytes.fromhex(order.key) if order.key else None,
            salt=bytes.fromhex(order.salt),
            hold_undecodable=order.hold_undecodable,
            reorder_window_ns=order.reorder_window_ns,
            loss_window_ns=order.loss_window_ns,
        )
        try:
            return ClientStream(
                config,
                descriptor,
                queue_frames=order.queue_frames,
                gro=order.gro,
                receive_buffer_bytes=order.receive_buffer_bytes,
                record_frames=self._recording,
            )
        finally:
            os.close(descriptor)

    @staticmethod
    def _open_out(path: str | None) -> IO[bytes] | None:
        if path is None:
            return None
        try:
            return Path(path).open("ab", buffering=0)
        except OSError as error:
            raise ResultsError(
                f"{path} cannot be written: {error.strerror}", "name another --out file"
            ) from error


def main() -> int:
    """Run the worker; 0 when the stream ended, 1 when it failed (the client has been told why)."""
    end = WorkerEnd(messages.VOCABULARY)
    end.send(messages.Up())
    received = end.wait(_ORDER_LIMIT_S)
    if received is None or not isinstance(received[0], messages.Receive):
        return 1
    order, descriptors = received
    try:
        ReceiveProgram(end, order, descriptors[0]).run()
    except PunktfunkError as error:
        end.send(messages.Failed(error.code, error.cause, error.hint))
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort of the process
        # A defect: the client hears of it, and the traceback stands in the log that it shares with its worker.
        log.get("client.worker").exception("worker broke")
        what = f"the receive worker broke: {type(error).__name__}: {error}"
        end.send(messages.Failed(PunktfunkError.code, what, "the log has a traceback: please report it"))
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
