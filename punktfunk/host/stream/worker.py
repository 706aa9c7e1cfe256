"""The stream worker: source → encoder → core, in a process of its own. Run by the host only.

The frame's way touches Python once: ``produce`` returns an access unit, ``submit`` hands it to the core's
send thread. Everything else in the loop is done between frames.
"""

from __future__ import annotations

import math
import os
import time
from array import array
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from punktfunk import log
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.core._core import FLAG_KEY, FLAG_PICTURE, HostStream, StreamConfig
from punktfunk.errors import PunktfunkError
from punktfunk.host.stream import messages
from punktfunk.host.stream.next_mode import NextMode
from punktfunk.host.stream.pace import FrameClock, sleep_until, wake_precisely
from punktfunk.host.stream.probe import BandwidthProbes
from punktfunk.host.stream.recovery import KeyframeCoalescer
from punktfunk.host.stream.sources import WorkerSource, open_worker_producer
from punktfunk.host.stream.telemetry import Telemetry
from punktfunk.log_ring import MAX_ENTRY_BYTES, LogEntry
from punktfunk.media import EncoderConfig, Producer, SyntheticSpec
from punktfunk.native.control import MessageBudget, fec_percent_within
from punktfunk.process import artefacts
from punktfunk.process.worker_end import WorkerEnd, leave
from punktfunk.units import Bitrate, Mode

_ORDER_LIMIT_S = 10.0
_FLUSH_LIMIT_S = 2.0
_PROGRESS_NS = 1_000_000_000
_REFUSALS_NS = 100_000_000
"""Between two messages about a data port that refuses: on loopback every second send is refused."""
_LOG_LINES_PER_S, _LOG_BURST = 20, 100
"""Lines of its log that a worker tells the host; a flood must not fill the channel that carries orders."""


