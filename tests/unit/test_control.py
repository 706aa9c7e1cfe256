"""Host and client control state machines against each other in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from punktfunk.native import control, messages
from punktfunk.native.client_control import ClientControl, ClientState
from punktfunk.native.control import MS, Output, S
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Cipher, Codecs, FecCode, Hello, Start, Welcome, WireMode
from punktfunk.native.host_control import HostControl, HostState
from punktfunk.units import Mode

MODE = WireMode(1280, 720, 60)
WELCOME = Welcome(mode=MODE, udp_port=50000, key=bytes(range(16)))
HOST_OFFSET = 1_700_000_000 * S
T = TypeVar("T", bound=Output)


class Pair:
    """Two state machines joined by a symmetric link with a delay; time moves only in ``run``."""

    def __init__(
        self,
        dialect: Dialect = Dialect.PKF1,
        *,
        hello: Hello | None = None,
        refusal: CloseCode | None = None,
        delay_ns: int = 10 * MS,
        skew_ns: int = 0,
    ) -> None:
        self.now = 1000 * S
        self.delay_ns = delay_ns
        self.host = HostControl(
            dialect, now_ns=self.now, realtime_offset_ns=HOST_OFFSET + skew_ns, refusal=refusal
        )
        self.client = ClientControl(
            dialect, hello or Hello(mode=MODE), now_ns=self.now, realtime_offset_ns=HOST_OFFSET
        )
        self.wire: list[tuple[int, bool, bytes]] = []
        self.host_events: list[tuple[int, Output]] = []
        self.client_events: list[tuple[int, Output]] = []
        self.welcome: Welcome | None = WELCOME
        self.start_port: int | None = 40000
        self.to_client: Callable[[bytes], bytes | None] = lambda data: data

    def _drain(self) -> None:
        while (output := self.client.poll()) is not None:
            if isinstance(output, control.Transmit):
                self.wire.append((self.now + self.delay_ns, True, output.data))
            else:
                self.client_events.append((self.now, output))
                if isinstance(output, control.WelcomeReceived) and self.start_port is not None:
                    self.client.start(self.start_port, self.now)
        while (output := self.host.poll()) is not None:
            if isinstance(output, control.Transmit):
                data = self.to_client(output.data)
                if data is not None:
                    self.wire.append((self.now + self.delay_ns, False, data))
            else:
                self.host_events.append((self.now, output))
                if isinstance(output, control.HelloReceived) and self.welcome is not None:
                    self.host.accept(self.welcome)

    def run(self, duration_ns: int) -> None:
        end = self.now + duration_ns
        while True:
            for _ in range(3):
                self._drain()
            times = [at for at, _, _ in self.wire]
            times += [at for at in (self.host.next_timeout(), self.client.next_timeout()) if at is not None]
            at = min(times, default=end + 1)
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            due = [item for item in self.wire if item[0] <= self.now]
            self.wire = [item for item in self.wire if item[0] > self.now]
            for _, to_host, data in due:
                (self.host if to_host else self.client).receive(data, self.now)
            self.host.handle_timeout(self.now)
            self.client.handle_timeout(self.now)

    def host_event(self, kind: type[T]) -> list[tuple[int, T]]:
        return [(at - 1000 * S, event) for at, event in self.host_events if isinstance(event, kind)]

    def client_event(self, kind: type[T]) -> list[tuple[int, T]]:
        return [(at - 1000 * S, event) for at, event in self.client_events if isinstance(event, kind)]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_session_runs_from_hello_to_eight_clock_rounds(dialect: Dialect) -> None:
    pair = Pair(dialect, skew_ns=5 * MS)
    pair.run(1 * S)
    assert pair.host.state is HostState.STARTED
    assert pair.client.state is ClientState.RUNNING
    [(_, hello)] = pair.host_event(control.HelloReceived)
    assert hello.hello == Hello(mode=MODE)
    [(_, start)] = pair.host_event(control.StartReceived)
    assert start.start == Start(40000)
    [(at, over)] = pair.client_event(control.ClockRoundsOver)
    assert over.estimate == control.ClockEstimate(offset_ns=5 * MS, rtt_ns=20 * MS, rounds=8)
    assert at == 20 * MS + 8 * 20 * MS


def test_the_clock_offset_is_wrong_by_at_most_half_the_best_round_trip() -> None:
    pair = Pair(skew_ns=-3 * S)
    toward_host_only = [0]

    def slow_some(data: bytes) -> bytes:
        toward_host_only[0] += 1
        pair.delay_ns = 30 * MS if toward_host_only[0] % 3 else 4 * MS
        return data

    pair.to_client = slow_some
    pair.run(3 * S)
    [(_, over)] = pair.client_event(control.ClockRoundsOver)
    assert over.estimate is not None
    assert abs(over.estimate.offset_ns + 3 * S) <= over.estimate.error_ns


def test_video_begins_at_the_first_punch() -> None:
    pair = Pair()
    pair.run(250 * MS)
    assert pair.host_event(control.StreamDue) == []
    pair.host.punched(pair.now)
    pair.host.punched(pair.now)
    pair.run(5 * S)
    assert pair.host_event(control.StreamDue) == [(250 * MS, control.StreamDue(punched=True))]


def test_without_alpn_video_begins_150_ms_after_the_last_echo_when_no_punch_comes() -> None:
    pair = Pair(Dialect.PLAIN)
    pair.run(5 * S)
    last_probe_arrives = 30 * MS + 7 * 20 * MS
    assert pair.host_event(control.StreamDue) == [
        (last_probe_arrives + 150 * MS, control.StreamDue(punched=False))
    ]


def test_a_client_of_the_first_release_that_never_asks_the_time_gets_video_150_ms_after_start() -> None:
    host = HostControl(Dialect.PLAIN, now_ns=0, realtime_offset_ns=0)
    host.receive(frame(Hello(mode=MODE).encode()), 0)
    host.accept(WELCOME)
    host.receive(frame(Start(40000).encode()), 10 * MS)
    host.rtt_ns = 7 * MS
    assert host.next_timeout() == 10 * MS + 150 * MS + 7 * MS
    host.handle_timeout(167 * MS)
    outputs = [host.poll() for _ in range(5)]
    assert control.StreamDue(punched=False) in outputs


def test_a_pkf1_client_that_cannot_punch_gets_video_at_its_announced_port_after_2500_ms() -> None:
    pair = Pair(Dialect.PKF1)
    pair.run(10 * S)
    assert pair.host_event(control.StreamDue) == [(170 * MS + 2500 * MS, control.StreamDue(punched=False))]


def test_clock_rounds_end_after_two_seconds_without_an_echo() -> None:
    pair = Pair()
    pair.to_client = lambda data: None if data[2:7] == b"PKFc\x31" else data
    pair.run(10 * S)
    assert pair.client_event(control.ClockRoundsOver) == [(20 * MS + 2 * S, control.ClockRoundsOver(None))]
    assert pair.client.state is ClientState.RUNNING


def test_an_echo_of_another_probe_or_with_an_impossible_hold_time_does_not_move_the_clock() -> None:
    client = ClientControl(Dialect.PKF1, Hello(mode=MODE), now_ns=0, realtime_offset_ns=0)
    client.receive(frame(WELCOME.encode()), 0)
    client.start(1, 100)
    client.receive(frame(messages.ClockEcho(99, 5, 5).encode()), 200)
    assert client.counters["unexpected"] == 1
    client.receive(frame(messages.ClockEcho(100, 0, 10**15).encode()), 200)
    assert client.clock is None


def test_the_host_sends_nothing_between_the_clock_rounds() -> None:
    pair = Pair()
    seen: list[bytes] = []
    pair.to_client = lambda data: seen.append(data) or data  # type: ignore[func-returns-value]
    pair.run(100 * MS)
    pair.host.receive(frame(messages.Reconfigure(1281, 720, 60).encode()), pair.now)
    pair.host.bitrate_changed(9000, pair.now)
    pair.run(1 * S)
    kinds = ["welcome" if data[2:6] == b"PKF1" else data[6] for data in seen]
    assert kinds == ["welcome"] + [messages.ClockEcho.TYPE] * 8 + [messages.Reconfigured.TYPE]
    assert seen[-1][20:] == frame(messages.BitrateChanged(9000).encode())


def test_requests_during_the_clock_rounds_are_sent_after_them_in_order() -> None:
    pair = Pair()
    pair.run(60 * MS)
    assert pair.client.state is ClientState.CLOCK
    assert pair.client.request_mode(Mode(640, 480, 30))
    pair.client.request_bitrate(9000)
    pair.run(1 * S)
    events = [(at, event) for at, event in pair.host_events if at - 1000 * S >= 180 * MS]
    assert events[:2] == [
        (1000 * S + 190 * MS, control.ModeRequested(Mode(640, 480, 30))),
        (1000 * S + 190 * MS, control.BitrateRequested(9000)),
    ]


def test_a_reconfigure_is_always_answered_with_the_mode_in_force() -> None:
    pair = Pair()
    pair.run(1 * S)
    # A client of another make need not look at what it asks for.
    assert pair.client.request_mode(WireMode(1281, 720, 60))  # type: ignore[arg-type]
    assert not pair.client.request_mode(MODE.checked())
    pair.run(1 * S)
    assert pair.client_event(control.ModeAnswered)[0][1] == control.ModeAnswered(False, MODE.checked())
    absurd = messages.Reconfigure(1280, 720, 2**32 - 1)
    pair.host.receive(frame(absurd.encode()), pair.now)
    pair.run(1 * S)
    assert not pair.host_event(control.ModeRequested)
    wanted = Mode(1920, 1080, 144)
    assert pair.client.request_mode(wanted)
    pair.run(1 * S)
    assert pair.host_event(control.ModeRequested)[0][1].mode == wanted
    pair.host.mode_changed(True, wanted, pair.now)
    pair.run(1 * S)
    assert pair.client_event(control.ModeAnswered)[1][1] == control.ModeAnswered(True, wanted)


@pytest.mark.parametrize("answer", [(1, 1281, 720, 60), (1, 0, 0, 0), (0, 1280, 720, 1001), (1, 8194, 2, 1)])
def test_an_answer_that_names_no_mode_is_a_refusal_and_the_next_request_goes_out(
    answer: tuple[int, int, int, int],
) -> None:
    pair = Pair()
    pair.run(1 * S)
    assert pair.client.request_mode(Mode(640, 480, 30))
    pair.client.receive(frame(messages.Reconfigured(*answer).encode()), pair.now)
    assert pair.client.counters["malformed"] == 1
    pair.run(2 * S)
    assert [answered for _, answered in pair.client_event(control.ModeAnswered)] == [
        control.ModeAnswered(False, None)
    ]
    assert pair.client.request_mode(Mode(640, 480, 30))


def test_mode_changes_are_passed_on_at_a_rate_each_is_answered_and_the_last_one_is_made() -> None:
    pair = Pair()
    pair.run(1 * S)
    answers: list[messages.Reconfigured] = []

    def keep(data: bytes) -> bytes | None:
        message = messages.decode(data[2:])
        if isinstance(message, messages.Reconfigured):
            answers.append(message)
        return data

    pair.to_client = keep
    widths = range(640, 640 + 2 * 100, 2)
    begun = pair.now
    for width in widths:
        pair.host.receive(frame(messages.Reconfigure(width, 360, 60).encode()), pair.now)
        pair.run(20 * MS)
    pair.run(5 * S)
    made = [(at, event.mode.width) for at, event in pair.host_event(control.ModeRequested)]
    assert [width for _, width in made[: control.MODES_BURST]] == [640, 642, 644, 646]
    assert len(made) == control.MODES_BURST + 2
    assert made[-1][1] == widths[-1]
    assert made[-1][0] - begun <= 3 * S
    assert len(answers) == len(widths) - len(made), "those that were given up; the owner answers the others"
    assert not any(answer.accepted for answer in answers)
    assert pair.host.counters["rate_limited"] == len(answers)


def test_bitrates_are_passed_on_at_a_rate_and_the_last_one_is_never_lost() -> None:
    pair = Pair()
    pair.run(1 * S)
    for kbps in range(1000, 1100):
        pair.host.receive(frame(messages.SetBitrate(kbps).encode()), pair.now)
        pair.run(10 * MS)
    pair.run(1 * S)
    passed = [event.kbps for _, event in pair.host_event(control.BitrateRequested)]
    assert passed[: control.BITRATES_BURST] == list(range(1000, 1000 + control.BITRATES_BURST))
    assert passed[-1] == 1099
    assert len(passed) <= control.BITRATES_BURST + 1 * S // control.BITRATE_INTERVAL_NS + 1


def test_keyframe_requests_within_a_round_trip_are_coalesced_and_none_is_forgotten() -> None:
    pair = Pair(delay_ns=40 * MS)
    pair.run(50 * MS)
    pair.client.request_keyframe(pair.now)
    pair.run(2 * S)
    assert len(pair.host_event(control.KeyframeRequested)) == 1
    for _ in range(5):
        pair.client.request_keyframe(pair.now)
    pair.run(79 * MS)
    assert len(pair.host_event(control.KeyframeRequested)) == 2
    for _ in range(5):
        pair.client.request_keyframe(pair.now)
    pair.run(1 * S)
    assert len(pair.host_event(control.KeyframeRequested)) == 3
    assert pair.client.counters["keyframe_requests_coalesced"] == 4 + 4


def test_a_keyframe_request_during_the_clock_rounds_waits_for_their_end() -> None:
    pair = Pair()
    pair.run(60 * MS)
    assert pair.client.state is ClientState.CLOCK
    pair.client.request_keyframe(pair.now)
    pair.run(1 * S)
    assert [at for at, _ in pair.host_event(control.KeyframeRequested)] == [180 * MS + 10 * MS]


def test_loss_reports_go_only_to_hosts_that_know_them() -> None:
    for dialect, count in ((Dialect.PKF1, 1), (Dialect.PLAIN, 0)):
        pair = Pair(dialect)
        pair.run(1 * S)
        pair.client.report_loss(2_000_000)
        pair.run(1 * S)
        assert [event.loss_ppm for _, event in pair.host_event(control.LossReported)] == [1_000_000] * count


@pytest.mark.parametrize(
    ("hello", "refusal", "code"),
    [
        (Hello(mode=MODE, version=1), None, CloseCode.WIRE_VERSION),
        (Hello(mode=MODE, version=1), CloseCode.DENIED, CloseCode.WIRE_VERSION),
        (Hello(mode=WireMode(0, 0, 60)), CloseCode.NO_IDENTITY, CloseCode.NO_IDENTITY),
        (Hello(mode=WireMode(1281, 720, 60)), None, CloseCode.SETUP_FAILED),
        (Hello(mode=WireMode(8194, 720, 60)), None, CloseCode.SETUP_FAILED),
    ],
)
def test_the_host_checks_version_then_trust_then_dimensions(
    hello: Hello, refusal: CloseCode | None, code: CloseCode
) -> None:
    pair = Pair(hello=hello, refusal=refusal)
    pair.run(1 * S)
    [(_, close)] = pair.host_event(control.CloseConnection)
    assert close.code is code
    assert pair.host.state is HostState.CLOSED


def test_a_refresh_of_zero_and_wire_version_3_pass() -> None:
    pair = Pair(hello=Hello(mode=WireMode(1280, 720, 0), version=3))
    pair.run(1 * S)
    assert pair.host.state is HostState.STARTED


def test_a_hello_whose_name_is_no_utf_8_is_served_as_one_without_a_name_and_counted() -> None:
    head = Hello(mode=MODE, bitrate_kbps=7).encode()
    for texts, dropped in ((b"\x02\xff\xfe\x03abc", 1), (b"\x02\xff\xfe\x02\xc3\x28", 2), (b"\x02ok", 0)):
        host = HostControl(Dialect.PKF1, now_ns=0, realtime_offset_ns=0)
        host.receive(frame(head + texts), 0)
        output = host.poll()
        assert isinstance(output, control.HelloReceived)
        assert output.hello.name == ("ok" if texts == b"\x02ok" else None)
        assert host.counters.get("dropped_texts", 0) == dropped


def test_a_client_without_a_certificate_is_refused_and_is_not_pending() -> None:
    for refusal, pending in ((CloseCode.NO_IDENTITY, False), (CloseCode.DENIED, True)):
        host = HostControl(Dialect.PKF1, now_ns=0, realtime_offset_ns=0, refusal=refusal)
        host.receive(frame(Hello(mode=MODE).encode()), 0)
        outputs = list(iter(host.poll, None))
        assert any(isinstance(output, control.StrangerRefused) for output in outputs) is pending
        assert isinstance(outputs[-1], control.CloseConnection)
        assert outputs[-1].code is refusal


def test_close_codes_are_zero_without_alpn_except_for_an_error() -> None:
    assert Dialect.PLAIN.close_code(CloseCode.DENIED) == 0
    assert Dialect.PLAIN.close_code(CloseCode.ERROR) == 1
    assert Dialect.PKF1.close_code(CloseCode.DENIED) == 0x64


@pytest.mark.parametrize("first", [b"", b"PKF1", b"PKFc\x10", messages.ClockProbe(1).encode()])
def test_a_first_message_that_is_no_hello_is_refused(first: bytes) -> None:
    host = HostControl(Dialect.PKF1, now_ns=0, realtime_offset_ns=0)
    host.receive(frame(first), 0)
    close = host.poll()
    assert isinstance(close, control.CloseConnection)
    assert close.code is CloseCode.SETUP_FAILED
    host.receive(frame(Hello(mode=MODE).encode()), 1)
    assert host.poll() is None


def test_silent_clients_are_closed_after_ten_seconds_in_each_phase() -> None:
    host = HostControl(Dialect.PKF1, now_ns=0, realtime_offset_ns=0)
    assert host.next_timeout() == 10 * S
    host.receive(frame(Hello(mode=MODE).encode()), 9 * S)
    host.accept(WELCOME)
    assert host.next_timeout() == 19 * S
    host.handle_timeout(19 * S - 1)
    assert host.state is HostState.WAIT_START
    host.handle_timeout(19 * S)
    assert host.state is HostState.CLOSED
    assert host.next_timeout() is None


def test_unknown_and_malformed_typed_messages_are_counted_and_change_nothing() -> None:
    pair = Pair()
    pair.run(1 * S)
    for payload in (b"PKFc\x77hello", b"PKFc\x01short", b"PKF1oops", b"", messages.PairResult(1).encode()):
        pair.host.receive(frame(payload), pair.now)
        pair.client.receive(frame(payload), pair.now)
    for side in (pair.host, pair.client):
        assert (side.counters["unknown"], side.counters["malformed"], side.counters["unexpected"]) == (
            1,
            3,
            1,
        )
        assert side.poll() is None
    assert pair.host.state is HostState.STARTED


def test_a_peer_that_floods_is_heard_at_most_200_times_a_second() -> None:
    pair = Pair()
    pair.run(5 * S)
    probe = frame(messages.RequestKeyframe().encode())
    pair.host.receive(probe * 1000, pair.now)
    assert pair.host.counters["rate_limited"] == 600
    pair.host.receive(probe * 300, pair.now + 1 * S)
    assert pair.host.counters["rate_limited"] == 700


@pytest.mark.parametrize(
    "welcome",
    [
        Welcome(mode=MODE, udp_port=0, key=b"k" * 16),
        Welcome(mode=WireMode(0, 0, 60), udp_port=1, key=b"k" * 16),
        Welcome(mode=WireMode(1281, 720, 60), udp_port=1, key=b"k" * 16),
        Welcome(mode=WireMode(8194, 720, 60), udp_port=1, key=b"k" * 16),
        Welcome(mode=WireMode(1280, 2**32 - 1, 60), udp_port=1, key=b"k" * 16),
        Welcome(mode=WireMode(1280, 720, 0), udp_port=1, key=b"k" * 16),
        Welcome(mode=WireMode(1280, 720, 1001), udp_port=1, key=b"k" * 16),
        Welcome(mode=MODE, udp_port=1, key=bytes(16)),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, shard_bytes=1201),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, shard_bytes=0),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, shard_bytes=9154),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, max_block_shards=0),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, max_block_shards=65535),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, fec=FecCode.GF8),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, max_block_shards=1, shard_bytes=1000),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, cipher=Cipher.CHACHA20_POLY1305, cipher_key=bytes(32)),
        Welcome(mode=MODE, udp_port=1, key=b"k" * 16, codec=Codecs.PYROWAVE),
    ],
)
def test_a_welcome_that_cannot_be_received_ends_the_handshake_with_its_reason(welcome: Welcome) -> None:
    pair = Pair()
    pair.welcome = welcome
    pair.run(1 * S)
    assert pair.client.state is ClientState.CLOSED
    assert pair.client.error is not None
    assert pair.client.error.code == "PF410"
    assert pair.client_event(control.WelcomeReceived) == []


def test_a_host_that_never_answers_ends_the_client_after_ten_seconds() -> None:
    pair = Pair()
    pair.welcome = None
    pair.run(9_999 * MS)
    assert pair.client.error is None
    pair.run(1 * MS)
    assert pair.client.error is not None
    assert "no Welcome" in pair.client.error.cause


def test_adaptive_fec_never_outgrows_the_block_that_old_receivers_compute_from_welcome() -> None:
    assert control.fec_percent_within(50, 100, 20, 4096) == 50
    assert control.fec_percent_within(50, 3277, 20, 4096) == 50
    assert control.fec_percent_within(50, 3278, 20, 4096) == 20
    assert control.fec_percent_within(50, 100_000, 20, 4096) == 20
    assert control.fec_percent_within(10, 4096, 20, 4096) == 10
