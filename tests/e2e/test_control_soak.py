"""What control processes hold does not depend on how much sound and input they have passed on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc

import numpy as np

import punktfunk
from punktfunk.input import InputEvent, InputKind
from punktfunk.media import SyntheticSpec
from punktfunk.media.opus import PACKET_SAMPLES, OpusEncoder
from punktfunk.native.datagrams import Audio, FromHost
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode
from tests.support.hosts import send
from tests.support.waiting import soon

DATAGRAMS, IN_A_ROW, QUIET_S, LOST_AFTER_S = 2400, 8, 0.3, 0.5
BYTES_A_DATAGRAM = 40.0
"""Each way and at both ends; one that is kept takes 100 and more. 10 to 17 are CPython 3.11's own: its type cache holds
4096 names, and each match of a class makes a new one."""
PATIENCE_S = 240.0
"""For what takes 14 s on an idle machine."""


def test_control_processes_hold_nothing_of_what_they_have_passed_on() -> None:
    """Sound and input of a session in both control processes, which are this one here."""

    class Sink:
        takes_touch = False
        taken = 0

        def inject(self, _event: InputEvent) -> bool:
            self.taken += 1
            return True

        def release_all(self) -> None:
            pass

    async def scenario() -> None:
        sink, heard, sent, all_heard = Sink(), 0, 0, asyncio.Event()

        def hear(_datagram: FromHost) -> None:
            nonlocal heard
            heard += 1
            if heard >= sent:
                all_heard.set()

        async def pass_on(client: punktfunk.Client, host: punktfunk.Host, total: int) -> int:
            """Go on until so many have come each way; return what is allocated then."""
            nonlocal sent
            while min(sink.taken, heard) < total:
                all_heard.clear()
                for _ in range(IN_A_ROW):
                    client.send(InputEvent(InputKind.MOUSE_MOVE, 0, 1, -1))
                    send(host, Audio(sent, sent * 5_000_000, packets[sent % len(packets)]))
                    sent += 1
                # A datagram may be lost, and nobody sends it again.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOST_AFTER_S):
                        await all_heard.wait()
            # Acknowledgements are out and in, what QUIC kept for them is gone.
            await asyncio.sleep(QUIET_S)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK, port=0, source=SyntheticSpec(frame_bytes=100), mode=Mode(640, 480, 5)
        )
        encoder = OpusEncoder()
        tone = np.sin(np.arange(20 * PACKET_SAMPLES * 2, dtype=np.float32) / 20).reshape(20, -1, 2)
        packets = [encoder.encode(samples) for samples in tone]
        async with punktfunk.Host(config, input_sink=sink) as host:
            client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
            async with punktfunk.Client(f"127.0.0.1:{host.port}", client_config) as client:
                client.on_datagram = hear
                await soon(lambda: host.reports and host.reports[0].state == "streaming", "a stream")
                tracemalloc.start()
                try:
                    before = await pass_on(client, host, DATAGRAMS // 4)
                    after = await pass_on(client, host, DATAGRAMS)
                finally:
                    tracemalloc.stop()
                assert client.sound is not None
                counters = client.sound.counters
        grown = (after - before) / (DATAGRAMS * 3 / 4)
        print(f"{grown:.3f} bytes a datagram each way, {after} in all, {heard} packets of sound")
        assert (counters["sound_packets"], counters["sound_undecodable"]) == (heard, 0)
        assert grown <= BYTES_A_DATAGRAM

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
