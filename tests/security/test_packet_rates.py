"""Clients that ask for tiny packets, thousands of frames and all bandwidth: the packets that they get are bounded.

The rates are printed; they are those of this machine while it does whatever else it does, the bound is not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from punktfunk.native.dialect import CloseCode
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Welcome, WireMode
from punktfunk.native.messages import ProbeRequest, Reconfigure, RequestKeyframe, SetBitrate
from tests.support.host_process import HostProcess
from tests.support.raw_client import HELLO, first_packet, refusal, welcomed

GREEDY = replace(HELLO, mode=WireMode(1280, 720, 1000), bitrate_kbps=2**32 - 1)
MOST = 2**32 - 1
FEC_PERCENT = 20
USUAL_SHARD_BITS = 1388 * 8
MAX_DATA_PACKETS_PER_S = 2_000_000_000 / USUAL_SHARD_BITS
"""The highest bitrate in packets that fill 1500 bytes; docs/promises.md has it rounded."""
PACING = 1.25
"""What a frame may leave faster than the session's own rate."""
STREAM_S = 2.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    source = {"kind": "synthetic", "frame_bytes": 65536}
    started = HostProcess(tmp_path, mode=None, source=source, fec_percent=FEC_PERCENT)
    yield started
    started.end()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 90))


def test_a_client_that_takes_only_tiny_packets_is_refused(host: HostProcess) -> None:
    async def scenario() -> None:
        for limit in (1, 2, 16, 510, 511):
            code = await refusal(host.port, replace(GREEDY, max_shard_bytes=limit))
            assert code == CloseCode.SETUP_FAILED, limit
        assert host.workers == set()

    run(scenario())


@pytest.mark.parametrize("limit", [None, 512, 513, 1408, 9152])
def test_packets_a_second_are_bounded_whatever_a_client_asks_for(
    host: HostProcess, limit: int | None
) -> None:
    async def scenario() -> None:
        dialer, wire = await welcomed(host.port, hello=replace(GREEDY, max_shard_bytes=limit))
        welcome = Welcome.decode(bytes(wire.data[2:]))
        assert welcome.shard_bytes == {None: 1408, 512: 512, 513: 512, 1408: 1408, 9152: 1408}[limit]
        assert welcome.bitrate_kbps is not None
        data_packets_per_s = welcome.bitrate_kbps * 1000 / (welcome.shard_bytes * 8)
        await first_packet(dialer, wire)
        began = time.monotonic()
        for asks in range(40):
            dialer.link.send_stream(
                frame(SetBitrate(MOST - asks).encode())
                + frame(Reconfigure(1280, 720, 1000).encode())
                + frame(RequestKeyframe().encode())
                + frame(ProbeRequest(MOST, 500).encode())
            )
            await asyncio.sleep(STREAM_S / 40)
        dialer.link.close(0, "done")
        assert host.process.stdout is not None
        ended = json.loads(await asyncio.to_thread(host.process.stdout.readline))
        took = time.monotonic() - began
        packets = ended["counters"]["packets_sent"]
        print(
            f"\nshards of {welcome.shard_bytes} bytes: {packets / took:.0f} packets a second for {took:.1f} s, "
            f"bitrate {welcome.bitrate_kbps / 1000:.0f} Mbit/s, {ended['counters']['probes']} bandwidth probes"
        )
        assert data_packets_per_s <= MAX_DATA_PACKETS_PER_S + 1
        assert packets / took <= MAX_DATA_PACKETS_PER_S * (1 + FEC_PERCENT / 100) * PACING

    run(scenario())
