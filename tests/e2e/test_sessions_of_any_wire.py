"""The owner of all sessions knows no wire: a toy without handshake or codes streams, is shown and is ended."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from punktfunk import log
from punktfunk.clock import SessionClock
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.desktop.pads import OnRumble
from punktfunk.ending import EndReason
from punktfunk.errors import CapabilityError, CapacityFullError, PunktfunkError
from punktfunk.host.client_session import StreamRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.native.sender import SENDER
from punktfunk.host.peripherals.gamepads import GamepadRouter
from punktfunk.host.sessions import Sessions
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.host.stream.spec import RecordOptions, StreamLimits, StreamSpec
from punktfunk.input import PadFeedback, PadReport
from punktfunk.media import EncoderConfig, SyntheticSpec
from punktfunk.printable import device_name
from punktfunk.units import Bitrate, Mode
from tests.support.pads import FakePad
from tests.support.stream_spec import SPEC
from tests.support.waiting import soon

MODE = Mode(640, 360, 60)
TELLING = "tests.support.telling_sender:TellingSender"
HELD = "tests.support.telling_sender:HeldSender"
TV, PHONE = "aa" * 32, "bb" * 32


@dataclass(frozen=True)
class Somebody:
    address: tuple[str, int]
    fingerprint: str | None


@dataclass(eq=False)
class Toy:
    """A session whose client is a socket of this test; its wire ends it as soon as it is asked to."""

    owner: Sessions
    peer: Somebody
    clock: SessionClock = field(default_factory=SessionClock.start)
    log: Any = field(default_factory=lambda: log.get("toy"))
    dropped_datagrams: Counter[str] = field(default_factory=Counter)
    why: list[EndReason] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    modes: list[tuple[bool, Mode]] = field(default_factory=list)
    probes: list[tuple[int, ...]] = field(default_factory=list)
    sender: str = SENDER
    name: str = "television"
    probe_kbps: int = 0
    transport: dict[str, Any] = field(default_factory=dict)
    undescribed: PunktfunkError | None = None
    """Raised when its stream is to be described to the worker."""
    worker: WorkerStream | None = None
    tells_loss: bool = True
    over: bool = False

    @property
    def ending(self) -> bool:
        return self.over or bool(self.why or self.said)

    def end(self, reason: EndReason) -> None:
        self.why.append(reason)
        self.close(reason.value)

    def close(self, words: str) -> None:
        if self.worker is not None:
            self.worker.stop()
        if not self.over:
            self.over = True
            asyncio.get_running_loop().call_soon(self.owner.over, self, words)

    def stream_finished(self, reason: str) -> None:
        self.said.append(reason)
        self.close(reason)

    def stream_failed(self, reason: str) -> None:
        self.said.append(reason)
        self.close(reason)

    def data_refused(self, count: int, first_ns: int, last_ns: int) -> None: ...

    def mode_outcome(self, accepted: bool, mode: Mode) -> None:
        self.modes.append((accepted, mode))

    def probe_over(self, *sent: int) -> None:
        self.probes.append(sent)

    def send_sound(self, number: int, encoded_ns: int, opus: bytes) -> None: ...

    def send_feedback(self, feedback: PadFeedback) -> None: ...

    def start(self, frames: int | None = None) -> socket.socket:
        """Begin to stream; return the client's end."""
        self.worker = self.owner.start(self, request(self, frames))
        host, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end in (host, client):
            end.bind(("127.0.0.1", 0))
        client.setblocking(False)
        host.connect(client.getsockname())
        self.worker.begin(host)
        host.close()
        return client


