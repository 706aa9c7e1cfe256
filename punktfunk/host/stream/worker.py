"""The stream worker: source → encoder → sender, in a process of its own. Run by the host only.

The frame path touches Python once: ``produce`` returns an access unit, ``submit`` hands it to the wire's sender, whose
packets are the core's. Everything else in the loop is done between frames. The host names on the command line which
senders there are (``--sender MODULE:FUNCTION``); an order can only choose one of them.
"""

from __future__ import annotations

import argparse
import os
import time
from array import array
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from punktfunk import log
from punktfunk.allowance import Allowance
from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorUpdate
from punktfunk.desktop.capture import PRODUCERS as SCREENS
from punktfunk.desktop.capture import close_unused
from punktfunk.errors import MediaError, PunktfunkError, SourceLostError
from punktfunk.host.stream import messages
from punktfunk.host.stream.attainable import FOLLOWS, AttainableRate
from punktfunk.host.stream.next_mode import NextMode
from punktfunk.host.stream.pace import FrameClock, sleep_until, wake_precisely
from punktfunk.host.stream.probe import BandwidthProbes
from punktfunk.host.stream.recovery import KeyframeCoalescer
from punktfunk.host.stream.sender import Sender, open_sender
from punktfunk.host.stream.sources import WorkerSource, open_worker_producer
from punktfunk.host.stream.spec import StreamSpec
from punktfunk.host.stream.telemetry import Telemetry
from punktfunk.log_ring import MAX_ENTRY_BYTES, LogEntry
from punktfunk.media import Producer, SyntheticSpec
from punktfunk.media.handover import Decision
from punktfunk.process import artefacts
from punktfunk.process.stall_watch import LOOK_S, LOOKS, StallWatch
from punktfunk.process.worker_end import WorkerEnd, leave
from punktfunk.units import Bitrate, Mode

_ORDER_LIMIT_S = 10.0
_FLUSH_LIMIT_S = 2.0
_PROGRESS_NS = 1_000_000_000
_REFUSALS_NS = 100_000_000
"""Between two messages about a data port that refuses: on loopback every second send is refused."""
_LOG_BURST, _LOG_INTERVAL_NS = 100, 50_000_000
"""Lines of its log that a worker tells the host, so many at once, then one each interval: a flood must not fill the
channel that carries orders."""