class StreamProgram:
    """One stream from its preparation to its artefacts."""

    def __init__(self, end: WorkerEnd, order: messages.Prepare) -> None:
        self._end = end
        self._order = order
        self._source: Any = _read_source(order.source)
        self._encoder = EncoderConfig.model_validate(order.encoder)
        self._producer: Producer = open_worker_producer(self._source, self._encoder)
        self._clock = SessionClock(order.clock_offset_ns, order.clock_error_ns)
        self._stream: HostStream | None = None
        self._kbps = order.rate_kbps
        self._fec_wanted = self._fec_used = order.fec_percent
        self._records = artefacts.RecordStore()
        self._source_frames = array("q")
        self._restart_clock = False
        self._refusals_due = 0
        self._next_mode = NextMode()
        self._key_frames = 0
        self._produce_cpu_ns = 0
        self._desk = KeyframeCoalescer(1_000_000_000 // self._encoder.mode.refresh_hz)
        self._frame_clock = FrameClock(self._encoder.mode.refresh_hz, 0)
        self._probes = BandwidthProbes(order.probe_kbps, order.shard_bytes)

    def run(self) -> None:
        """Stream until frames or seconds are over or the host says so, then leave the artefacts."""
        codec, encoder = self._producer.codec, self._producer.encoder
        self._end.send(messages.Ready(None if codec is None else str(codec), encoder))
        descriptor = self._wait_for_begin()
        if descriptor is None:
            return
        self._stream = self._open_stream(descriptor)
        reason = self._loop(self._stream)
        if not self._end.stopping.is_set():
            self._stream.flush(_FLUSH_LIMIT_S)
        self._leave(reason, self._stream)

    def _wait_for_begin(self) -> int | None:
        while not self._end.stopping.is_set():
            received = self._end.wait(0.1)
            if received is None:
                continue
            message, descriptors = received
            if isinstance(message, messages.Begin):
                return descriptors[0]
            self._obey(message)
        return None

    def _open_stream(self, descriptor: int) -> HostStream:
        order = self._order
        config = StreamConfig(
            scheme="gf16" if order.fec_scheme == "gf16" else "gf8",
            fec_percent=order.fec_percent,
            max_block_shards=order.max_block_shards,
            shard_bytes=order.shard_bytes,
            key=bytes.fromhex(order.key) if order.key else None,
            salt=bytes.fromhex(order.salt),
        )
        try:
            return HostStream(
                config,
                descriptor,
                rate_kbps=self._kbps,
                queue_frames=order.queue_frames,
                burst_packets=order.burst_packets,
                packets_per_ms=order.packets_per_ms,
                rate_factor=order.rate_factor,
                gso=order.gso,
                send_buffer_bytes=order.send_buffer_bytes,
                # The figures of each second are made from the records too, so they are always kept.
                record_frames=True,
                realtime=order.realtime,
            )
        finally:
            os.close(descriptor)

    def _loop(self, stream: HostStream) -> str:
        wake_precisely()
        started = monotonic_ns()
        ends = None if self._order.seconds is None else started + round(self._order.seconds * 1e9)
        progress_due = started + _PROGRESS_NS
        telemetry = Telemetry(started)
        self._restart_clock = True
        submitted = 0
        while not self._end.stopping.is_set():
            if submitted == self._order.frames:
                return "frames"
            if self._restart_clock:
                self._restart_clock = False
                skipped = self._frame_clock.skipped
                self._frame_clock = FrameClock(self._encoder.mode.refresh_hz, monotonic_ns())
                self._frame_clock.skipped = skipped
            if not self._wait_for_turn(ends):
                return "seconds"
            self._between_frames(stream)
            self._probe(stream)
            self._frame(stream)
            submitted += 1
            if monotonic_ns() >= progress_due:
                # After a stall one report covers all of it.
                progress_due += _PROGRESS_NS * ((monotonic_ns() - progress_due) // _PROGRESS_NS + 1)
                self._report(stream, telemetry)
        return "stopped"

    def _report(self, stream: HostStream, telemetry: Telemetry) -> None:
        """Report the last second to the host; the records are taken once, for this and for the artefacts."""
        counters, records = self._counters(stream), stream.take_records()
        figures = telemetry.sample(records, counters, monotonic_ns())
        self._end.send(messages.Progress(counters, figures.stages, figures.rates))
        self._keep(records)

    def _keep(self, records: dict[str, bytes]) -> None:
        if self._order.artefacts is not None and self._order.record_frames:
            self._records.add(records)

    def _wait_for_turn(self, ends: int | None) -> bool:
        """Wait until the next frame is due; ``False`` when the stream's time is over before."""
        if getattr(self._producer, "self_paced", False):
            # The compositor paces, and capturing waits for it: waiting here as well would only add latency.
            return ends is None or monotonic_ns() < ends
        deadline = self._frame_clock.next_deadline(monotonic_ns())
        if ends is not None and deadline >= ends:
            sleep_until(ends, self._end.stopping)
            return False
        sleep_until(deadline, self._end.stopping)
        return True

    def _between_frames(self, stream: HostStream) -> None:
        while (received := self._end.poll()) is not None:
            self._obey(received[0])
        self._take_next_mode()
        if stream.take_recovery_request() and self._desk.dropped():
            self._producer.request_key()
        self._tell_refusals(stream)

    def _tell_refusals(self, stream: HostStream) -> None:
        now = monotonic_ns()
        if now < self._refusals_due:
            return
        refusals = stream.take_refusals()
        if refusals is not None:
            self._refusals_due = now + _REFUSALS_NS
            self._end.send(messages.PortRefused(*refusals))

    def _probe(self, stream: HostStream) -> None:
        """Send the filler of a bandwidth probe while the picture stands still."""
        if not self._probes.waiting:
            return
        self._end.send(self._probes.run(stream, self._clock, self._end.stopping))
        stream.set_fec_percent(self._fec_used)
        stream.set_rate(self._kbps)
        self._restart_clock = True

    def _frame(self, stream: HostStream) -> None:
        began = time.thread_time_ns()
        unit = self._producer.produce()
        self._produce_cpu_ns += time.thread_time_ns() - began
        self._use_fec_for(stream, len(unit.data))
        flags = FLAG_PICTURE | (FLAG_KEY if unit.key else 0)
        stamps = unit.stamps
        index = stream.submit(
            unit.data,
            self._clock.to_wire(unit.pts_ns),
            flags,
            captured_ns=stamps.captured_ns,
            converted_ns=stamps.converted_ns,
            encode_begin_ns=stamps.encode_begin_ns,
            encode_end_ns=stamps.encode_end_ns,
        )
        self._key_frames += unit.key
        self._desk.sent(unit.key, monotonic_ns())
        if self._order.artefacts is not None and self._order.record_frames:
            self._note_source_frame(index, unit.frame)

    def _note_source_frame(self, index: int, number: int) -> None:
        """Remember which picture of the source an access unit shows, for as many as there can be records of."""
        if len(self._source_frames) < 2 * artefacts.MAX_ROWS:
            self._source_frames.extend((index, number))

    def _use_fec_for(self, stream: HostStream, frame_bytes: int) -> None:
        """Apply the wanted percentage, except for frames whose blocks old receivers would refuse."""
        order = self._order
        shards = math.ceil(frame_bytes / order.shard_bytes)
        percent = fec_percent_within(self._fec_wanted, shards, order.fec_percent, order.max_block_shards)
        if percent != self._fec_used:
            stream.set_fec_percent(percent)
            self._fec_used = percent

    def _obey(self, message: Any) -> None:
        match message:
            case messages.WantKeyframe(rtt_ns):
                if self._desk.request(monotonic_ns(), rtt_ns):
                    self._producer.request_key()
            case messages.UseBitrate(kbps):
                self._kbps = kbps
                self._producer.set_bitrate(Bitrate.from_kbps(kbps))
                if self._stream is not None:
                    self._stream.set_rate(kbps)
            case messages.UseFec(percent):
                self._fec_wanted = percent
            case messages.SendProbe():
                self._probes.ask(message)
            case messages.UseMode(mode, source):
                self._change_mode(mode, source)
            case _:
                raise TypeError(f"{type(message).__name__} is not for a stream worker")

    def _change_mode(self, mode: Mode, source: dict[str, Any] | None) -> None:
        if isinstance(self._source, SyntheticSpec):
            # Nothing in it depends on the mode (punktfunk/1 section 7.2: acknowledged, changes nothing).
            self._answer_mode(True, mode)
            return
        encoder = self._encoder.model_copy(update={"mode": mode, "bitrate": self._producer.bitrate})
        wanted = self._source if source is None else _read_source(source)
        if not self._next_mode.build(wanted, encoder):
            self._answer_mode(False, self._encoder.mode)

    def _take_next_mode(self) -> None:
        """Go over to a mode that is ready; until then the old source and encoder have streamed on."""
        built = self._next_mode.take()
        if built is None:
            return
        if built.producer is None:
            self._answer_mode(False, self._encoder.mode)
            return
        former, self._producer = self._producer, built.producer
        if former.bitrate != built.encoder.bitrate:
            self._producer.set_bitrate(former.bitrate)
        self._encoder = built.encoder
        self._restart_clock = True
        self._answer_mode(True, built.encoder.mode)
        self._next_mode.discard(former)

    def _answer_mode(self, accepted: bool, mode: Mode) -> None:
        self._end.send(messages.ModeInForce(accepted, mode))

    def _counters(self, stream: HostStream) -> dict[str, int]:
        return {
            **stream.stats(),
            "key_frames": self._key_frames,
            # Of this thread; an encoder's own threads come on top.
            "produce_cpu_ns": self._produce_cpu_ns,
            "keyframe_requests": self._desk.requests,
            "keyframe_requests_coalesced": self._desk.coalesced,
            "source_frames_skipped": self._frame_clock.skipped,
            "fec_percent": self._fec_used,
            "rate_kbps": self._kbps,
            **self._probes.counters,
            **{f"capture_{name}": count for name, count in getattr(self._producer, "counters", {}).items()},
        }

    def _leave(self, reason: str, stream: HostStream) -> None:
        stream.close()
        counters = self._counters(stream)
        self._keep(stream.take_records())
        self._producer.close()
        if self._order.artefacts is not None:
            self._write(Path(self._order.artefacts), reason, counters)
        self._end.send(messages.Ended(reason, counters))

    def _write(self, folder: Path, reason: str, counters: dict[str, int]) -> None:
        columns = self._records.columns()
        if columns:
            numbers = dict(zip(self._source_frames[::2], self._source_frames[1::2], strict=True))
            index = columns["index"]
            columns["source_frame"] = index.copy()
            columns["source_frame"][:] = [numbers.get(int(at), -1) for at in index]
            artefacts.write_columns(folder, "records.npz", columns)
        mode = self._encoder.mode
        stats = {
            "schema_version": 1,
            "role": "host",
            "ended": reason,
            "counters": counters,
            "left_out": {"records": self._records.left_out},
            "clock": {"offset_ns": self._clock.offset_ns, "error_ns": self._clock.error_ns},
            "stream": {
                "mode": str(mode),
                "codec": None if self._producer.codec is None else str(self._producer.codec),
                "fec_scheme": self._order.fec_scheme,
                "fec_percent": self._order.fec_percent,
                "max_block_shards": self._order.max_block_shards,
                "shard_bytes": self._order.shard_bytes,
                "rate_kbps": self._order.rate_kbps,
                "encrypted": bool(self._order.key),
            },
        }
        artefacts.write_stats(folder, "stats.json", stats)


def _read_source(source: dict[str, Any]) -> Any:
    return TypeAdapter(WorkerSource).validate_python(source)


def main() -> int:
    """Run the worker; 0 when the stream ended, 1 when it failed (the host has been told why)."""
    end = WorkerEnd(messages.VOCABULARY)
    budget = MessageBudget(monotonic_ns(), per_s=_LOG_LINES_PER_S, burst=_LOG_BURST)

    def tell(entry: LogEntry) -> None:
        if budget.take(monotonic_ns()):
            line, _ = entry.within(MAX_ENTRY_BYTES)
            end.send(messages.Logged(line.level, line.concern, line.event, line.fields))

    log.hand_over(tell)
    received = end.wait(_ORDER_LIMIT_S)
    if received is None or not isinstance(received[0], messages.Prepare):
        return 1
    try:
        StreamProgram(end, received[0]).run()
    except PunktfunkError as error:
        end.send(messages.Failed(error.code, error.cause, error.hint))
        return 1
    except Exception:  # noqa: BLE001 - the last resort of the process
        # A defect: the host learns where, its log being the one that people read.
        log.get("host.worker").exception("worker broke")
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