def request(toy: Toy, frames: int | None) -> StreamRequest:
    """Ask for a stream of synthetic frames in packets of the core."""

    def spec(records: RecordOptions | None, screen: ScreenSpec | None) -> StreamSpec:
        assert screen is None
        if toy.undescribed is not None:
            raise toy.undescribed
        return SPEC.model_copy(
            update={
                "source": SyntheticSpec(frame_bytes=2000),
                "encoder": EncoderConfig(encoder="x264", mode=MODE, bitrate=Bitrate(2_000_000)),
                "rate_kbps": 2000,
                "limits": StreamLimits(frames=frames, probe_kbps=toy.probe_kbps),
                "clock": toy.clock,
                "transport": SPEC.transport.model_copy(update={"sender": toy.sender, **toy.transport}),
                "records": records,
            }
        )

    return StreamRequest(
        name=toy.name,
        mode=MODE,
        source="synthetic",
        bitrate_kbps=2000,
        max_kbps=5000,
        fec_scheme="gf16",
        fec_percent=20,
        fec_floor=None,
        record_frames=False,
        spec=spec,
        tells_loss=toy.tells_loss,
    )


async def packet(client: socket.socket) -> bytes:
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(client, 2048)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 120))


def owner(max_sessions: int = 1) -> Sessions:
    sessions = Sessions(desktop=None, input_sink=None, artefacts=lambda: None)
    sessions.open(max_sessions, [SENDER, TELLING, HELD])
    return sessions


def test_a_client_of_any_wire_streams_changes_its_mode_and_is_ended_by_its_number() -> None:
    async def scenario() -> None:
        sessions = owner()
        told: list[str] = []
        sessions.on_change = lambda report: told.append(report.state)
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), TV))
        sessions.reserve(toy)
        with toy.start() as client:
            assert await packet(client)
            [report] = sessions.live()
            assert (report.number, report.name, report.source, report.mode) == (
                1,
                "television",
                "synthetic",
                MODE,
            )
            assert report.peer is toy.peer
            assert not report.adaptive_fec
            assert toy.worker is not None
            toy.worker.set_mode(Mode(320, 180, 30))
            await soon(lambda: toy.modes == [(True, Mode(320, 180, 30))], "the other mode")
            assert report.mode == Mode(320, 180, 30)
            toy.worker.probe(1000, 100)
            await soon(lambda: toy.probes == [(0, 0, 0, 0, 0)], "the refusal of a probe")
            assert not sessions.end_number(2)
            assert sessions.end_number(1)
            assert toy.why == [EndReason.ENDED_AT_HOST]
            await sessions.ended(1)
        assert (report.state, report.reason, report.stream_reason, report.failed) == (
            "ended", "ended at the host", "stopped", False,
        )  # fmt: skip
        assert told[0] == "starting"
        assert told[-1] == "ended"
        assert not sessions.live()
        assert sessions.history.ended() == [report]
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_stream_that_is_through_tells_its_session_and_frees_its_place() -> None:
    async def scenario() -> None:
        sessions = owner()
        first = Toy(sessions, Somebody(("192.0.2.1", 5), None))
        sessions.reserve(first)
        with first.start(frames=20) as client:
            await packet(client)
            await sessions.ended(1)
        assert first.said == ["stream ended: frames"]
        [report] = sessions.history.ended()
        assert (report.stream_reason, report.failed) == ("frames", False)
        assert report.counters["frames_submitted"] == 20
        second = Toy(sessions, Somebody(("192.0.2.2", 5), None))
        sessions.reserve(second)
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_client_that_comes_again_takes_its_place_over_and_another_one_finds_none() -> None:
    async def scenario() -> None:
        sessions = owner()
        first = Toy(sessions, Somebody(("192.0.2.1", 5), TV))
        sessions.reserve(first)
        with first.start() as client:
            await packet(client)
            other = Toy(sessions, Somebody(("192.0.2.2", 5), PHONE))
            with pytest.raises(CapacityFullError):
                sessions.reserve(other)
            again = Toy(sessions, Somebody(("192.0.2.9", 5), TV))
            sessions.reserve(again)
            with again.start() as next_client:
                assert await packet(next_client)
                assert first.why == [EndReason.SUPERSEDED]
                await sessions.ended(1)
                assert [report.number for report in sessions.live()] == [2]
                sessions.end(again, EndReason.UNPAIRED)
                await sessions.ended(2)
        assert [report.reason for report in sessions.history.ended()] == ["superseded", "unpaired"]
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_host_that_stops_lets_no_worker_start_and_leaves_none() -> None:
    async def scenario() -> None:
        sessions = owner()
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), None))
        sessions.reserve(toy)
        sessions.start_no_more()
        with toy.start():
            toy.end(EndReason.HOST_STOPPED)
            await sessions.stop()
        [report] = sessions.history.ended()
        assert (report.worker_pid, report.reason, report.failed) == (0, "host stopped", False)

    run(scenario())