class StreamProgram:
    """One stream from its preparation to its artefacts; ``senders`` are those that it may leave by.

    ``connection`` is what its source is reached by, if the host had to open that, and is taken.
    """

    def __init__(
        self, end: WorkerEnd, spec: StreamSpec, senders: Collection[str], connection: int | None = None
    ) -> None:
        self._end = end
        self._spec = spec
        self._senders = senders
        self._source = spec.source
        self._encoder = spec.encoder
        self._producer: Producer = open_worker_producer(self._source, self._encoder, connection)
        self._sender: Sender | None = None
        self._kbps = spec.rate_kbps
        self._fec_percent = spec.fec_percent
        self._records = artefacts.RecordStore()
        self._source_frames = array("q")
        self._restart_clock = False
        self._refusals_due = 0
        self._told_encoder: str | None = None
        """What the host knows to encode."""
        self._replaced = 0
        """Replacements of this producer's encoder that are known here."""
        self._next_mode = NextMode()
        self._separates_cursor = spec.separate_cursor
        self._untold_cursor: CursorUpdate | None = None
        self._wants_source = False
        """Whether what is being built is for a source that was lost, and not for a mode."""
        self._handover: Decision | None = None
        """How pictures reach the encoder, as the host was told."""
        self._key_frames = 0
        self._produce_cpu_ns = 0
        self._keyframes = KeyframeCoalescer(1_000_000_000 // self._encoder.mode.refresh_hz)
        self._rate = AttainableRate(self._encoder.mode.refresh_hz)
        self._frame_clock = FrameClock(self._rate.hz, 0)
        self._probes = BandwidthProbes(spec.limits.probe_kbps)
        self._watch = StallWatch(self._stalled)
        self._use_cursor()

    def run(self) -> None:
        """Stream until frames or seconds are over or the host says so, then leave the artefacts."""
        codec, encoder = self._producer.codec, self._encoder.encoder
        video = codec is not None
        self._told_encoder = str(encoder) if video else None
        self._end.send(messages.Ready(str(codec) if video else None, self._told_encoder))
        self._follow_encoder()
        descriptor = self._wait_for_begin()
        if descriptor is None:
            return
        self._sender = self._open_sender(descriptor)
        with StallWatch(self._stalled) as self._watch:
            reason = self._loop(self._sender)
        if not self._end.stopping.is_set():
            self._sender.flush(_FLUSH_LIMIT_S)
        self._leave(reason, self._sender)

    def _wait_for_begin(self) -> int | None:
        while not self._end.stopping.is_set():
            received = self._end.wait(0.1)
            if received is None:
                continue
            message, descriptors = received
            if isinstance(message, messages.Begin):
                return descriptors[0]
            self._obey(message, descriptors)
        return None

    def _open_sender(self, descriptor: int) -> Sender:
        try:
            sender = open_sender(self._spec, descriptor, self._senders)
        finally:
            os.close(descriptor)
        # What was asked for before there was a socket.
        if self._kbps != self._spec.rate_kbps:
            sender.set_rate(self._kbps)
        sender.set_fec_percent(self._fec_percent)
        return sender

    def _loop(self, sender: Sender) -> str:
        wake_precisely()
        started = monotonic_ns()
        ends = None if self._spec.limits.seconds is None else started + round(self._spec.limits.seconds * 1e9)
        progress_due = started + _PROGRESS_NS
        telemetry = Telemetry(started)
        self._restart_clock = True
        submitted = 0
        while not self._end.stopping.is_set():
            if submitted == self._spec.limits.frames:
                return "frames"
            if self._restart_clock:
                self._restart_clock = False
                skipped = self._frame_clock.skipped
                self._frame_clock = FrameClock(self._rate.hz, monotonic_ns())
                self._frame_clock.skipped = skipped
            if not self._wait_for_turn(ends):
                return "seconds"
            self._between_frames(sender)
            self._probe(sender)
            self._frame(sender)
            self._watch.beat()
            submitted += 1
            if monotonic_ns() >= progress_due:
                # After a stall one report covers all of it.
                progress_due += _PROGRESS_NS * ((monotonic_ns() - progress_due) // _PROGRESS_NS + 1)
                self._report(sender, telemetry)
        return "stopped"

    def _stalled(self) -> None:
        """Report it to the host and leave: a thread that a library holds cannot be brought back. The watch calls it."""
        if self._end.stopping.is_set():
            return
        producer = self._producer
        what = producer.encoder or "no encoder"
        error = MediaError(
            f"the stream stood still for {LOOK_S * LOOKS:.0f} s in a picture of {self._source.kind} by {what}",
            "connect again: that encoder is left alone meanwhile"
            if producer.encoding and self._encoder.fallbacks
            else "connect again; if it comes back, take another codec and report it with the log",
        )
        held_by = what if producer.encoding else ""
        self._end.send(messages.Failed(error.code, error.cause, error.hint, held_by))
        leave(1)

    def _report(self, sender: Sender, telemetry: Telemetry) -> None:
        """Report the last second to the host; the records are taken once, for this and for the artefacts."""
        counters, records = self._counters(sender), sender.take_records()
        figures = telemetry.sample(records, counters, monotonic_ns())
        self._end.send(messages.Progress(counters, figures.stages, figures.rates))
        self._keep(records)
        self._tell_handover()
        if self._producer.encoder in FOLLOWS and "encode" in figures.stages:
            self._follow_speed(figures.stages["encode"][0])

    def _tell_handover(self) -> None:
        """Report to the host how pictures reach the encoder, where that has changed."""
        decision = self._producer.handover
        if decision is not None and decision != self._handover:
            self._handover = decision
            self._end.send(messages.HandedOver(str(decision.way), decision.reason))

    def _follow_speed(self, encode_us: int) -> None:
        """Stream as many frames as a slow encoder reaches, each with its full share of the bit rate."""
        if self._rate.second(encode_us):
            wanted_hz = self._encoder.mode.refresh_hz
            self._producer.set_frame_rate(self._rate.hz)
            self._restart_clock = True
            self._end.send(messages.FrameRate(self._rate.hz, wanted_hz, encode_us))

    def _keep(self, records: dict[str, bytes]) -> None:
        if self._records_frames:
            self._records.add(records)

    def _wait_for_turn(self, ends: int | None) -> bool:
        """Wait until the next frame is due; ``False`` when the stream's time is over before."""
        if self._producer.self_paced and self._rate.hz == self._encoder.mode.refresh_hz:
            # The compositor paces, and capturing waits for it: waiting here as well would only add latency.
            return ends is None or monotonic_ns() < ends
        deadline = self._frame_clock.next_deadline(monotonic_ns())
        if ends is not None and deadline >= ends:
            sleep_until(ends, self._end.stopping)
            return False
        sleep_until(deadline, self._end.stopping)
        return True

    def _between_frames(self, sender: Sender) -> None:
        while (received := self._end.poll()) is not None:
            self._obey(*received)
        self._take_next_mode()
        if (untold := self._untold_cursor) is not None:
            self._tell_cursor(untold)
        if sender.take_recovery_request() and self._keyframes.dropped():
            self._producer.request_key()
        self._tell_refusals(sender)

    def _tell_refusals(self, sender: Sender) -> None:
        now = monotonic_ns()
        if now < self._refusals_due:
            return
        refusals = sender.take_refusals()
        if refusals is not None:
            self._refusals_due = now + _REFUSALS_NS
            self._end.send(messages.PortRefused(*refusals))

    def _probe(self, sender: Sender) -> None:
        """Send the filler of a bandwidth probe while the picture stands still."""
        if not self._probes.waiting:
            return
        self._end.send(self._probes.run(sender, self._end.stopping))
        sender.set_rate(self._kbps)
        self._restart_clock = True

    def _frame(self, sender: Sender) -> None:
        began = time.thread_time_ns()
        try:
            unit = self._producer.produce()
        except SourceLostError as error:
            if self._source.kind not in SCREENS or not self._producer.hold():
                raise
            # Its last picture stands still from now on, and the stream with it: the host sees to another source.
            self._end.send(messages.SourceLost(error.code, error.cause, error.hint))
            if self._separates_cursor:
                self._tell_cursor(CursorUpdate(visible=False))
            unit = self._producer.produce()
        self._produce_cpu_ns += time.thread_time_ns() - began
        index = sender.submit(unit)
        self._follow_encoder()
        self._key_frames += unit.key
        self._keyframes.sent(unit.key, monotonic_ns())
        if self._records_frames:
            self._note_source_frame(index, unit.frame)

    def _follow_encoder(self) -> None:
        """Report an encoder that took over, and leave those that it took over from alone in this stream."""
        replaced, encoder = self._producer.replacements[self._replaced :], self._producer.encoder
        if not replaced and encoder == self._told_encoder:
            return
        if replaced:
            self._replaced += len(replaced)
            successor, behind = replaced[-1].successor, self._encoder.fallbacks
            left = behind[behind.index(successor) + 1 :]
            self._encoder = self._encoder.model_copy(update={"encoder": successor, "fallbacks": left})
        if encoder != self._told_encoder:
            self._told_encoder = encoder
            refused = [
                [str(each.former), each.error.code, each.error.cause, each.error.hint] for each in replaced
            ]
            self._end.send(messages.EncoderReplaced(encoder or "", refused))

    def _note_source_frame(self, index: int, number: int) -> None:
        """Remember which picture of the source an access unit shows, for as many as there can be records of."""
        if len(self._source_frames) < 2 * artefacts.MAX_ROWS:
            self._source_frames.extend((index, number))

    @property
    def _records_frames(self) -> bool:
        return self._spec.records is not None and self._spec.records.frames

    def _obey(self, message: messages.Order, descriptors: list[int]) -> None:
        match message:
            case messages.WantKeyframe(rtt_ns):
                if self._keyframes.request(monotonic_ns(), rtt_ns):
                    self._producer.request_key()
            case messages.UseBitrate(kbps):
                self._kbps = kbps
                self._producer.set_bitrate(Bitrate.from_kbps(kbps))
                if self._sender is not None:
                    self._sender.set_rate(kbps)
            case messages.UseFec(percent):
                self._fec_percent = percent
                if self._sender is not None:
                    self._sender.set_fec_percent(percent)
            case messages.UseCursor(separate):
                self._separates_cursor = separate
                self._use_cursor()
            case messages.SendProbe():
                self._probes.ask(message)
            case messages.UseMode(mode, source):
                self._change_mode(mode, source, *descriptors)
            case messages.UseSource(source):
                self._change_source(source, *descriptors)
            case _:
                raise TypeError(f"{type(message).__name__} is not for a stream worker")

    def _use_cursor(self) -> None:
        """Have the pointer told beside the pictures of what is streamed now, or painted into them."""
        if not self._separates_cursor:
            # Told now, it would be there twice: the pictures show it again.
            self._untold_cursor = None
        self._producer.separate_cursor(self._tell_cursor if self._separates_cursor else None)

    def _tell_cursor(self, update: CursorUpdate) -> None:
        """Report the pointer, or keep it for later: pictures do not wait for a host that reads slowly."""
        if self._untold_cursor is not None and update.shape is None:
            update = replace(update, shape=self._untold_cursor.shape)
        self._untold_cursor = None if self._end.offer(messages.CursorTold.of(update)) else update

    def _change_mode(self, mode: Mode, source: dict[str, Any] | None, connection: int | None = None) -> None:
        if isinstance(self._source, SyntheticSpec):
            # Nothing in it depends on the mode (punktfunk/1 section 7.2: acknowledged, changes nothing).
            self._answer_mode(True, mode)
            return
        encoder = self._encoder.model_copy(update={"mode": mode, "bitrate": self._producer.bitrate})
        wanted = self._source if source is None else _read_source(source)
        if not self._next_mode.build(wanted, encoder, connection):
            close_unused(connection)
            self._answer_mode(False, self._encoder.mode)

    def _change_source(self, source: dict[str, Any], connection: int | None = None) -> None:
        encoder = self._encoder.model_copy(update={"bitrate": self._producer.bitrate})
        # Its last picture goes on to be shown until there is one of the new source: without, the stream would end.
        if self._next_mode.build(_read_source(source), encoder, connection, with_picture=True):
            self._wants_source = True
        else:
            close_unused(connection)
            self._end.send(messages.SourceTaken("the stream changes its mode just now"))

    def _take_next_mode(self) -> None:
        """Go over to a mode or a source that is ready; until then the old ones have streamed on."""
        built = self._next_mode.take()
        if built is None:
            return
        wanted_source, self._wants_source = self._wants_source, False
        if built.producer is None:
            if wanted_source:
                assert built.error is not None
                self._end.send(messages.SourceTaken(built.error.cause, built.error.hint))
            else:
                self._answer_mode(False, self._encoder.mode)
            return
        self._source = built.source
        former, self._producer = self._producer, built.producer
        self._use_cursor()
        if former.bitrate != built.encoder.bitrate:
            self._producer.set_bitrate(former.bitrate)
        wanted_hz = built.encoder.mode.refresh_hz
        if self._rate.hz != self._encoder.mode.refresh_hz:
            self._end.send(messages.FrameRate(wanted_hz, wanted_hz, 0))
        self._encoder, self._replaced = built.encoder, 0
        self._follow_encoder()
        self._rate = AttainableRate(wanted_hz)
        self._restart_clock = True
        if wanted_source:
            self._end.send(messages.SourceTaken())
        else:
            self._answer_mode(True, built.encoder.mode)
        self._next_mode.discard(former)

    def _answer_mode(self, accepted: bool, mode: Mode) -> None:
        self._end.send(messages.ModeOutcome(accepted, mode))

    def _counters(self, sender: Sender) -> dict[str, int]:
        return {
            **sender.stats(),
            "key_frames": self._key_frames,
            # Of this thread; an encoder's own threads come on top.
            "produce_cpu_ns": self._produce_cpu_ns,
            "keyframe_requests": self._keyframes.requests,
            "keyframe_requests_coalesced": self._keyframes.coalesced,
            "source_frames_skipped": self._frame_clock.skipped,
            "fec_percent": sender.fec_percent,
            "rate_kbps": self._kbps,
            **self._probes.counters,
            **{f"capture_{name}": count for name, count in self._producer.counters.items()},
        }

    def _leave(self, reason: str, sender: Sender) -> None:
        sender.close()
        counters = self._counters(sender)
        self._keep(sender.take_records())
        self._tell_handover()
        self._producer.close()
        if self._spec.records is not None:
            self._write(self._spec.records.folder, reason, counters, sender)
        self._end.send(messages.Ended(reason, counters))

    def _write(self, folder: Path, reason: str, counters: dict[str, int], sender: Sender) -> None:
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
            "clock": {"offset_ns": self._spec.clock.offset_ns, "error_ns": self._spec.clock.error_ns},
            "stream": {
                "mode": str(mode),
                "codec": None if self._producer.codec is None else str(self._producer.codec),
                "fec_percent": self._spec.fec_percent,
                "rate_kbps": self._spec.rate_kbps,
                **sender.describe(),
            },
        }
        artefacts.write_stats(folder, "stats.json", stats)


def _read_source(source: dict[str, Any]) -> WorkerSource:
    return TypeAdapter(WorkerSource).validate_python(source)


def main() -> int:
    """Run the worker; 0 when the stream ended, 1 when it failed (the host has been told why)."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--sender", action="append", default=[], metavar="MODULE:FUNCTION")
    end = WorkerEnd(messages.VOCABULARY, parser)
    budget = Allowance(_LOG_BURST, _LOG_INTERVAL_NS, monotonic_ns())

    def tell(entry: LogEntry) -> None:
        if budget.try_take(monotonic_ns()):
            line, _ = entry.within(MAX_ENTRY_BYTES)
            end.send(messages.Logged(line.level, line.concern, line.event, line.fields))

    log.hand_over(tell)
    received = end.wait(_ORDER_LIMIT_S)
    if received is None or not isinstance(received[0], messages.Prepare):
        return 1
    try:
        spec = StreamSpec.model_validate(received[0].spec)
        StreamProgram(end, spec, end.arguments.sender, *received[1]).run()
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
