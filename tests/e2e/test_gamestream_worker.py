"""The receive worker of GameStream against the core's sender: pings, pictures, sound, what is lost, what it leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from punktfunk.client import messages as shared
from punktfunk.client.ending import End
from punktfunk.client.gamestream import messages
from punktfunk.client.gamestream.service import WORKER_MODULE
from punktfunk.core._core import FLAG_KEY, FLAG_PICTURE, GameStreamAudio, GameStreamConfig, packetize
from punktfunk.gamestream.control import FecStatus
from punktfunk.gamestream.ping import Ping
from punktfunk.media import EncoderConfig, EncoderName, TestCardSpec, open_producer
from punktfunk.media.multistream import MultistreamEncoder
from punktfunk.media.opus import SAMPLE_RATE
from punktfunk.media.sound import SoundFormat
from punktfunk.process.worker_process import WorkerProcess
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import soon

KEY = bytes(range(16))
KEY_ID = -2
MODE = Mode(480, 64, 60)
FRAMES = 12
SOUND = SoundFormat(channels=6, streams=4, coupled=2, mapping="014523", bitrate_kbps=256, continuous=True)
SOUND_PACKETS = 24
LOUD_CHANNEL = 4
ORDER = messages.Receive(
    key=KEY.hex(),
    key_id=KEY_ID,
    encrypted_video=True,
    encrypted_sound=True,
    video_ping="0123456789ABCDEF",
    sound_ping="FEDCBA9876543210",
    packet_bytes=1360,
    codec="h264",
    decode=True,
    mode=MODE,
    hold_undecodable=True,
    queue_frames=64,
    receive_buffer_bytes=1 << 20,
    sound=SOUND,
    read_marker=True,
    reference=None,
    reference_every=1,
    recovery=True,
    artefacts=None,
    record_frames=True,
    out=None,
)


@dataclass
class Host:
    """Two sockets that answer pings with what they are given to send."""

    video: socket.socket
    sound: socket.socket

    async def pinged(self, end: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        ping, address = await loop.sock_recvfrom(end, 100)
        end.connect(address)
        return ping


def frames(drop: Callable[[int, int], bool]) -> Iterator[bytes]:
    """Yield the packets of a coded test card, without those that ``drop`` names by frame and place in it."""
    config = GameStreamConfig(
        packet_size=ORDER.packet_bytes, key=KEY, codec="h264", min_fec=2, fec_percent=20
    )
    encoder = EncoderConfig(encoder=EncoderName.X264, mode=MODE, bitrate=Bitrate.from_kbps(4000))
    producer = open_producer(TestCardSpec(), encoder)
    sent = 0
    try:
        for index in range(1, FRAMES + 1):
            unit = producer.produce()
            flags = FLAG_PICTURE | (FLAG_KEY if unit.key else 0)
            packets = packetize(config, unit.data, index * 16_666_667, flags, index, sent)
            sent += len(packets)
            yield from (packet for place, packet in enumerate(packets) if not drop(index, place))
    finally:
        producer.close()


def sound_packets() -> list[bytes]:
    """Return the packets of a tone on one channel, two lost in different blocks of four."""
    encoder, wire = MultistreamEncoder(SOUND), GameStreamAudio(KEY, KEY_ID, SOUND.packet_ms)
    packets: list[bytes] = []
    for number in range(SOUND_PACKETS):
        samples = np.zeros((encoder.samples, SOUND.channels), np.float32)
        at = np.arange(encoder.samples) + number * encoder.samples
        samples[:, LOUD_CHANNEL] = 0.5 * np.sin(2 * np.pi * 1000 * at / SAMPLE_RATE)
        made = wire.packet(encoder.encode(samples))
        packets.extend(made[1:] if number in {9, 14} else made)
    return packets


def stream(
    order: messages.Receive, drop: Callable[[int, int], bool], until: type[object] | None = None
) -> tuple[list[Any], bytes, bytes]:
    """Have a worker receive it all, and say what ``until`` is; return all that it said, and its first pings."""

    async def scenario() -> tuple[list[Any], bytes, bytes]:
        said: list[Any] = []
        status: list[int] = []
        process = WorkerProcess(WORKER_MODULE, messages.VOCABULARY, said.append, status.append)
        ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
        try:
            for host_end, client_end in (ends[:2], ends[2:]):
                host_end.setblocking(False)
                host_end.bind(("127.0.0.1", 0))
                client_end.connect(host_end.getsockname())
            host = Host(ends[0], ends[2])
            process.send(order, [ends[1].fileno(), ends[3].fileno()])
            sound_ping = await host.pinged(host.sound)
            process.send(messages.PingVideo())
            video_ping = await host.pinged(host.video)
            for packet in frames(drop):
                host.video.send(packet)
            for packet in sound_packets():
                host.sound.send(packet)
            # A stream that is over asks for nothing any more.
            await soon(lambda: until is None or any(isinstance(m, until) for m in said), "what is waited for")
            process.send(shared.Drain("over", End.CLOSED))
            await soon(lambda: status, "the worker ends")
            return said, video_ping, sound_ping
        finally:
            process.kill()
            for end in ends:
                end.close()

    return asyncio.run(scenario())


def ended(said: list[Any]) -> shared.Ended:
    last = said[-1]
    assert isinstance(last, shared.Ended), last
    return last


@pytest.mark.conformance(66)
def test_encrypted_pictures_and_surround_sound_come_out_whole_and_loss_is_made_good(tmp_path: Path) -> None:
    order = replace(ORDER, artefacts=str(tmp_path), out=str(tmp_path / "video.h264"))
    said, video_ping, sound_ping = stream(order, lambda frame, place: frame in {3, 7} and place == 0)
    assert video_ping == Ping(b"0123456789ABCDEF", 1).encode()
    assert sound_ping == Ping(b"FEDCBA9876543210", 1).encode()
    over = ended(said)
    counters = over.counters
    assert over.end == End.CLOSED
    assert (counters["pictures"], counters["decode_errors"], counters["pictures_concealed"]) == (FRAMES, 0, 0)
    assert (counters["strips_read"], counters["frames_released"], counters["recovery_requests"]) == (
        FRAMES,
    ) * 2 + (0,)
    assert counters["packets_lost"] == 2
    assert counters["data_shards_recovered"] == 2
    blocks = [FecStatus(*block) for m in said if isinstance(m, messages.BlocksDamaged) for block in m.blocks]
    assert [(status.frame, status.missing, status.fec_percent > 0) for status in blocks] == [
        (3, 1, True),
        (7, 1, True),
    ]
    assert counters["blocks_reported"] == 2
    assert (counters["sound_packets"], counters["sound_undecodable"]) == (SOUND_PACKETS, 0)
    stats = json.loads((tmp_path / "stats.json").read_text())
    peaks = stats["sound_peaks"]
    assert peaks.index(max(peaks)) == LOUD_CHANNEL
    assert max(peaks) > 0.3
    assert sorted(peaks)[-2] < 0.01
    decoded = np.load(tmp_path / "decoded.npz")
    assert decoded["index"].tolist() == list(range(1, FRAMES + 1))
    assert decoded["strip_frame"].tolist() == list(range(FRAMES))
    assert np.load(tmp_path / "records.npz")["index"].tolist() == list(range(1, FRAMES + 1))
    with wave.open(str(tmp_path / "sound.wav")) as heard:
        assert (heard.getnchannels(), heard.getnframes()) == (6, SOUND_PACKETS * 240)


def test_a_frame_that_is_lost_is_asked_for_and_what_refers_to_it_is_not_shown() -> None:
    said, _, _ = stream(ORDER, lambda frame, _place: frame == 5, until=shared.NeedKeyframe)
    counters = ended(said).counters
    assert counters["pictures"] == 4
    assert counters["decode_errors"] == 0
    assert counters["recovery_requests"] >= 1
