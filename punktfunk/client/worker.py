"""The receive worker: core → decoder → frame marker, in a process of its own. Run by the client only."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from punktfunk import log
from punktfunk.client import messages
from punktfunk.client.ending import End, Hearing, silence_ns
from punktfunk.client.key_frames import patience_s
from punktfunk.client.latency import latency_words
from punktfunk.client.present import Presenter
from punktfunk.client.reception import Keeping, Over, Reception
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.core._core import FLAG_PROBE, ClientStream, ReceivedFrame, StreamConfig
from punktfunk.errors import PunktfunkError, SessionClosedError
from punktfunk.media import is_test_frame
from punktfunk.native.control import LOSS_REPORT_INTERVAL_NS, MS, S
from punktfunk.process.worker_end import WorkerEnd, leave

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
        self._reception = Reception(
            Keeping(
                codec=order.codec,
                read_marker=order.read_marker,
                reference=order.reference,
                reference_every=order.reference_every,
                artefacts=order.artefacts,
                record_frames=order.record_frames,
                out=order.out,
            )
        )
        self._presenter = None if order.title is None else Presenter(order.title, order.mode.resolution)
        self._stream = self._open_stream(order, descriptor)
        self._counts = dict.fromkeys(messages.COUNTERS, 0)
        self._draining: _Over | None = None
        self._began_ns = self._last_frame_ns = monotonic_ns()

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
        if self._presenter is not None:
            self._presenter.close()
        ended = Over(over.end, over.reason, self._hearing(over.at_ns), self._clock.offset_ns)
        self._end.send(self._reception.finish(self._stream, ended, self._counts, self._statistics()))

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
            self._reception.presented(*shown)
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
        latency = None
        if self._host_clock is not None:
            captured = frame.pts_ns - self._host_clock.offset_ns - self._clock.offset_ns
            latency = frame.complete_ns - captured
        if self._order.frames:
            intact = is_test_frame(frame.index, frame)
            self._counts["test_frames_intact" if intact else "test_frames_mismatched"] += 1
        decoded = self._reception.take(frame, latency)
        if self._presenter is not None and decoded is not None:
            self._presenter.offer(frame.index, decoded)

    def _recover(self) -> None:
        if not self._order.recovery:
            return
        clock = self._host_clock
        again_s = patience_s(None if clock is None else clock.rtt_ns)
        if self._stream.take_recovery_request(again_s) and self._draining is None:
            self._counts["recovery_requests"] += 1
            self._end.send(messages.NeedKeyframe())

    def _obey(self, message: messages.Order, now: int) -> None:
        match message:
            case messages.HostClock():
                self._host_clock = message
            case messages.CursorShaped() | messages.CursorMoved() if self._presenter is not None:
                self._presenter.point(message)
            case messages.Drain(reason, end) if self._draining is None:
                self._draining = _Over(End(end), reason, now)
            case _:
                pass

    def _report(self) -> None:
        error_us = 0 if self._host_clock is None else -(-self._host_clock.error_ns // 1000)
        progress = self._reception.progress(self._stream, self._counts, error_us)
        self._end.send(progress)
        if self._presenter is not None:
            latency = progress.latency_us
            median = "unknown" if latency is None else latency_words(latency[0], error_us)
            self._presenter.say(progress.frames, median)

    def _statistics(self) -> dict[str, Any]:
        order, clock = self._order, self._host_clock
        return {
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
                record_frames=order.record_frames and order.artefacts is not None,
            )
        finally:
            os.close(descriptor)


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
