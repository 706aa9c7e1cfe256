"""The client's side of the control stream as a state machine without I/O (punktfunk/1 section 2)."""

from __future__ import annotations

from enum import Enum, auto

from punktfunk.allowance import Allowance
from punktfunk.errors import HandshakeError, ProtocolError, UnitError
from punktfunk.native import messages
from punktfunk.native.control import (
    CLOCK_ROUND_LIMIT_NS,
    CLOCK_ROUNDS,
    HANDSHAKE_BUDGET_NS,
    MESSAGE_BURST,
    MESSAGE_INTERVAL_NS,
    MS,
    BitrateAnswered,
    ClockEstimate,
    ClockRoundsOver,
    CloseConnection,
    CursorShaped,
    ModeAnswered,
    Output,
    Outputs,
    ProbeAnswered,
    Transmit,
    WelcomeReceived,
    check_welcome,
)
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.framing import FrameReader, frame
from punktfunk.native.handshake import ClientCaps, Hello, HostCaps, Start, Welcome
from punktfunk.units import Mode

_KEYFRAME_INTERVAL_NS = 50 * MS
"""Least time between two key frame requests, or one round trip if that is longer."""


class ClientState(Enum):
    """Where the session stands."""

    WAIT_WELCOME = auto()
    WAIT_READY = auto()
    CLOCK = auto()
    RUNNING = auto()
    CLOSED = auto()


