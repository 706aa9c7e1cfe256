"""The host's side of the control stream as a state machine without I/O (punktfunk/1 sections 2.3 and 2.6)."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeVar

from punktfunk.allowance import Allowance, Latest
from punktfunk.errors import ProtocolError, UnitError
from punktfunk.native import messages
from punktfunk.native.control import (
    BITRATE_INTERVAL_NS,
    BITRATES_BURST,
    CLOCK_ROUNDS,
    CURSOR_MODE_INTERVAL_NS,
    CURSOR_MODES_BURST,
    FIRST_FRAME_WAIT_NS,
    HANDSHAKE_BUDGET_NS,
    KEEP_QUIET_NS,
    MAX_PROBE_KBPS,
    MAX_PROBE_MS,
    MESSAGE_BURST,
    MESSAGE_INTERVAL_NS,
    MODE_INTERVAL_NS,
    MODES_BURST,
    PAIRED_CLOSE_WAIT_NS,
    PROOF_WAIT_NS,
    PUNCH_WAIT_NS,
    BitrateRequested,
    CloseConnection,
    CursorDrawnBy,
    HelloReceived,
    KeyframeRequested,
    LossReported,
    ModeRequested,
    Output,
    Outputs,
    PairingProven,
    PairingRequested,
    ProbeRequested,
    StartReceived,
    StrangerRefused,
    StreamDue,
    Transmit,
    clamp_bitrate_kbps,
)
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.framing import FrameReader, frame
from punktfunk.native.handshake import ACCEPTED_VERSIONS, Hello, HostCaps, Start, Welcome, WireMode
from punktfunk.units import Mode

T = TypeVar("T")


class HostState(Enum):
    """Where a connection stands."""

    WAIT_HELLO = auto()
    WAIT_ANSWER = auto()
    WAIT_START = auto()
    STARTED = auto()
    WAIT_CHALLENGE = auto()
    WAIT_PROOF = auto()
    WAIT_VERDICT = auto()
    PAIRING_OVER = auto()
    CLOSED = auto()


class HostControl:
    """Serve one client's control stream.

    ``refusal`` is the verdict of the trust check on the client's certificate, ``None`` to let it in; it is
    told to the client only after its Hello, in the order that the reference host checks.
    ``realtime_offset_ns`` is the pts clock minus CLOCK_MONOTONIC, fixed for the session, so that clock echoes
    speak of the pts clock.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        now_ns: int,
        realtime_offset_ns: int,
        refusal: CloseCode | None = None,
    ) -> None:
        self.dialect = dialect
        self.state = HostState.WAIT_HELLO
        self.rtt_ns = 0
        """Smoothed round trip of the connection; the shell keeps it up to date."""
        self._refusal = refusal
        self._offset_ns = realtime_offset_ns
        self._reader = FrameReader()
        self._outputs = Outputs()
        self._budget = Allowance(MESSAGE_BURST, MESSAGE_INTERVAL_NS, now_ns)
        self._modes: Latest[Mode] = Latest(Allowance(MODES_BURST, MODE_INTERVAL_NS, now_ns))
        self._bitrates: Latest[int] = Latest(Allowance(BITRATES_BURST, BITRATE_INTERVAL_NS, now_ns))
        self._cursor_modes: Latest[bool] = Latest(
            Allowance(CURSOR_MODES_BURST, CURSOR_MODE_INTERVAL_NS, now_ns)
        )
        self._deadline_ns: int | None = now_ns + HANDSHAKE_BUDGET_NS
        self._echoes = 0
        self._last_echo_ns = 0
        self._started_ns = 0
        self._stream_due = False
        self._punched = False
        self._mode: WireMode | None = None
        self._tells_cursor = False
        self._held: list[bytes] = []

    @property
    def counters(self) -> dict[str, int]:
        """Return what was received and dropped, by name."""
        return dict(self._outputs.counters)

    def poll(self) -> Output | None:
        """Return the next output, or ``None`` when there is none."""
        return self._outputs.poll()

    def next_timeout(self) -> int | None:
        """Return when ``handle_timeout`` wants to be called, CLOCK_MONOTONIC ns."""
        if self.state is HostState.CLOSED:
            return None
        times = [
            self._deadline_ns,
            self._stream_due_ns(),
            self._quiet_until_ns() if self._held else None,
            self._modes.due_ns(),
            self._bitrates.due_ns(),
            self._cursor_modes.due_ns(),
        ]
        return min((at for at in times if at is not None), default=None)

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due at ``now_ns``."""
        if self.state is HostState.CLOSED:
            return
        if self._deadline_ns is not None and now_ns >= self._deadline_ns:
            self._too_late()
            return
        due = self._stream_due_ns()
        if due is not None and now_ns >= due:
            self._begin_stream(punched=False)
        self._release_held(now_ns)
        self._release_requests(now_ns)

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes of the control stream. Nothing in them raises; what is wrong is counted or refused."""
        for payload in self._reader.feed(data):
            match self.state:
                case HostState.CLOSED:
                    return
                case HostState.STARTED:
                    self._typed(payload, now_ns)
                case _:
                    self._handshake(payload, now_ns)
            self._outputs.counters["messages"] += 1

    def accept(self, welcome: Welcome) -> None:
        """Answer a Hello with Welcome. The data port must be bound already."""
        if self.state is not HostState.WAIT_ANSWER:
            return
        self._mode = welcome.mode
        self._tells_cursor = bool((welcome.host_caps or 0) & HostCaps.CURSOR)
        self.state = HostState.WAIT_START
        self._outputs.put(Transmit(frame(welcome.encode())))

    def reject(self, code: CloseCode, cause: str, *, told: str = "") -> None:
        """Refuse the client; before v0.12.0 it only sees the connection close.

        Later ones are told the code's own words or ``told``; ``cause`` is for this end's log.
        """
        self._refuse(code, cause, told)

    def challenge(self, challenge: messages.PairChallenge, now_ns: int) -> None:
        """Answer a PairRequest; the proof has to follow within 60 s."""
        if self.state is HostState.WAIT_CHALLENGE:
            self.state = HostState.WAIT_PROOF
            self._deadline_ns = now_ns + PROOF_WAIT_NS
            self._outputs.put(Transmit(frame(challenge.encode())))

    def pairing_over(self, result: messages.PairResult, now_ns: int) -> None:
        """Send the outcome; the client closes the connection, or this end does after 5 s."""
        if self.state is HostState.WAIT_VERDICT:
            self.state = HostState.PAIRING_OVER
            self._deadline_ns = now_ns + PAIRED_CLOSE_WAIT_NS
            self._outputs.put(Transmit(frame(result.encode()), end=True))

    def finish(self, code: CloseCode = CloseCode.DONE, reason: str = "done") -> None:
        """End the session in order (or with ``ERROR`` when the data plane failed)."""
        if self.state is not HostState.CLOSED:
            self.state = HostState.CLOSED
            self._outputs.put(CloseConnection(code, reason))

    def punched(self, now_ns: int) -> None:
        """Note that the client's data socket has sent a punch; the first one begins the stream."""
        self._punched = True
        if self.state is HostState.STARTED and not self._stream_due:
            self._begin_stream(punched=True)
            self._release_held(now_ns)

    def mode_changed(self, accepted: bool, mode: Mode, now_ns: int) -> None:
        """Answer a Reconfigure; when it was refused the client is told the mode that is still active."""
        if accepted or self._mode is None:
            self._mode = WireMode.of(mode)
        self._send(messages.Reconfigured.of(accepted, self._mode).encode(), now_ns)

    def bitrate_changed(self, kbps: int, now_ns: int) -> None:
        """Send the bitrate that now applies."""
        self._send(messages.BitrateChanged(kbps).encode(), now_ns)

    def probe_over(self, result: messages.ProbeResult, now_ns: int) -> None:
        """Send the client what its bandwidth probe sent."""
        self._send(result.encode(), now_ns)

    def cursor_shaped(self, message: messages.CursorShape, now_ns: int) -> None:
        """Send the client the bitmap of a pointer that it draws itself."""
        if self._tells_cursor:
            self._send(message.encode(), now_ns)

    def _handshake(self, payload: bytes, now_ns: int) -> None:
        try:
            if self.state is HostState.WAIT_HELLO:
                self._hello(payload, now_ns)
            elif self.state is HostState.WAIT_PROOF:
                self._proof(payload, now_ns)
            elif self.state is HostState.WAIT_START:
                self._start(payload, now_ns)
            else:
                self._outputs.counters["unexpected"] += 1
        except ProtocolError as error:
            self._outputs.counters["malformed"] += 1
            self._refuse(CloseCode.SETUP_FAILED, error.cause)

    def _hello(self, payload: bytes, now_ns: int) -> None:
        asked = messages.decode(payload) if messages.is_typed(payload) else None
        if isinstance(asked, messages.PairRequest):
            self.state = HostState.WAIT_CHALLENGE
            self._deadline_ns = now_ns + HANDSHAKE_BUDGET_NS
            self._outputs.put(PairingRequested(asked))
            return
        hello = Hello.decode(payload)
        if hello.dropped_texts:
            self._outputs.counters["dropped_texts"] += hello.dropped_texts
        if hello.version not in ACCEPTED_VERSIONS:
            self._refuse(CloseCode.WIRE_VERSION, f"client speaks wire version {hello.version}")
        elif self._refusal is not None:
            if self._refusal is CloseCode.DENIED:
                self._outputs.put(StrangerRefused(hello))
            self._refuse(self._refusal, self._refusal.sentence)
        elif not hello.mode.dimensions_allowed:
            self._refuse(CloseCode.SETUP_FAILED, f"mode {hello.mode} is not even and within 2..8192")
        else:
            self._deadline_ns = now_ns + HANDSHAKE_BUDGET_NS
            self.state = HostState.WAIT_ANSWER
            self._outputs.put(HelloReceived(hello))

    def _proof(self, payload: bytes, now_ns: int) -> None:
        proof = messages.decode(payload)
        if not isinstance(proof, messages.PairProof):
            raise ProtocolError("a pairing's second message is its proof")
        self.state = HostState.WAIT_VERDICT
        self._deadline_ns = now_ns + HANDSHAKE_BUDGET_NS
        self._outputs.put(PairingProven(proof))

    def _start(self, payload: bytes, now_ns: int) -> None:
        start = Start.decode(payload)
        self.state = HostState.STARTED
        self._deadline_ns = None
        self._started_ns = now_ns
        self._outputs.put(StartReceived(start))
        if self._punched:
            self._begin_stream(punched=True)

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
            case messages.ClockProbe(t1_ns):
                self._echo(t1_ns, now_ns)
            case messages.Reconfigure():
                self._reconfigure(message.mode, now_ns)
            case messages.RequestKeyframe():
                self._outputs.put(KeyframeRequested())
            case messages.LossReport(loss_ppm):
                self._outputs.put(LossReported(min(loss_ppm, 1_000_000)))
            case messages.SetBitrate(kbps):
                self._ask(self._bitrates, clamp_bitrate_kbps(kbps), now_ns)
            case messages.ProbeRequest(kbps, duration_ms):
                self._outputs.put(ProbeRequested(min(kbps, MAX_PROBE_KBPS), min(duration_ms, MAX_PROBE_MS)))
            case messages.CursorRenderMode(client_draws) if self._tells_cursor:
                self._ask(self._cursor_modes, client_draws != 0, now_ns)
            case messages.Unknown():
                self._outputs.counters["unknown"] += 1
            case _:
                self._outputs.counters["unexpected"] += 1

    def _echo(self, t1_ns: int, now_ns: int) -> None:
        wall = now_ns + self._offset_ns
        self._outputs.put(Transmit(frame(messages.ClockEcho(t1_ns, wall, wall).encode())))
        self._echoes += 1
        self._last_echo_ns = now_ns
        self._release_held(now_ns)

    def _reconfigure(self, asked: WireMode, now_ns: int) -> None:
        try:
            mode = asked.checked()
        except UnitError:
            self._send(messages.Reconfigured.of(False, self._mode or asked).encode(), now_ns)
            return
        replaced = self._modes.ask(mode)
        if replaced is not None:
            self._outputs.counters["rate_limited"] += 1
            self.mode_changed(False, replaced, now_ns)
        self._release_requests(now_ns)

    def _ask(self, requests: Latest[T], request: T, now_ns: int) -> None:
        """Pass a request on, at once or in its turn; count one that it replaces."""
        if requests.ask(request) is not None:
            self._outputs.counters["rate_limited"] += 1
        self._release_requests(now_ns)

    def _release_requests(self, now_ns: int) -> None:
        """Pass on what costs the stream much, at its rate; the newest request of a kind is never lost."""
        if (mode := self._modes.take(now_ns)) is not None:
            self._outputs.put(ModeRequested(mode))
        if (kbps := self._bitrates.take(now_ns)) is not None:
            self._outputs.put(BitrateRequested(kbps))
        if (client_draws := self._cursor_modes.take(now_ns)) is not None:
            self._outputs.put(CursorDrawnBy(client_draws))

    def _send(self, payload: bytes, now_ns: int) -> None:
        """Send a message, but not between the client's clock rounds, where it would end them (section 2.4)."""
        if self.state is not HostState.STARTED:
            return
        self._held.append(frame(payload))
        self._release_held(now_ns)

    def _release_held(self, now_ns: int) -> None:
        if self._held and now_ns >= self._quiet_until_ns():
            self._outputs.put(Transmit(b"".join(self._held)))
            self._held.clear()

    def _quiet_until_ns(self) -> int:
        if self._echoes == 0:
            # A client of the first release never asks; one that does sends its first probe along with Start.
            return self._started_ns + FIRST_FRAME_WAIT_NS + self.rtt_ns
        return self._last_echo_ns + (0 if self._echoes >= CLOCK_ROUNDS else KEEP_QUIET_NS)

    def _stream_due_ns(self) -> int | None:
        if self.state is not HostState.STARTED or self._stream_due:
            return None
        if self.dialect.punches:
            return max(self._started_ns, self._last_echo_ns) + PUNCH_WAIT_NS
        since = self._started_ns if self._echoes == 0 else self._quiet_until_ns()
        return since + FIRST_FRAME_WAIT_NS + self.rtt_ns

    def _begin_stream(self, *, punched: bool) -> None:
        self._stream_due = True
        self._outputs.put(StreamDue(punched))

    def _too_late(self) -> None:
        match self.state:
            case HostState.PAIRING_OVER:
                self.finish(CloseCode.DONE, "pairing done")
            case HostState.WAIT_PROOF:
                self._refuse(CloseCode.SETUP_FAILED, "no proof within 60 s of the pairing's challenge")
            case HostState.WAIT_HELLO:
                self._refuse(CloseCode.SETUP_FAILED, "no Hello within 10 s")
            case HostState.WAIT_CHALLENGE | HostState.WAIT_VERDICT:
                self._refuse(CloseCode.SETUP_FAILED, "the pairing was not answered within 10 s")
            case _:
                self._refuse(CloseCode.SETUP_FAILED, "no Start within 10 s")

    def _refuse(self, code: CloseCode, cause: str, told: str = "") -> None:
        if self.state is not HostState.CLOSED:
            self.state = HostState.CLOSED
            reason = "" if self.dialect is Dialect.PLAIN else told or code.sentence
            self._outputs.put(CloseConnection(code, reason, cause))
