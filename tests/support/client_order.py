"""What a client's control process asks of its worker: an order that every test takes its own from by ``replace``."""

from __future__ import annotations

from punktfunk.client import messages
from punktfunk.units import Mode

RECEIVE = messages.Receive(
    key="",
    salt="706b6631",
    fec_scheme="gf16",
    fec_percent=20,
    max_block_shards=64,
    shard_bytes=1200,
    hold_undecodable=True,
    reorder_window_ns=20_000_000,
    loss_window_ns=120_000_000,
    queue_frames=16,
    gro=True,
    receive_buffer_bytes=65536,
    frames=0,
    codec="h264",
    mode=Mode(640, 480, 60),
    read_marker=False,
    title=None,
    reference=None,
    reference_every=1,
    recovery=True,
    loss_reports=True,
    artefacts=None,
    record_frames=False,
    out=None,
    clock_offset_ns=0,
    clock_error_ns=0,
)
