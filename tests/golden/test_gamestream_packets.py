"""GameStream's video packets through Python: the worked frame of the description, plain and encrypted, bit by bit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from punktfunk.core import _core

PAGE = Path(__file__).parents[2] / "docs/reference/wire/gamestream.md"


@pytest.mark.conformance(50)
def test_packets_are_those_of_the_worked_frame() -> None:
    example = PAGE.read_text(encoding="utf-8").partition("[video] packetSize 64")[2]
    bitstream = re.search(r"bitstream 100B ([0-9a-f]{200})\n", example)
    plain = [bytes.fromhex(line) for line in re.findall(r"^  W ([0-9a-f]+)$", example, re.M)]
    sealed = re.search(r"^  W0 encrypted .* : ([0-9a-f]+)$", example, re.M)
    assert bitstream is not None
    assert sealed is not None
    assert len(plain) == 5

    def packets(key: bytes | None) -> list[bytes]:
        config = _core.GameStreamConfig(packet_size=64, fec_percent=20, min_fec=2, key=key)
        flags = _core.FLAG_PICTURE | _core.FLAG_KEY
        unit = bytes.fromhex(bitstream[1])
        # 1983 ticks of 90 kHz, and the latency field 77.
        return _core.packetize(config, unit, 22_033_334, flags, 1, 0, age_ns=7_700_000)

    assert packets(None) == plain
    encrypted = packets(bytes(range(16)))
    assert encrypted[0].hex() == sealed[1]
    assert [len(packet) for packet in encrypted] == [80 + 32] * 5