def test_what_a_client_calls_itself_is_made_fit_to_be_shown_for_every_wire() -> None:
    async def scenario() -> None:
        sessions = owner(3)
        for name in ("\x1b[2Jliving\u202e  room\r\n", "tv" * 100, ""):
            toy = Toy(sessions, Somebody(("192.0.2.1", 5), None), name=name)
            sessions.reserve(toy)
            with toy.start():
                assert sessions.live()[-1].name == device_name(name)
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_stream_that_cannot_be_described_fails_and_its_worker_counts_once() -> None:
    async def scenario() -> None:
        sessions = owner()
        toy = Toy(
            sessions, Somebody(("192.0.2.1", 5), None), undescribed=CapabilityError("the GPU has no AV1")
        )
        sessions.reserve(toy)
        with toy.start():
            await sessions.ended(1)
        assert toy.said == ["stream failed: the GPU has no AV1"]
        [report] = sessions.history.ended()
        assert (report.failed, report.stream_reason) == (True, "the GPU has no AV1")
        assert report.worker_pid
        assert sessions.capacity._capacity.workers_alive == 0
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_what_was_asked_for_before_a_stream_began_is_asked_of_its_sender() -> None:
    async def scenario() -> None:
        sessions = owner()
        for number, asked in enumerate((False, True), 1):
            toy = Toy(sessions, Somebody((f"192.0.2.{number}", 5), None), sender=TELLING)
            sessions.reserve(toy)
            with toy.start(frames=3):
                assert toy.worker is not None
                if asked:
                    assert toy.worker.set_bitrate(9000) == 5000, "as far as its wire goes"
                    toy.worker.change_fec(35, None)
                await sessions.ended(number)
        unasked, asked_of = (report.counters for report in sessions.history.ended())
        assert (unasked["rates_asked"], unasked["last_fec_asked"], unasked["rate_kbps"]) == (0, 20, 2000)
        assert (asked_of["last_rate_asked"], asked_of["last_fec_asked"], asked_of["rate_kbps"]) == (
            5000,
            35,
            5000,
        )
        for counters in (unasked, asked_of):
            assert (counters["frames_sent"], counters["closed"], counters["descriptor_is_open"]) == (3, 1, 0)
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_what_an_operator_changes_takes_hold_of_streams_and_nothing_else_does() -> None:
    async def scenario() -> None:
        sessions = owner()
        former = HostConfig(bitrate=Bitrate(3_000_000))
        for number, changes in enumerate(
            ({"adaptive_fec": True, "fec_percent": 35}, {"bitrate": Bitrate(4_000_000)}), 1
        ):
            toy = Toy(sessions, Somebody((f"192.0.2.{number}", 5), None), sender=TELLING)
            sessions.reserve(toy)
            with toy.start(frames=3):
                sessions.reconfigure(former, former.changed(**changes))
                assert sessions.live()[0].adaptive_fec is ("adaptive_fec" in changes)
                await sessions.ended(number)
        protected, rated = (report.counters for report in sessions.history.ended())
        assert (protected["rates_asked"], protected["last_fec_asked"]) == (0, 35)
        assert (rated["last_rate_asked"], rated["last_fec_asked"]) == (4000, 20)
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_fec_follows_the_loss_of_no_client_that_says_nothing_of_it_whatever_an_operator_changes() -> None:
    async def scenario() -> None:
        sessions = owner(2)
        toys = [Toy(sessions, Somebody((f"192.0.2.{i}", 5), None), tells_loss=i == 1) for i in (1, 2)]
        for toy in toys:
            sessions.reserve(toy)
        sessions.start_no_more()
        for toy in toys:
            toy.start().close()
        former = HostConfig(adaptive_fec=True, bitrate=Bitrate(3_000_000))
        sessions.reconfigure(former, former.changed(bitrate=Bitrate(4_000_000)))
        assert [report.adaptive_fec for report in sessions.live()] == [True, False]
        sessions.reconfigure(former, former.changed(adaptive_fec=False))
        assert not any(report.adaptive_fec for report in sessions.live())
        for toy in toys:
            toy.end(EndReason.HOST_STOPPED)
        await sessions.stop()

    run(scenario())


