"""What a host asks of its stream worker: an order that every test takes its own from by ``replace``."""

from __future__ import annotations

from punktfunk.host.stream import messages

PREPARE = messages.Prepare(
    source={},
    encoder={},
    key="",
    salt="00000001",
    fec_scheme="gf16",
    fec_percent=20,
    max_block_shards=64,
    shard_bytes=1200,
    rate_kbps=20_000,
    burst_packets=64,
    packets_per_ms=1000,
    rate_factor=10.0,
    queue_frames=8,
    gso=True,
    send_buffer_bytes=1 << 20,
    realtime=False,
    probe_kbps=0,
    frames=None,
    seconds=None,
    artefacts=None,
    record_frames=False,
    clock_offset_ns=0,
    clock_error_ns=0,
)
