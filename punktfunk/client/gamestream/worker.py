"""The receive worker of GameStream: core → decoder → frame marker, and sound, in a process of its own.

Run by the client only.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any, Final

from punktfunk import log
from punktfunk.client.ending import End, Hearing, silence_ns
from punktfunk.client.gamestream import messages
from punktfunk.client.gamestream.sound import GameSound
from punktfunk.client.key_frames import patience_s
from punktfunk.client.messages import Drain, Failed, NeedKeyframe, Ready, Up
from punktfunk.client.reception import Keeping, Over, Reception
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.core._core import ClientStream, GameStreamAudioReceiver, GameStreamConfig
from punktfunk.errors import PunktfunkError, SessionClosedError
from punktfunk.gamestream.ping import INTERVAL_S, Ping
from punktfunk.process.worker_end import WorkerEnd, leave

SOUND_FILE: Final = "sound.wav"
"""What was heard, in the folder of the artefacts."""
MAX_SOUND_BYTES: Final = 1500
"""Of a packet of sound; gamestream section 9.1 has 1400 for the most."""

_MS, _S = 1_000_000, 1_000_000_000
_ORDER_LIMIT_S = 30.0
_POLL_S = 0.01
_MOST_SOUND = 256
"""Packets of sound that are taken between two frames: a second's worth, so that a flood of them stops no picture."""
_LONGEST_GAP = 200
"""Packets, one or two seconds: what is missing beyond is not filled with silence."""
_DRAIN_NS = 150 * _MS
"""After the control connection is over, quiet for this long means that nothing more is on the way."""
_DRAIN_LIMIT_NS = 1000 * _MS


class _Pinger:
    """Sends a ping of one stream every half second, from the socket at which the host shall find this client."""

    def __init__(self, end: socket.socket, payload: str) -> None:
        self._end, self._payload = end, payload.encode("ascii", "replace")
        self._due_ns: int | None = None
        self.sent = 0

    def begin(self) -> None:
        self._due_ns = 0

    def tend(self, now_ns: int) -> None:
        if self._due_ns is None or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + int(INTERVAL_S * _S)
        self.sent += 1
        # A host that is not there yet, or no more, answers with ICMP; the control connection tells that too.
        with contextlib.suppress(OSError):
            self._end.send(Ping(self._payload, self.sent).encode())