def test_a_stream_whose_client_wishes_no_pads_kept_begins_without_those_it_has_left() -> None:
    async def scenario() -> None:
        sessions = owner()
        made: list[FakePad] = []

        def make(number: int, on_rumble: OnRumble) -> FakePad:
            made.append(FakePad(number, on_rumble))
            return made[-1]

        pads = GamepadRouter(make, lambda _: None, lambda _: None)
        pads.inject(PadReport(0, 0, (0, 0, 0, 0, 0, 0)))
        await soon(lambda: made and made[0].reports, "a pad")
        sessions.peripherals.kept_pads.keep(TV, None, pads)
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), TV))
        sessions.reserve(toy)
        assert not made[0].closed
        sessions.start_no_more()
        toy.start().close()
        assert made[0].closed
        toy.end(EndReason.HOST_STOPPED)
        await sessions.stop()

    run(scenario())


def test_a_stream_has_its_own_rate_again_after_a_probe_by_any_sender() -> None:
    async def scenario() -> None:
        sessions = owner()
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), None), sender=TELLING, probe_kbps=8000)
        sessions.reserve(toy)
        with toy.start(frames=60):
            assert toy.worker is not None
            toy.worker.probe(1_000_000, 100)
            await sessions.ended(1)
        [(goodput_bytes, access_units, duration_ms, packets, drops)] = toy.probes
        assert goodput_bytes == packets * 1000 > 0
        assert duration_ms >= 100
        assert drops == 0
        [report] = sessions.history.ended()
        assert report.counters["filled"] == access_units
        assert (report.counters["rates_asked"], report.counters["last_rate_asked"]) == (2, 2000)
        assert report.counters["probe_bytes"] == goodput_bytes
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_stream_whose_description_is_too_long_for_a_worker_says_so_at_once() -> None:
    async def scenario() -> None:
        sessions = owner()
        values = {"values": {"long": "x" * 200_000}}
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), None), transport=values)
        sessions.reserve(toy)
        with toy.start():
            await sessions.ended(1)
        [report] = sessions.history.ended()
        assert report.failed
        assert "bytes" in report.stream_reason
        assert toy.said == [f"stream failed: {report.stream_reason}"]
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_stream_leaves_by_no_sender_but_those_that_the_host_began_with() -> None:
    async def scenario() -> None:
        sessions = owner()
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), None), sender="os:system")
        sessions.reserve(toy)
        with toy.start():
            await sessions.ended(1)
        [report] = sessions.history.ended()
        assert (report.failed, report.stream_reason) == (
            True, "the sender 'os:system' is none that this worker was started with",
        )  # fmt: skip
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())


def test_a_worker_that_is_held_in_a_library_says_so_and_ends_its_session() -> None:
    async def scenario() -> None:
        sessions = owner()
        toy = Toy(sessions, Somebody(("192.0.2.1", 5), None), sender=HELD)
        sessions.reserve(toy)
        with toy.start():
            await sessions.ended(1)
        [report] = sessions.history.ended()
        assert report.failed
        assert (report.stream_reason or "").startswith(
            "the stream stood still for 20 s in a picture of synthetic"
        )
        sessions.start_no_more()
        await sessions.stop()

    run(scenario())
