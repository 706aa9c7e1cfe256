"""A session of GameStream without its network: what it waits for, what it answers, and when it is over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from punktfunk.ending import EndReason
from punktfunk.gamestream.announce import Announced
from punktfunk.gamestream.control import GRACEFUL, FecStatus
from punktfunk.gamestream.describe import CodecModes, Description
from punktfunk.gamestream.launch import LaunchRequest, ModeHint, Surround
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.rtsp import Headers, RtspRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.gamestream import agreement
from punktfunk.host.gamestream import session as session_module
from punktfunk.host.gamestream.agreement import stream_request
from punktfunk.host.gamestream.session import FAILED, GameStreamClient, GameStreamSession
from punktfunk.input import PadFeedback
from punktfunk.media import EncoderChoice, EncoderName
from tests.support.gamestream_announce import MODERN, payload
from tests.support.waiting import PATIENCE_S, soon

REQUEST = LaunchRequest(
    app_id=1, mode=ModeHint(1280, 720, 60), rikey=bytes(16), rikeyid=-2, host_audio=False,
    surround=Surround(2, 3), surround_params=None, gamepads=0, persist_gamepads=False, hdr=False,
    encrypted_rtsp=True, continuous_audio=False, may_change_mode=False,
)  # fmt: skip


@dataclass
class Worker:
    """A stream as its session sees it."""

    begun: list[socket.socket] = field(default_factory=list)
    key_frames: int = 0
    stopped: bool = False
    losses: list[int] = field(default_factory=list)

    def begin(self, data_socket: socket.socket) -> None:
        self.begun.append(data_socket.dup())

    def request_keyframe(self, _rtt_ns: int) -> None:
        self.key_frames += 1

    def report_loss(self, loss_ppm: int) -> None:
        self.losses.append(loss_ppm)

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Owner:
    worker: Worker = field(default_factory=Worker)
    terminated: list[int] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    told: list[PadFeedback] = field(default_factory=list)
    rate: float = 0.0

    def agree(self, _session: GameStreamSession, _announced: Announced) -> None: ...

    def start(self, _session: GameStreamSession, _announced: Announced) -> Worker:
        return self.worker

    def tell(self, _session: GameStreamSession, message: PadFeedback) -> None:
        self.told.append(message)

    def terminate(self, _session: GameStreamSession, code: int) -> None:
        self.terminated.append(code)

    def packets_a_second(self, _session: GameStreamSession) -> float:
        return self.rate

    def session_over(self, _session: GameStreamSession, reason: str) -> None:
        self.over.append(reason)


def with_session(use: Callable[[GameStreamSession, Owner], Awaitable[None]]) -> None:
    async def run() -> None:
        owner = Owner()
        session = GameStreamSession(
            owner,  # type: ignore[arg-type]  # a worker without a process
            GameStreamClient(("127.0.0.1", 0), "ab" * 32, "client"),
            REQUEST,
            ports=Ports(),
            description=Description.of(CodecModes.H264),
        )
        await use(session, owner)
        session._timer.cancel()

    asyncio.run(run())


def play(session: GameStreamSession, **changed: int) -> None:
    body = payload({**MODERN, **changed})
    headers = Headers({"CSeq": "1", "Content-length": str(len(body))})
    assert session.exchange.answer(RtspRequest("ANNOUNCE", "streamid=video", headers, body)).status == 200
    assert session.exchange.answer(RtspRequest("PLAY", "/", Headers({"CSeq": "2"}))).status == 200


def connected() -> tuple[socket.socket, socket.socket]:
    here, there = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    there.bind(("127.0.0.1", 0))
    here.connect(there.getsockname())
    there.settimeout(PATIENCE_S)
    return here, there


@pytest.mark.parametrize("order", [("video", "control"), ("control", "video")])
def test_a_stream_begins_with_the_video_ping_and_is_there_with_the_control_connection(
    order: tuple[str, str],
) -> None:
    async def use(session: GameStreamSession, owner: Owner) -> None:
        play(session)
        here, there = connected()
        for step in order:
            assert not session.streaming
            assert not owner.worker.begun
            if step == "video":
                session.latched("video", here)
            else:
                session.control_connected()
        assert session.streaming
        owner.worker.begun[0].send(b"frame")
        assert there.recv(10) == b"frame"
        session.end(EndReason.ENDED_AT_HOST)
        assert owner.worker.stopped
        there.close()
        owner.worker.begun[0].close()

    with_session(use)


def test_its_stream_says_which_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "nvenc-h264 stood still in a picture, and is left alone for 10 min"
    chosen = EncoderChoice(EncoderName.X264, why, (), (why,))
    monkeypatch.setattr(agreement, "choose_encoder", lambda *_: chosen)

    async def use(session: GameStreamSession, _owner: Owner) -> None:
        play(session)
        assert session.announced is not None
        spec = stream_request(HostConfig(), session, session.announced, None).spec(None, None)
        assert (spec.encoder.encoder, spec.left_alone) == (EncoderName.X264, (why,))

    with_session(use)


@pytest.mark.parametrize("speaks", [True, False], ids=["says what was damaged", "says nothing"])
def test_fec_follows_what_the_client_says_once_it_is_known_what_was_sent(
    monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    monkeypatch.setattr(session_module, "REPORT_S", 0.01)

    async def use(session: GameStreamSession, owner: Owner) -> None:
        play(session, **({} if speaks else {"x-ml-general.featureFlags": 2}))
        assert session.announced is not None
        asked = stream_request(HostConfig(adaptive_fec=True), session, session.announced, None)
        assert (asked.fec_floor is not None, asked.tells_loss) == (speaks, speaks)
        here, there = connected()
        session.latched("video", here)
        session.control_connected()
        damaged = FecStatus(1, 0x2E, 0x0A, 6, 44, 3, 38, 3, 5, 0, 1)
        session.frame_status(damaged)
        session.frame_status(replace(damaged, data_received=45))
        assert session.dropped_datagrams == {"dropped_frame_status": 1}
        if not speaks:
            assert session._damage_timer is None
        else:
            begun = session._damage_timer
            await soon(lambda: session._damage_timer is not begun, "a sum")
            assert owner.worker.losses == [], "the worker has not told yet what it sends"
            owner.rate = 60_000.0
            session.frame_status(damaged)
            await soon(lambda: len(owner.worker.losses) >= 2, "what was said, and that nothing more was")
            assert owner.worker.losses[:2] == [6 * 1_000_000 // 600 + 50_000, 0]
        session.end(EndReason.ENDED_AT_HOST)
        told, passed = len(owner.worker.losses), asyncio.Event()
        # Timers go off in their order: the next sum, were there one, would be due before this one.
        asyncio.get_running_loop().call_later(2 * session_module.REPORT_S, passed.set)
        async with asyncio.timeout(PATIENCE_S):
            await passed.wait()
        assert told == len(owner.worker.losses), "a session that is over says nothing more"
        there.close()
        owner.worker.begun[0].close()

    with_session(use)


def test_a_ping_before_play_is_kept_for_it() -> None:
    async def use(session: GameStreamSession, owner: Owner) -> None:
        here, there = connected()
        session.latched("video", here)
        play(session)
        assert not owner.worker.begun, "who pings has shown no key, and may have been written by anybody"
        session.control_connected()
        assert len(owner.worker.begun) == 1
        there.close()
        owner.worker.begun[0].close()

    with_session(use)


@pytest.mark.conformance(64)
@pytest.mark.conformance(30)
def test_sound_leaves_for_the_audio_ping_two_parity_packets_behind_each_fourth() -> None:
    async def use(session: GameStreamSession, _owner: Owner) -> None:
        session.send_sound(0, 0, b"too early")
        here, there = connected()
        session.latched("audio", here)
        play(session)
        session.send_sound(0, 0, b"too early still")
        session.control_connected()
        for number in range(4):
            session.send_sound(number, 0, bytes([number]) * 60)
        packets = [there.recv(1500) for _ in range(6)]
        assert [packet[1] & 0x7F for packet in packets] == [97] * 4 + [127] * 2
        assert [int.from_bytes(packet[2:4], "big") for packet in packets] == [0, 1, 2, 3, 4, 5]
        assert packets[0][12:] == bytes(60), "not encrypted, which was not asked for"
        session.send_sound(4, 0, b"")
        session.stream_failed("encoder broke")
        session.send_sound(5, 0, bytes(60))
        there.settimeout(0)
        with pytest.raises(BlockingIOError):
            there.recv(1500)
        there.close()

    with_session(use)


@pytest.mark.conformance(57)
def test_the_first_request_for_an_idr_is_the_start_of_the_stream() -> None:
    async def use(session: GameStreamSession, owner: Owner) -> None:
        play(session)
        session.key_frame_requested()
        assert owner.worker.key_frames == 0
        session.key_frame_requested()
        assert owner.worker.key_frames == 1

    with_session(use)


def test_a_session_that_the_host_ends_is_over_when_its_client_knows() -> None:
    async def use(session: GameStreamSession, owner: Owner) -> None:
        play(session)
        session.control_connected()
        session.end(EndReason.HOST_STOPPED)
        session.end(EndReason.UNPAIRED)
        assert session.ending
        await asyncio.sleep(0)
        assert (owner.terminated, owner.over) == ([GRACEFUL], []), "its client has not acknowledged it"
        session.left("acknowledged")
        session.left("once more")
        await asyncio.sleep(0)
        assert owner.over == ["host stopped"]

    with_session(use)


@pytest.mark.conformance(34)
def test_a_client_that_leaves_is_told_nothing_and_its_stream_ends() -> None:
    async def use(session: GameStreamSession, owner: Owner) -> None:
        play(session)
        session.control_connected()
        session.left("the client left")
        await asyncio.sleep(0)
        assert (owner.terminated, owner.over) == ([], ["client left: the client left"])
        assert owner.worker.stopped

    with_session(use)


def test_what_fails_is_told_with_another_code_than_what_is_over() -> None:
    async def failed(session: GameStreamSession, owner: Owner) -> None:
        session.stream_failed("encoder broke")
        assert owner.terminated == [FAILED]

    async def finished(session: GameStreamSession, owner: Owner) -> None:
        session.stream_finished("stream ended: frames")
        assert owner.terminated == [GRACEFUL]

    with_session(failed)
    with_session(finished)


@pytest.mark.conformance(36)
@pytest.mark.parametrize("played", [False, True])
def test_a_client_that_does_not_go_on_is_given_up(played: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STEP_LIMIT_S", 0.05)

    async def use(session: GameStreamSession, owner: Owner) -> None:
        if played:
            play(session)
            session.control_connected()
        await soon(lambda: session.ending, "it is late")
        assert owner.worker.stopped == played
        assert owner.terminated == [GRACEFUL]

    with_session(use)


def test_connect_data_are_never_none_and_a_session_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module.secrets, "randbelow", lambda _bound: 0)

    async def use(session: GameStreamSession, _owner: Owner) -> None:
        assert session.connect_data == 1

    with_session(use)