class GameReceiveProgram:
    """One stream from its first packet to its artefacts."""

    def __init__(self, end: WorkerEnd, order: messages.Receive, video: int, sound: int) -> None:
        self._end = end
        self._order = order
        self._clock = SessionClock.start()
        self._reception = Reception(
            Keeping(
                codec=order.codec if order.decode else None,
                read_marker=order.read_marker,
                reference=order.reference,
                reference_every=order.reference_every,
                artefacts=order.artefacts,
                record_frames=order.record_frames,
                out=order.out,
            )
        )
        self._video_end = socket.socket(fileno=video)
        self._sound_end = socket.socket(fileno=sound)
        self._sound_end.setblocking(False)
        key = bytes.fromhex(order.key)
        self._stream = self._open_stream(key)
        self._packets = GameStreamAudioReceiver(key if order.encrypted_sound else None, order.key_id)
        self._sound = self._open_sound()
        self._video_pings = _Pinger(self._video_end, order.video_ping)
        self._sound_pings = _Pinger(self._sound_end, order.sound_ping)
        self._counts = dict.fromkeys(messages.COUNTERS, 0)
        self._draining: tuple[End, str, int] | None = None
        self._began_ns = self._last_frame_ns = monotonic_ns()
        self._round_trip_ns: int | None = None

    def run(self) -> None:
        """Receive until over or told to stop, then leave the artefacts."""
        self._end.send(Ready(self._stream.stats().get("receive_buffer_granted", -1)))
        self._sound_pings.begin()
        end, reason = self._loop()
        over_ns = monotonic_ns()
        # Closing finalises the accounting of the frames that were still waited for, and lets those in turn out.
        self._stream.close()
        with contextlib.suppress(SessionClosedError):
            while (frame := self._stream.next_frame(0.0)) is not None:
                self._reception.take(frame)
        self._play(self._packets.settle())
        if self._sound is not None:
            self._sound.close()
        over = Over(end, reason, self._hearing(over_ns), self._clock.offset_ns)
        self._end.send(self._reception.finish(self._stream, over, self._counters(), self._statistics()))

    def _loop(self) -> tuple[End, str]:
        progress_due = monotonic_ns() + _S
        while not self._end.stopping.is_set():
            frame = self._stream.next_frame(_POLL_S)
            now = monotonic_ns()
            if frame is not None:
                self._last_frame_ns = now
                self._reception.take(frame)
            self._hear()
            self._recover()
            self._report_blocks()
            for pinger in (self._video_pings, self._sound_pings):
                pinger.tend(now)
            while (received := self._end.poll()) is not None:
                self._obey(received[0], now)
            if now >= progress_due:
                progress_due += _S
                self._end.send(self._reception.progress(self._stream, self._counters()))
            if self._draining is not None:
                end, reason, since = self._draining
                quiet = frame is None and now - max(self._last_frame_ns, since) >= _DRAIN_NS
                # Who leaves by itself does so between two frames: one that is still coming in is not a lost one.
                between = end is End.STOPPED and frame is not None
                if quiet or between or now - since >= _DRAIN_LIMIT_NS:
                    return end, reason
        return End.STOPPED, "stopped"

    def _hear(self) -> None:
        for _ in range(_MOST_SOUND):
            try:
                datagram = self._sound_end.recv(MAX_SOUND_BYTES + 1)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._play(self._packets.receive(datagram))

    def _play(self, packets: list[tuple[int, int, bool, bytes]]) -> None:
        if self._sound is None:
            return
        for _, lost, _, opus in packets:
            for _ in range(min(lost, _LONGEST_GAP)):
                self._sound.take(None)
            self._sound.take(opus)

    def _recover(self) -> None:
        if (
            self._order.recovery
            and self._draining is None
            and self._stream.take_recovery_request(patience_s(self._round_trip_ns))
        ):
            self._counts["recovery_requests"] += 1
            self._end.send(NeedKeyframe())

    def _report_blocks(self) -> None:
        blocks = self._stream.take_block_reports()
        if blocks:
            self._counts["blocks_reported"] += len(blocks)
            self._end.send(messages.BlocksDamaged([list(block) for block in blocks]))

    def _obey(self, message: messages.Order, now: int) -> None:
        match message:
            case messages.PingVideo():
                self._video_pings.begin()
            case messages.RoundTrip(nanoseconds):
                self._round_trip_ns = nanoseconds
            case Drain(reason, end) if self._draining is None:
                self._draining = End(end), reason, now
            case _:
                pass

    def _hearing(self, over_ns: int) -> Hearing:
        last = self._stream.last_packet_ns()
        silent = max(0, over_ns - (self._began_ns if last is None else last))
        return Hearing(last, silent, silence_ns(self._order.mode.refresh_hz))

    def _counters(self) -> dict[str, int]:
        self._counts["pings_sent"] = self._video_pings.sent + self._sound_pings.sent
        heard = {} if self._sound is None else self._sound.counters
        return {**self._counts, **self._packets.stats(), **heard}

    def _statistics(self) -> dict[str, Any]:
        order = self._order
        return {
            "clock": {"offset_ns": self._clock.offset_ns, "error_ns": self._clock.error_ns},
            "sound_peaks": None if self._sound is None else self._sound.peaks,
            "stream": {
                "mode": str(order.mode.resolution),
                "codec": order.codec,
                "packet_bytes": order.packet_bytes,
                "encrypted": order.encrypted_video,
                "encrypted_sound": order.encrypted_sound,
                "sound_channels": order.sound.channels,
                "sound_packet_ms": order.sound.packet_ms,
            },
        }

    def _open_stream(self, key: bytes) -> ClientStream:
        order = self._order
        config = GameStreamConfig(
            packet_size=order.packet_bytes,
            codec=order.codec,
            key=key if order.encrypted_video else None,
            hold_undecodable=order.hold_undecodable,
        )
        return ClientStream(
            config,
            self._video_end.fileno(),
            queue_frames=order.queue_frames,
            receive_buffer_bytes=order.receive_buffer_bytes,
            record_frames=order.record_frames and order.artefacts is not None,
            report_blocks=True,
        )

    def _open_sound(self) -> GameSound | None:
        order = self._order
        if not order.decode:
            return None
        kept = None
        if order.artefacts is not None and order.record_frames:
            kept = Path(order.artefacts) / SOUND_FILE
        return GameSound(order.sound, kept)


def main() -> int:
    """Run the worker; 0 when the stream ended, 1 when it failed (the client has been told why)."""
    end = WorkerEnd(messages.VOCABULARY)
    end.send(Up())
    received = end.wait(_ORDER_LIMIT_S)
    if received is None or not isinstance(received[0], messages.Receive):
        return 1
    order, descriptors = received
    try:
        GameReceiveProgram(end, order, *descriptors).run()
    except PunktfunkError as error:
        end.send(Failed(error.code, error.cause, error.hint))
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort of the process
        # A defect: the client hears of it, and the traceback stands in the log that it shares with its worker.
        log.get("client.gamestream.worker").exception("worker broke")
        what = f"the receive worker broke: {type(error).__name__}: {error}"
        end.send(Failed(PunktfunkError.code, what, "the log has a traceback: please report it"))
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
