"""The capture of docs/how-to/read-a-capture.md: 24 frames, of which a link lost 6 % and of frame 17 half."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from punktfunk import key_log
from punktfunk.core import _core
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.native.datagrams import encode
from punktfunk.native.handshake import Hello, Start, Welcome, WireMode
from punktfunk.native.messages import LossReport
from punktfunk.trust.identity import Identity, Role
from tests.support.captures import BEGAN_NS, CLIENT_PORT, DATA_PORT, KEY, Sent, Stream, write
from tests.support.quic_talk import talk

MODE = WireMode(1280, 720, 60)
SIZES = [60_000] + [20_000] * 23
LOST_FRAME = 17


def record(folder: Path, patch: pytest.MonkeyPatch) -> list[Sent]:
    """Write ``client.pcapng`` and ``keys.log`` into a folder; return the packets."""
    patch.setenv(key_log.VARIABLE, str(folder / "keys.log"))
    key_log.key_log.cache_clear()
    try:
        control = talk(
            Identity.generate(Role.HOST),
            Identity.generate(Role.CLIENT),
            [
                (False, Hello(mode=MODE).encode()),
                (True, Welcome(mode=MODE, udp_port=DATA_PORT, key=KEY).encode()),
                (False, Start(CLIENT_PORT).encode()),
                (False, LossReport(62_000).encode()),
            ],
            [(False, encode(InputEvent(InputKind.MOUSE_MOVE, 0, -12, 34, SurfaceSize(0, 0))))],
        )
    finally:
        key_log.key_log.cache_clear()
    draw = random.Random(7)
    stream = Stream(_core.StreamConfig(key=KEY), SIZES, began_ns=BEGAN_NS + 100_000_000)

    def fate(frame: int, _packet: int) -> int:
        if draw.random() < (0.5 if frame == LOST_FRAME else 0.06):
            return 0
        return 2 if draw.random() < 0.01 else 1

    sent = sorted([*control, *stream.packets(fate)], key=lambda packet: packet.time_ns)
    write(folder / "client.pcapng", sent)
    return sent
