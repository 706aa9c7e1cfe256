"""GameStream from end to end on loopback: our host and our client, each with its worker, and what goes between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from punktfunk.client.ending import End
from punktfunk.client.gamestream.control import URGENT
from punktfunk.client.gamestream.host import LaunchWish, StreamKey
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.client.summary import Summary
from punktfunk.desktop.pads import OnRumble, PadState
from punktfunk.errors import StatusError
from punktfunk.gamestream.control import Invalidate
from punktfunk.gamestream.describe import Features
from punktfunk.host.gamestream import control_server
from punktfunk.host.gamestream import session as session_module
from punktfunk.host.gamestream.session import GameStreamSession
from punktfunk.input import Contact, InputEvent, InputKind, PadButtons, PadReport, SurfaceSize, Tool
from punktfunk.media import Codec
from punktfunk.units import Bitrate
from tests.support.pads import FakePad
from tests.support.streaming_host import MODE, StreamingHost, streaming_host
from tests.support.waiting import PATIENCE_S, soon

WISH = LaunchWish(MODE)
PRESSED = PadReport(2, PadButtons.A, (0, 0, 0, 0, 0, 0))
PLACES = SurfaceSize(0xFFFF, 0xFFFF)
PEN = Contact(Tool.PEN, pressure=0.5, rotation=45, tilt=30, buttons=1)
TOUCHES = [
    InputEvent(InputKind.TOUCH_DOWN, 7, 100, 200, PLACES, contact=Contact(pressure=0.75)),
    InputEvent(InputKind.TOUCH_DOWN, 8, 300, 400, PLACES, contact=Contact(pressure=0.5)),
    InputEvent(InputKind.TOUCH_MOVE, 7, 101, 201, PLACES, contact=Contact(pressure=0.25)),
    InputEvent(InputKind.TOUCH_UP, 8, 300, 400, PLACES, contact=Contact()),
    InputEvent(InputKind.TOUCH_CANCEL, 7, 101, 201, PLACES, contact=Contact()),
    InputEvent(
        InputKind.TOUCH_HOVER, 0, 500, 600, PLACES, contact=Contact(Tool.PEN, distance=0.25, buttons=4)
    ),
    InputEvent(InputKind.TOUCH_DOWN, 0, 500, 600, PLACES, contact=PEN),
    InputEvent(InputKind.TOUCH_BUTTONS, 0, 500, 600, PLACES, contact=replace(PEN, buttons=2)),
    InputEvent(InputKind.TOUCH_UP, 0, 500, 600, PLACES, contact=Contact(Tool.PEN)),
    InputEvent(InputKind.TOUCH_DOWN, 0, 9, 9, PLACES, contact=Contact(Tool.ERASER, pressure=1.0)),
    InputEvent(InputKind.TOUCH_LEAVE, 0, 9, 9, PLACES, contact=Contact(Tool.ERASER)),
]
"""Two fingers at once, one of which is cancelled; a pen near, on and off the surface, and its other end."""


def by_channel(events: list[InputEvent]) -> tuple[list[InputEvent], list[InputEvent]]:
    """Return what fingers and what a pen did: each has a channel, which keeps their order."""
    touched = [(event, event.contact) for event in events if event.contact is not None]
    fingers = [event for event, contact in touched if contact.tool is Tool.FINGER]
    return fingers, [event for event, contact in touched if contact.tool is not Tool.FINGER]


def beside(folder: Path, use: Callable[[StreamingHost], Awaitable[None]], **config: Any) -> None:
    """Run a client's side in the event loop of a host."""

    async def run() -> None:
        async with streaming_host(folder, **config) as host:
            await use(host)

    asyncio.run(asyncio.wait_for(run(), 120))


async def streamed(client: GameStreamClient, during: Callable[[], Awaitable[None]] | None = None) -> Summary:
    """Stream until there are pictures and sound and ``during`` is through, then leave."""
    seen: list[tuple[int, int]] = []
    client.on_progress = lambda progress: seen.append(
        (progress.counters.get("pictures", 0), progress.counters.get("sound_packets", 0))
    )
    async with client:
        await soon(lambda: seen and min(seen[-1]) >= 10, "pictures and sound")
        if during is not None:
            await during()
        client.stop()
        return await client.finished()