class ClientControl:
    """Run one session's control stream from the client's end.

    ``realtime_offset_ns`` is this process's CLOCK_REALTIME minus CLOCK_MONOTONIC, fixed at the start. A
    failure puts a ``CloseConnection`` out and stands in ``error``.
    """

    def __init__(self, dialect: Dialect, hello: Hello, *, now_ns: int, realtime_offset_ns: int) -> None:
        self.dialect = dialect
        self.state = ClientState.WAIT_WELCOME
        self.error: ProtocolError | None = None
        self.clock: ClockEstimate | None = None
        self._offset_ns = realtime_offset_ns
        self._reader = FrameReader()
        self._outputs = Outputs()
        self._budget = Allowance(MESSAGE_BURST, MESSAGE_INTERVAL_NS, now_ns)
        self._deadline_ns: int | None = now_ns + HANDSHAKE_BUDGET_NS
        self._probe_t1_ns = 0
        self._rounds = 0
        self._keyframe_due_ns: int | None = None
        self._keyframe_sent_ns: int | None = None
        self._mode_pending = False
        self._held: list[bytes] = []
        self._asks_for_cursor = bool((hello.client_caps or 0) & ClientCaps.CURSOR)
        self.draws_cursor = False
        """Whether both ends have agreed that the client draws the pointer (section 3.8)."""
        self._outputs.put(Transmit(frame(hello.encode())))

    @property
    def counters(self) -> dict[str, int]:
        """Return what was received, sent and dropped, by name."""
        return dict(self._outputs.counters)

    def poll(self) -> Output | None:
        """Return the next output, or ``None`` when there is none."""
        return self._outputs.poll()

    def next_timeout(self) -> int | None:
        """Return when ``handle_timeout`` wants to be called, CLOCK_MONOTONIC ns."""
        if self.state is ClientState.CLOSED:
            return None
        keyframe = self._keyframe_due_ns if self.state is ClientState.RUNNING else None
        return min((at for at in (self._deadline_ns, keyframe) if at is not None), default=None)

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due at ``now_ns``."""
        if self._deadline_ns is not None and now_ns >= self._deadline_ns:
            if self.state is ClientState.CLOCK:
                self._clock_over()
            elif self.state is ClientState.WAIT_WELCOME:
                self._fail(
                    HandshakeError("the host sent no Welcome within 10 s", "is it a punktfunk/1 host?")
                )
        self._request_due_keyframe(now_ns)

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes of the control stream. Nothing in them raises; what is wrong is counted or ends it."""
        for payload in self._reader.feed(data):
            self._outputs.counters["messages"] += 1
            if self.state is ClientState.CLOSED:
                return
            if self.state is ClientState.WAIT_WELCOME:
                self._welcome(payload)
            else:
                self._typed(payload, now_ns)

    def start(self, udp_port: int, now_ns: int) -> None:
        """Announce that the data socket is bound to ``udp_port`` and being read; then the clock rounds run."""
        if self.state is not ClientState.WAIT_READY:
            return
        self.state = ClientState.CLOCK
        self._outputs.put(Transmit(frame(Start(udp_port).encode())))
        self._probe(now_ns)

    def request_keyframe(self, now_ns: int) -> None:
        """Ask for a key frame; requests are coalesced to one in a round trip, and none is forgotten."""
        if self._keyframe_due_ns is None:
            gap = max(_KEYFRAME_INTERVAL_NS, self.clock.rtt_ns if self.clock else 0)
            last = self._keyframe_sent_ns
            self._keyframe_due_ns = now_ns if last is None else max(now_ns, last + gap)
        else:
            self._outputs.counters["keyframe_requests_coalesced"] += 1
        self._request_due_keyframe(now_ns)

    def report_loss(self, loss_ppm: int) -> None:
        """Send a loss report; hosts know it since the ``pkf1`` dialect."""
        if self.state is ClientState.RUNNING and self.dialect is Dialect.PKF1:
            self._send(messages.LossReport(min(max(loss_ppm, 0), 1_000_000)).encode(), "loss_reports")

    def request_mode(self, mode: Mode) -> bool:
        """Ask for another mode once the clock rounds are over; ``False`` when one request is unanswered yet."""
        if self._mode_pending or self.state is ClientState.CLOSED:
            return False
        self._mode_pending = True
        asked = messages.Reconfigure(mode.width, mode.height, mode.refresh_hz)
        self._send(asked.encode(), "mode_requests")
        return True

    def request_bitrate(self, kbps: int) -> None:
        """Ask for another bitrate; hosts before v0.9.0 ignore it."""
        self._send(messages.SetBitrate(kbps).encode(), "bitrate_requests")

    def request_probe(self, target_kbps: int, duration_ms: int) -> None:
        """Ask for a bandwidth probe (v0.1.0); hosts of the first release ignore it."""
        self._send(messages.ProbeRequest(target_kbps, duration_ms).encode(), "probe_requests")

    def finish(self, code: CloseCode = CloseCode.DONE, reason: str = "done") -> None:
        """End the session from this side."""
        if self.state is not ClientState.CLOSED:
            self.state = ClientState.CLOSED
            self._outputs.put(CloseConnection(code, reason))

    def _welcome(self, payload: bytes) -> None:
        try:
            welcome = Welcome.decode(payload)
            check_welcome(welcome)
        except ProtocolError as error:
            self._outputs.counters["malformed"] += 1
            self._fail(HandshakeError(error.cause, "the host and this client do not fit together"))
            return
        self.state = ClientState.WAIT_READY
        self._deadline_ns = None
        self.draws_cursor = self._asks_for_cursor and bool((welcome.host_caps or 0) & HostCaps.CURSOR)
        self._outputs.put(WelcomeReceived(welcome))

    def _typed(self, payload: bytes, now_ns: int) -> None:
        if not self._budget.try_take(now_ns):
            self._outputs.counters["rate_limited"] += 1
            return
        try:
            message = messages.decode(payload)
        except ProtocolError:
            self._outputs.counters["malformed"] += 1
            return
        match message:
            case messages.ClockEcho():
                self._echo(message, now_ns)
            case messages.Reconfigured() if self._mode_pending:
                self._mode_pending = False
                self._mode_answered(message)
            case messages.BitrateChanged(kbps):
                self._outputs.put(BitrateAnswered(kbps))
            case messages.ProbeResult():
                self._outputs.put(ProbeAnswered(message))
            case messages.CursorShape() if self.draws_cursor:
                self._outputs.put(CursorShaped(message))
            case messages.Unknown():
                self._outputs.counters["unknown"] += 1
            case _:
                self._outputs.counters["unexpected"] += 1

    def _mode_answered(self, answer: messages.Reconfigured) -> None:
        try:
            mode = answer.mode.checked()
        except UnitError:
            self._outputs.counters["malformed"] += 1
            # An answer all the same: whoever asked must not wait for another.
            self._outputs.put(ModeAnswered(False, None))
        else:
            self._outputs.put(ModeAnswered(answer.accepted != 0, mode))

    def _probe(self, now_ns: int) -> None:
        self._probe_t1_ns = now_ns + self._offset_ns
        self._deadline_ns = now_ns + CLOCK_ROUND_LIMIT_NS
        self._outputs.put(Transmit(frame(messages.ClockProbe(self._probe_t1_ns).encode())))

    def _echo(self, echo: messages.ClockEcho, now_ns: int) -> None:
        if self.state is not ClientState.CLOCK or echo.t1_ns != self._probe_t1_ns:
            self._outputs.counters["unexpected"] += 1
            return
        t4 = now_ns + self._offset_ns
        self._rounds += 1
        rtt = (t4 - echo.t1_ns) - (echo.t3_ns - echo.t2_ns)
        # A host cannot hold a probe longer than the round took: such an echo is hostile or broken.
        if 0 <= rtt <= t4 - echo.t1_ns and (self.clock is None or rtt < self.clock.rtt_ns):
            offset = ((echo.t2_ns - echo.t1_ns) + (echo.t3_ns - t4)) // 2
            self.clock = ClockEstimate(offset, rtt, self._rounds)
        if self._rounds >= CLOCK_ROUNDS:
            self._clock_over()
        else:
            self._probe(now_ns)
        self._request_due_keyframe(now_ns)

    def _clock_over(self) -> None:
        self.state = ClientState.RUNNING
        self._deadline_ns = None
        if self.clock is not None:
            self.clock = ClockEstimate(self.clock.offset_ns, self.clock.rtt_ns, self._rounds)
        self._outputs.put(ClockRoundsOver(self.clock))
        self._release_held()

    def _request_due_keyframe(self, now_ns: int) -> None:
        if self.state is not ClientState.RUNNING or self._keyframe_due_ns is None:
            return
        if now_ns >= self._keyframe_due_ns:
            self._keyframe_due_ns = None
            self._keyframe_sent_ns = now_ns
            self._send(messages.RequestKeyframe().encode(), "keyframe_requests")

    def _send(self, payload: bytes, counter: str) -> None:
        self._outputs.counters[counter] += 1
        self._held.append(frame(payload))
        self._release_held()

    def _release_held(self) -> None:
        """Send what was asked for meanwhile; between the clock rounds the host is to hear of nothing else."""
        if self._held and self.state is ClientState.RUNNING:
            self._outputs.put(Transmit(b"".join(self._held)))
            self._held.clear()

    def _fail(self, error: ProtocolError) -> None:
        self.error = error
        self.state = ClientState.CLOSED
        self._outputs.put(CloseConnection(CloseCode.ERROR, "protocol error", error.cause))
