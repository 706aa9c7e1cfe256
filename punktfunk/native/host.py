"""One client's session at the host: QUIC link, control state machine, data socket, stream worker.

The data socket is bound before Welcome names its port, hears the punch, is connected to the client and goes to the
worker, while the session keeps an end of it to follow a client that moves (punktfunk/1 sections 2.6, 4.1 and 4.8).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from punktfunk import log
from punktfunk.addresses import SocketAddress, host_of, socket_address, source_of, written
from punktfunk.allowance import Allowance
from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.cursor import CursorUpdate
from punktfunk.ending import EndReason
from punktfunk.errors import PairingError, PairingRefusedError, PunktfunkError, RejectedError
from punktfunk.input import PadFeedback
from punktfunk.log_limit import LineWriter, StrangerLog
from punktfunk.native import control
from punktfunk.native.cursor_channel import CursorChannel
from punktfunk.native.data_port import DataPort
from punktfunk.native.datagrams import (
    Audio,
    Feedback,
    FromClient,
    FromHost,
    Ignored,
    decode_from_client,
    encode,
)
from punktfunk.native.dialect import CloseCode
from punktfunk.native.handshake import Hello, HostCaps, Start, Welcome
from punktfunk.native.host_control import HostControl
from punktfunk.native.messages import (
    CursorShape,
    PairChallenge,
    PairProof,
    PairRequest,
    PairResult,
    ProbeResult,
)
from punktfunk.native.quic import Closed, Link, Peer
from punktfunk.native.refusals import Advice, RefusalWatch
from punktfunk.native.stream_worker import StreamWorker
from punktfunk.units import Mode

END_PAUSE_S = 1.0
"""Between the last frame and the close, so that late packets arrive before the news (section 7.2)."""
DATAGRAM_RATE_PER_S = 8000
DATAGRAM_BURST = 4000
"""Datagrams of input and audio that one client may send: a mouse at 1 kHz, pads, touch and sound stay far below."""
_SEQUENCE = 0xFFFF_FFFF
_TOLD_CHARACTERS = 200
"""Of a reason that goes into one packet, whatever characters it has: what is known of an app that may not be launched.
"""
_LAST_LOOK_S = 0.05
"""Between the verdict on a silent client and its end: what it sent may lie unread in the listener's socket."""


_END_CODES = {
    EndReason.HOST_STOPPED: CloseCode.DONE,
    EndReason.ENDED_AT_HOST: CloseCode.DONE,
    EndReason.UNPAIRED: CloseCode.DENIED,
    EndReason.SUPERSEDED: CloseCode.SUPERSEDED,
    EndReason.APP_ENDED: CloseCode.APP_EXITED,
}


class PairingAttempt(Protocol):
    """One ceremony between its challenge and its proof."""

    def finish(self, proof: PairProof) -> PairResult:
        """Judge the proof and store the client."""


class Admission(Protocol):
    """Who is let in, and how a client becomes one of them."""

    def known(self, fingerprint: str | None) -> bool:
        """Return whether a certificate is let in, wherever its owner comes from."""

    def refusal(self, peer: Peer) -> CloseCode | None:
        """Return why a peer is not let in, ``None`` when it is."""

    def request_pairing(self, peer: Peer, name: str) -> None:
        """Take a refused client's connection as its pairing request: somebody may approve it."""

    async def begin_pairing(self, peer: Peer, request: PairRequest) -> tuple[PairingAttempt, PairChallenge]:
        """Answer a PairRequest: return the attempt that this begins, and the challenge.

        Raises ``PairingRefusedError`` with a close code, or another ``PairingError``.
        """


class SessionOwner(Protocol):
    """The host around its sessions."""

    @property
    def admission(self) -> Admission:
        """Who is let in."""

    @property
    def stranger_log(self) -> StrangerLog:
        """Where to write what clients cause that are not known."""

    def reserve_stream(self, session: HostSession, hello: Hello, udp_port: int) -> Welcome:
        """Answer a Hello; raise ``RejectedError`` (with a close code) or another error to refuse."""

    def start_stream(self, session: HostSession) -> StreamWorker:
        """Give a client that was welcomed and starts its stream; raise as :meth:`reserve_stream` to refuse."""

    def received(self, session: HostSession, datagram: FromClient) -> None:
        """Take what a client sent beside its control stream."""

    def session_over(self, session: HostSession, reason: str) -> None:
        """Take note of the end; called exactly once for each session that got a stream or not."""


