"""A stream over punktfunk/1 as a host describes it to a worker: every test takes its own from it by ``model_copy``."""

from __future__ import annotations

from punktfunk.clock import SessionClock
from punktfunk.host.native.sender import NativeTransport
from punktfunk.host.stream.spec import Pacing, SendOptions, StreamSpec
from punktfunk.media import EncoderConfig, SyntheticSpec

TRANSPORT = NativeTransport(key="", salt="00000001", fec_scheme="gf16", max_block_shards=64, shard_bytes=1200)

SPEC = StreamSpec(
    source=SyntheticSpec(),
    encoder=EncoderConfig(),
    transport=TRANSPORT.transport(),
    rate_kbps=20_000,
    fec_percent=20,
    pacing=Pacing(burst_packets=64, packets_per_ms=1000, rate_factor=10.0),
    queue_frames=8,
    send=SendOptions(send_buffer_bytes=1 << 20, realtime=False),
    clock=SessionClock(0, 0),
)