def all_were_whole(summary: Summary) -> None:
    """Hold that every frame could be rebuilt but for those of datagrams that a socket had no room for."""
    counters = summary.counters
    assert counters["frames_unrecoverable"] <= counters["kernel_dropped"], counters


def requests_taken(session: GameStreamSession) -> list[int]:
    """Return what grows by one for each request for a key frame that the session's worker is given from now on."""
    worker, taken = session.worker, list[int]()
    assert worker is not None
    give = worker.request_keyframe

    def take(rtt_ns: int) -> None:
        give(rtt_ns)
        taken.append(rtt_ns)

    worker.request_keyframe = take  # type: ignore[method-assign]
    return taken


@pytest.mark.conformance(34)
@pytest.mark.conformance(35)
@pytest.mark.conformance(57)
@pytest.mark.conformance(58)
@pytest.mark.conformance(9)
def test_a_client_streams_leaves_resumes_and_quits(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        pads: list[FakePad] = []

        def plug_in(number: int, on_rumble: OnRumble) -> FakePad:
            pads.append(FakePad(number, on_rumble))
            return pads[-1]

        host.host.sessions.peripherals.pad_maker = plug_in
        state = await host.paired("living room")
        client = host.client(state, artefacts=tmp_path / "first", keep_gamepads=True)

        async def during() -> None:
            client.send(InputEvent(InputKind.KEY_DOWN, 0x41))
            client.send(InputEvent(InputKind.KEY_UP, 0x41))
            await soon(lambda: InputEvent(InputKind.KEY_UP, 0x41) in host.sink.events, "keys at the host")
            client.send(PRESSED)
            await soon(lambda: pads and pads[0].reports[-1].buttons, "a pad at the host")
            assert client.choice is not None
            assert client.choice.features is Features.PEN_AND_TOUCH, "what the host's input goes to takes it"
            for event in TOUCHES:
                client.send(event)
            await soon(
                lambda: sum(e.contact is not None for e in host.sink.events) == len(TOUCHES), "touches"
            )
            assert by_channel(host.sink.events) == by_channel(TOUCHES)
            report = host.host.sessions.live()[0]
            before = report.counters.get("key_frames", 1)
            [session] = host.server.streams()
            asked = requests_taken(session)
            # The worker stands still until all three are with it: on a busy machine they would come one by one.
            os.kill(report.worker_pid, signal.SIGSTOP)
            try:
                for _ in range(3):
                    client.request_keyframe()
                await soon(lambda: len(asked) == 3, "three requests at the host")
            finally:
                os.kill(report.worker_pid, signal.SIGCONT)
            await soon(lambda: report.counters.get("key_frames", 1) > before, "an IDR frame")
            assert report.counters["key_frames"] == before + 1, "three requests at once are one IDR frame"
            # Reference frames are not invalidated, which was not offered: who asks all the same gets an IDR frame.
            assert not client.choice.invalidation
            assert client._control is not None
            client._control.send(Invalidate(1, 1000), URGENT)
            await soon(lambda: report.counters["key_frames"] >= before + 2, "another IDR frame")
            assert (report.name, report.peer.fingerprint) == (
                "living room",
                host.pairing.trust.clients()[0].fingerprint,
            )
            assert host.server.streams()[0].sounding

        summary = await streamed(client, during)
        assert summary.end is End.STOPPED
        all_were_whole(summary)
        assert summary.counters["sound_packets"] > 20
        assert summary.counters["sound_undecodable"] == 0
        assert host.sink.released, "what was held down is released"
        # The first pointer movements of every client, and nothing that was not sent.
        assert [event.kind for event in host.sink.events[:2]] == [InputKind.MOUSE_MOVE] * 2

        await host.host.sessions_over(1)
        info = await host.asking(state).info_as_paired()
        assert (info.busy, info.current_app) == (True, 1), "the app goes on"
        assert not pads[0].closed
        assert pads[0].reports[-1] == PadState(), "what was held down is released"
        again = host.client(state, artefacts=tmp_path / "second", keep_gamepads=True)

        async def as_before() -> None:
            again.send(PRESSED)
            await soon(lambda: pads[0].reports[-1].buttons, "the same pad")

        summary = await streamed(again, as_before)
        assert again.resumed
        all_were_whole(summary)

        await host.host.sessions_over(2)
        assert [pad.closed for pad in pads] == [False]
        await host.asking(state).quit()
        assert pads[0].closed, "nobody comes back to it"
        info = await host.asking(state).info_as_paired()
        assert (info.busy, info.current_app) == (False, 0)
        await host.asking(state).quit()

    beside(tmp_path, use)
    for run in ("first", "second"):
        markers = np.load(tmp_path / run / "decoded.npz")["strip_frame"]
        assert markers[0] >= 0
        assert np.all(np.diff(markers) > 0), "pictures come in order, each once"
        records = np.load(tmp_path / run / "records.npz")
        assert records["index"][0] == 1, "frame numbers begin anew with each session"


@pytest.mark.conformance(66)
@pytest.mark.parametrize(
    "wishes",
    [
        # Frames of more packets than are sent at once: who leaves in the midst of one has not lost it.
        {
            "encrypt_video": True,
            "encrypt_sound": True,
            "channels": 6,
            "sound_packet_ms": 10,
            "bitrate": Bitrate(40_000_000),
        },
        {
            "encrypted_rtsp": False,
            "channels": 8,
            "high_quality_sound": False,
            "packet_bytes": 1024,
            "slices": 4,
        },
    ],
    ids=["everything encrypted, 5.1", "nothing but control, 7.1"],
)
def test_every_way_to_stream_decodes_without_a_loss(tmp_path: Path, wishes: dict[str, Any]) -> None:
    async def use(host: StreamingHost) -> None:
        state = await host.paired("client")
        summary = await streamed(host.client(state, **wishes))
        assert summary.end is End.STOPPED
        all_were_whole(summary)
        assert summary.counters["sound_packets"] > 5
        assert summary.counters["sound_undecodable"] == 0

    beside(tmp_path, use)


@pytest.mark.conformance(75)
@pytest.mark.conformance(27)
@pytest.mark.conformance(31)
@pytest.mark.conformance(39)
def test_two_clients_stream_at_once_and_each_can_be_sent_away(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        first, second = await host.paired("first"), await host.paired("second")
        with pytest.raises(StatusError, match="503"):
            await host.asking(first).resume(1, WISH, StreamKey.draw())
        one, two = host.client(first, decode=False), host.client(second, decode=False)
        async with one, two:
            await soon(lambda: len(host.server.streams()) == 2, "both stream")
            assert not one.resumed
            assert not two.resumed, "it is shown nothing that is others', and has launched what it joined"
            assert len({session.app for session in host.server.sessions}) == 1
            with pytest.raises(StatusError, match="400"):
                await host.asking(first).launch(1, WISH, StreamKey.draw())
            host.pairing.trust.remove(host.server.streams()[1].peer.fingerprint)
            summary = await asyncio.wait_for(two.finished(), PATIENCE_S)
            assert summary.end is End.CLOSED, "quietly"
            assert len(host.server.streams()) == 1
            with pytest.raises(StatusError, match="401"):
                await host.asking(second).info_as_paired()
            # The same client once more: its newer session takes the place of the older.
            three = host.client(first, decode=False)
            async with three:
                await asyncio.wait_for(one.finished(), PATIENCE_S)
                await soon(lambda: len(host.server.streams()) == 1, "one streams")
            assert host.host.sessions.capacity.counters["superseded"] == 1
        assert host.server.running_app(None) == 1

    beside(tmp_path, use)


@pytest.mark.conformance(33)
@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6")
def test_a_client_streams_by_ipv6(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        summary = await streamed(host.client(await host.paired("client")))
        assert summary.end is End.STOPPED
        all_were_whole(summary)

    beside(tmp_path, use, bind="::1")


def test_one_more_client_than_may_stream_hears_so_in_words(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        first, second = await host.paired("first"), await host.paired("second")
        async with host.client(first, decode=False):
            await soon(host.server.streams, "it streams")
            with pytest.raises(StatusError, match="as many as it may"):
                await host.asking(second).resume(1, WISH, StreamKey.draw())
            assert len(host.server.sessions) == 1

    beside(tmp_path, use, max_sessions=1)


@pytest.mark.conformance(36)
def test_a_launch_without_rtsp_expires_and_the_app_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STEP_LIMIT_S", 2.0)

    async def use(host: StreamingHost) -> None:
        state, key = await host.paired("client"), StreamKey.draw()
        await host.asking(state).launch(1, WISH, key)
        assert len(host.server.sessions) == 1
        await soon(lambda: not host.server.sessions, "the session is given up")
        assert host.server.running_app(None) == 1
        # The number beside the key is in no nonce but those of sound.
        for again in (key, replace(key, key_id=key.key_id ^ 1)):
            with pytest.raises(StatusError, match="the key of an earlier one"):
                await host.asking(state).resume(1, WISH, again)
        assert host.server.sessions == []
        assert host.server.counters["gamestream_keys_again"] == 2
        monkeypatch.undo()
        async with host.client(state, decode=False) as client:
            assert client.resumed
            await soon(host.server.streams, "it streams")

    beside(tmp_path, use)


@pytest.mark.conformance(43)
def test_a_codec_that_is_not_offered_is_refused_with_words(tmp_path: Path) -> None:
    async def use(host: StreamingHost) -> None:
        state = await host.paired("client")
        assert (await host.asking(state).info_as_paired()).codec_modes == 1
        with contextlib.suppress(StatusError):
            async with host.client(state, codecs=[Codec.HEVC, Codec.H264], decode=False) as client:
                assert client.choice is not None
                assert client.choice.codec is Codec.H264, "DESCRIBE has no marker of HEVC"

    beside(tmp_path, use)


@pytest.mark.slow
@pytest.mark.conformance(43)
@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_a_codec_that_the_operator_asks_for_is_offered_and_decodes(tmp_path: Path, codec: str) -> None:
    async def use(host: StreamingHost) -> None:
        state = await host.paired("client")
        client = host.client(state, codecs=[Codec(codec), Codec.H264])
        summary = await streamed(client)
        assert client.choice is not None
        assert client.choice.codec is Codec(codec)
        all_were_whole(summary)

    beside(tmp_path, use, codec=codec)


def test_a_host_that_ends_lets_its_clients_close_quietly(tmp_path: Path) -> None:
    summaries = []

    async def run() -> None:
        async with streaming_host(tmp_path) as host:
            client = host.client(await host.paired("client"), decode=False)
            await client.__aenter__()
            await soon(host.server.streams, "it streams")
        summaries.append(await asyncio.wait_for(client.finished(), PATIENCE_S))
        await client.__aexit__(None, None, None)

    asyncio.run(asyncio.wait_for(run(), 120))
    assert summaries[0].end is End.CLOSED


@pytest.mark.conformance(38)
@pytest.mark.conformance(71)
def test_a_client_that_is_killed_frees_its_stream_and_its_keys_and_can_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten seconds of silence, but for the wait.
    monkeypatch.setattr(control_server, "SILENCE_NS", 1_000_000_000)

    async def use(host: StreamingHost) -> None:
        state = await host.paired("client")
        arguments = ["gamestream", "stream", host.address, "--state-dir", str(state), "--no-decode", "--json"]
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "punktfunk",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        await soon(host.server.streams, "it streams")
        released = host.sink.released
        program.kill()
        await program.wait()
        [report] = await host.host.sessions_over(1)
        assert "silent" in report.reason
        assert host.sink.released > released
        assert host.server.running_app(None) == 1
        monkeypatch.undo()
        async with host.client(state, decode=False) as client:
            assert client.resumed
            await soon(host.server.streams, "it streams again")

    beside(tmp_path, use)