class HostSession:
    """Drive one connection from its first datagram to its end; a handler for its link."""

    def __init__(self, owner: SessionOwner, clock: SessionClock) -> None:
        self.clock = clock
        self.peer: Peer | None = None
        self.local_address = ""
        self.worker: StreamWorker | None = None
        self.log: LineWriter = owner.stranger_log.of("")
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._control: HostControl | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._data: DataPort | None = None
        self._start: Start | None = None
        self.quit_by_client = False
        """Whether its client has ended it for good (section 2.5): the app that it streamed is to end, too."""
        self._end_reason = ""
        self._over = False
        self.dropped_datagrams: Counter[str] = Counter()
        """Input, audio and feedback datagrams that were not taken, by reason."""
        self._datagram_budget = Allowance(DATAGRAM_BURST, control.S // DATAGRAM_RATE_PER_S, monotonic_ns())
        self._refusals = RefusalWatch()
        self._cursor: CursorChannel | None = None
        """Of a client that draws the pointer."""
        self._pairing: asyncio.Task[None] | None = None
        self._attempt: PairingAttempt | None = None

    @property
    def counters(self) -> dict[str, int]:
        """Control messages received and dropped, by name, and what was told of the pointer."""
        told = {} if self._cursor is None else self._cursor.counters
        return {**self._control.counters, **told} if self._control else {}

    @property
    def ending(self) -> bool:
        """True once the session ends and it is known why."""
        return self._over or bool(self._end_reason)

    def link_made(self, link: Link, local_address: str) -> None:
        """Take the link that this session handles."""
        self._link, self.local_address = link, local_address

    def link_established(self, peer: Peer) -> None:
        """Begin to wait for Hello."""
        self.peer = peer
        known = self._owner.admission.known(peer.fingerprint)
        source = source_of(peer.address[0])
        writer = log.get("host") if known else self._owner.stranger_log.of(source)
        self.log = writer.bind(peer=written(*peer.address))
        self.log.info("client connected", dialect=peer.dialect.value, fingerprint=peer.fingerprint)
        self._control = HostControl(
            peer.dialect,
            now_ns=monotonic_ns(),
            realtime_offset_ns=self.clock.offset_ns,
            refusal=self._owner.admission.refusal(peer),
        )
        if self._link is not None and self._owner.admission.known(peer.fingerprint):
            self._link.admit(peer.fingerprint)
        self._drain()

    def stream_received(self, data: bytes) -> None:
        """Take control bytes."""
        if self._control is not None and self._link is not None:
            self._control.rtt_ns = self._link.rtt_ns
            self._control.receive(data, monotonic_ns())
            self._drain()

    def stream_ended(self) -> None:
        """Go on: only the end of the connection ends a session (section 4.8)."""

    def datagram_received(self, data: bytes) -> None:
        """Take one datagram of input, audio or feedback: of a client that has a stream, known, and within the rate."""
        if self.worker is None or self.ending:
            self.dropped_datagrams["dropped_early"] += 1
        elif not self._datagram_budget.try_take(monotonic_ns()):
            self.dropped_datagrams["dropped_rate"] += 1
        else:
            datagram = decode_from_client(data)
            if isinstance(datagram, Ignored):
                self.dropped_datagrams[f"dropped_{datagram.reason}"] += 1
            else:
                self._owner.received(self, datagram)

    def send_sound(self, number: int, encoded_ns: int, opus: bytes) -> None:
        """Send a packet of sound (section 3.2)."""
        self.send(Audio(number & _SEQUENCE, self.clock.to_wire(encoded_ns), opus))

    def send_feedback(self, feedback: PadFeedback) -> None:
        """Send rumble or HID output (sections 3.3 and 3.6); this wire has no message for anything else."""
        if isinstance(feedback, Feedback):
            self.send(feedback)

    def send_cursor(self, update: CursorUpdate) -> None:
        """Send a client that draws the pointer what is new of it (section 3.8)."""
        if self._cursor is not None and not self.ending:
            self._cursor.tell(update)

    def _send_shape(self, shape: CursorShape) -> None:
        if self._control is not None:
            self._control.cursor_shaped(shape, monotonic_ns())
            self._drain()

    def send(self, datagram: FromHost) -> None:
        """Send one datagram; raise ``ValueError`` for what does not fit the wire."""
        if self._link is not None:
            self._link.send_datagram(encode(datagram))

    def link_closed(self, closed: Closed) -> None:
        """End everything that belongs to the session."""
        if self._over:
            return
        self._over = True
        self.quit_by_client = closed.by_peer and closed.application and closed.code == CloseCode.CLIENT_QUIT
        if self._timer is not None:
            self._timer.cancel()
        if self._pairing is not None:
            self._pairing.cancel()
        if self._cursor is not None:
            self._cursor.close()
        if self._data is not None:
            self._data.close()
        if self.worker is not None:
            self.worker.stop()
        reason = self._end_reason or (
            f"client left: {closed.sentence}" if closed.by_peer else closed.sentence
        )
        self.log.info("session over", reason=reason, **self.counters)
        self._owner.session_over(self, reason)

    def stream_finished(self, reason: str) -> None:
        """Close in order once the worker has sent its last frame."""
        self._end_reason = self._end_reason or reason
        self._loop.call_later(END_PAUSE_S, self.close, CloseCode.DONE, "done")

    def stream_failed(self, reason: str) -> None:
        """Close with the data plane's error code."""
        self._end_reason = self._end_reason or reason
        self.close(CloseCode.ERROR, "error")

    def end(self, reason: EndReason) -> None:
        """End the session at once, its stream before its connection."""
        match reason:
            case EndReason.NOT_STARTED:
                # It has no stream yet: the cause is for the log, the client is told the code's words.
                if self._control is not None:
                    self._control.reject(CloseCode.SETUP_FAILED, reason.value)
                    self._drain()
            case EndReason.HOST_STOPPED:
                self.close(_END_CODES[reason], reason.value)
            case _:
                self._revoke(_END_CODES[reason], reason.value)

    def _revoke(self, code: CloseCode, reason: str) -> None:
        self._end_reason = self._end_reason or reason
        if self.worker is not None:
            self.worker.stop()
        self.close(code, reason)

    def data_refused(self, count: int, first_ns: int, last_ns: int) -> None:
        """Take note that the client's data port refused what was sent; end the session of a client that is gone."""
        if self._link is None or self.ending:
            return
        link = self._link
        match self._refusals.refused(
            count,
            first_ns,
            last_ns,
            heard_ns=link.heard_ns,
            rtt_ns=link.rtt_ns,
            now_ns=monotonic_ns(),
        ):
            case Advice.ASK:
                link.ask()
            case Advice.GIVE_UP:
                self._loop.call_later(_LAST_LOOK_S, self._give_up, link)

    def _give_up(self, link: Link) -> None:
        watch = self._refusals
        if self.ending or not watch.silent_since(link.heard_ns):
            return
        reason = (
            f"client gone: its data port refused {watch.count} times in {watch.span_ns // control.MS} ms "
            "and its control connection was silent"
        )
        self.log.warning("client gone", refusals=watch.count, span_ms=watch.span_ns // control.MS)
        self._end_reason = reason
        self._revoke(CloseCode.ERROR, "data port refused")
        # Nobody is there to drain for; a client that lives after all has been sent the close.
        link.abandon(reason)

    def mode_outcome(self, accepted: bool, mode: Mode) -> None:
        """Send the client the outcome of its mode request."""
        if self._control is not None:
            self._control.mode_changed(accepted, mode, monotonic_ns())
            self._drain()

    def probe_over(
        self, goodput_bytes: int, access_units: int, duration_ms: int, packets_sent: int, send_drops: int
    ) -> None:
        """Send the client what its bandwidth probe sent."""
        if self._control is not None:
            result = ProbeResult(goodput_bytes, access_units, duration_ms, packets_sent, send_drops)
            self._control.probe_over(result, monotonic_ns())
            self._drain()

    def close(self, code: CloseCode, reason: str) -> None:
        """End the session from the host's side."""
        if self._control is None:
            if self._link is not None:
                self._link.close(int(CloseCode.DONE), "")
            return
        self._end_reason = self._end_reason or reason
        self._control.finish(code, reason)
        self._drain()

    def _drain(self) -> None:
        assert self._control is not None
        while (output := self._control.poll()) is not None:
            self._act(output)
        if self._timer is not None:
            self._timer.cancel()
        due = self._control.next_timeout()
        self._timer = None if due is None or self._over else self._loop.call_at(due / control.S, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._control is not None and self._link is not None:
            self._control.rtt_ns = self._link.rtt_ns
            self._control.handle_timeout(monotonic_ns())
            self._drain()

    def _act(self, output: control.Output) -> None:
        assert self._link is not None
        assert self.peer is not None
        match output:
            case control.Transmit(data, end):
                self._link.send_stream(data, end=end)
            case control.CloseConnection(code, reason, cause):
                if cause:
                    self._end_reason = self._end_reason or f"refused: {cause}"
                    self.log.warning("client refused", cause=cause, code=code.name)
                self._link.close(self.peer.dialect.close_code(code), reason)
            case control.HelloReceived(hello):
                self._reserve_stream(hello)
            case control.StartReceived(start):
                self._start_stream(start)
            case control.StreamDue(punched):
                self._begin_stream(punched)
            case control.StrangerRefused() | control.PairingRequested() | control.PairingProven():
                self._admit(self.peer, output)
            case _:
                self._steer(self._link, output)

    def _admit(
        self, peer: Peer, output: control.StrangerRefused | control.PairingRequested | control.PairingProven
    ) -> None:
        match output:
            case control.StrangerRefused(hello):
                self._owner.admission.request_pairing(peer, hello.name or "")
            case control.PairingRequested(request):
                self._pairing = self._loop.create_task(self._pair(peer, request))
            case control.PairingProven(proof):
                self._judge(proof)

    def _steer(self, link: Link, output: control.Output) -> None:
        """Pass a request on to the stream."""
        match output:
            case control.BitrateRequested(kbps) if self.worker is not None and self._control is not None:
                self._control.bitrate_changed(self.worker.set_bitrate(kbps), monotonic_ns())
            case control.ModeRequested(mode) if self.worker is not None:
                self.worker.set_mode(mode)
            case control.KeyframeRequested() if self.worker is not None:
                self.worker.request_keyframe(link.rtt_ns)
            case control.LossReported(loss_ppm) if self.worker is not None:
                self.worker.report_loss(loss_ppm)
            case control.CursorDrawnBy(client) if self.worker is not None:
                self.worker.separate_cursor(client)
            case control.ProbeRequested(target_kbps, duration_ms) if self.worker is not None:
                self.worker.probe(target_kbps, duration_ms)
            case _:
                pass

    async def _pair(self, peer: Peer, request: PairRequest) -> None:
        """Answer a PairRequest; the computation is another thread's, the state machine stays with this one."""
        assert self._control is not None
        self.log.info("client asks for pairing")
        try:
            self._attempt, challenge = await self._owner.admission.begin_pairing(peer, request)
        except PairingError as error:
            code = error.close_code if isinstance(error, PairingRefusedError) else CloseCode.DENIED
            self._control.reject(CloseCode(code), error.cause)
        else:
            if self._link is not None:
                self._link.admit()  # a PIN has one attempt, and whoever has it may take a minute
            self._control.challenge(challenge, monotonic_ns())
        self._drain()

    def _judge(self, proof: PairProof) -> None:
        assert self._control is not None
        assert self._attempt is not None, "a proof follows a challenge"
        result = self._attempt.finish(proof)
        self._end_reason = "paired" if result.ok else "pairing failed"
        self._control.pairing_over(result, monotonic_ns())

    def _reserve_stream(self, hello: Hello) -> None:
        assert self._control is not None
        assert self.peer is not None
        self.log.info("client asks for a stream", mode=str(hello.mode), name=hello.name)
        try:
            self._data = DataPort(
                self.local_address,
                self.peer.address[0],
                monotonic_ns,
                on_punch=self._punched,
                on_move=self._data_moved,
                on_refused=self._data_refused_here,
            )
            welcome = self._owner.reserve_stream(self, hello, self._data.port)
        except PunktfunkError as error:
            self._reject(error)
        except OSError as error:
            self._control.reject(CloseCode.SETUP_FAILED, f"no data port: {error.strerror}")
        else:
            self._control.accept(welcome)
            if self._link is not None and (welcome.host_caps or 0) & HostCaps.CURSOR:
                self._cursor = CursorChannel(self._link, self._send_shape, self.send)

    def _start_stream(self, start: Start) -> None:
        self._start = start
        try:
            self.worker = self._owner.start_stream(self)
        except PunktfunkError as error:
            self._reject(error)
        else:
            if self._link is not None:
                self._link.admit()  # streams are limited by the owner

    def _reject(self, error: PunktfunkError) -> None:
        assert self._control is not None
        code = error.close_code if isinstance(error, RejectedError) else None
        told = error.cause[:_TOLD_CHARACTERS] if code == CloseCode.LAUNCH_NOT_PERMITTED else ""
        self._control.reject(CloseCode(code or CloseCode.SETUP_FAILED), error.cause, told=told)

    def _punched(self) -> None:
        if self._control is not None:
            self._control.punched(monotonic_ns())
            self._drain()

    def _data_moved(self, target: SocketAddress) -> None:
        self.log.info("the client's data port has moved", target=written(host_of(target), target[1]))
        if self.worker is not None:
            self.worker.request_keyframe(self._link.rtt_ns if self._link is not None else 0)

    def _data_refused_here(self) -> None:
        now_ns = monotonic_ns()
        self.data_refused(1, now_ns, now_ns)

    def _begin_stream(self, punched: bool) -> None:
        assert self.peer is not None
        if self._data is None or self.worker is None or self._start is None:
            return
        try:
            announced = socket_address(self.peer.address[0], self._start.udp_port)
            target = self._data.punched_from or announced
            data_socket = self._data.connect(target, follow=self.peer.dialect.punches)
        except OSError as error:
            self.stream_failed(f"the client's data port cannot be reached: {error.strerror}")
            return
        self.log.info("stream begins", target=written(host_of(target), target[1]), punched=punched)
        self.worker.begin(data_socket)
