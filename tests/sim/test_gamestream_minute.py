"""A minute of GameStream's video in virtual time: each codec, plain and encrypted, packets of each usual size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from punktfunk.core import simulate

FRAMES = 60 * 60
LOST_EVERY = 6
"""So that the loss walks through the packets of the frames, and no block loses more than it has of recovery."""
SIZES = [300_000, *(1 + 397 * n % 9001 for n in range(1, FRAMES))]
"""A first frame of two blocks, and lengths that leave every kind of rest in the last packet."""


@pytest.mark.conformance(49)
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
@pytest.mark.parametrize("packet_size", [1024, 1392, 1360])
@pytest.mark.parametrize("key", [None, "0f" * 16], ids=["plain", "encrypted"])
def test_a_minute_comes_out_byte_for_byte_though_packets_of_most_frames_are_lost(
    codec: str, packet_size: int, key: str | None
) -> None:
    """As under the client library's debug build, which drops packets and compares what FEC makes of them."""
    order = {
        "gamestream": {"packet_size": packet_size, "codec": codec, "key": key, "fec_percent": 20},
        "link": {"loss": {"kind": "periodic", "every": LOST_EVERY}},
        "frames": FRAMES,
        "frame_bytes": {"kind": "list", "bytes": SIZES},
        "key_interval": FRAMES,
        "content": "random",
        "seed": packet_size,
    }
    result = simulate(json.dumps(order))
    ledger = json.loads(result.ledger_json)
    client, link = ledger["client"], ledger["link"]
    # Of AV1 a padding OBU is behind a frame whose last packet would have 8 bytes of it or less (section 7.4).
    longer = sum(1 <= (8 + size) % (packet_size - 16) <= 8 for size in SIZES) if codec == "av1" else 0
    assert ledger["frames"] == {"submitted": FRAMES, "intact": FRAMES - longer, "corrupt": longer}
    assert (client["frames_decodable"], client["packets_lost"]) == (FRAMES, link["dropped_loss"])
    assert not any(ledger["balances"].values())
    assert not any(count for name, count in client.items() if name.startswith("rejected"))
    records = {name: np.frombuffer(data, "<i8") for name, data in result.records().items()}
    assert records["index"].tolist() == list(range(1, FRAMES + 1))
    assert records["blocks"].tolist() == [2] + [1] * (FRAMES - 1)
    assert np.count_nonzero(records["recovered"]) > FRAMES / 2
