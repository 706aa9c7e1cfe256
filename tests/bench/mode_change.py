"""Measure the gap that a change of mode tears into a stream: ``python -m tests.bench.mode_change``.

Prints, for each of some changes in mid-stream, the longest distance between two frames around it, by capture
stamps, and what one frame interval is. Host, client and encoder share this machine.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np

import punktfunk
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode

MODES = ["1920x1080@60", "1280x720@60", "960x540@60", "1920x1080@60", "1280x720@60"]


async def measure(folder: Path) -> None:
    """Stream the test card and change its mode every second."""
    host_config = punktfunk.HostConfig(
        trust=OpenTrust.LOOPBACK, port=0, codec="h264", bitrate=Bitrate(10_000_000), artefacts=folder
    )
    client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=Mode(1280, 720, 60), decode=False)
    changes = []
    async with punktfunk.Host(host_config) as host:
        client = punktfunk.Client(f"127.0.0.1:{host.port}", client_config)
        async with client:
            await asyncio.sleep(1)
            for mode in MODES:
                began = asyncio.get_running_loop().time()
                answer = await client.request_mode(Mode.parse(mode))
                changes.append((mode, answer.accepted, began, asyncio.get_running_loop().time()))
                await asyncio.sleep(1)
            client.stop()
            await client.finished()
            await host.sessions_over(1)
    with np.load(folder / "records.npz") as columns:
        captured = np.sort(columns["captured_ns"]) / 1e9
    gaps = np.diff(captured)
    print(f"median interval {np.median(gaps) * 1e3:.1f} ms")
    for mode, accepted, began, answered in changes:
        around = (captured[1:] > began) & (captured[:-1] < answered + 0.1)
        print(
            f"{mode}: accepted {accepted}, answered in {(answered - began) * 1e3:.0f} ms, "
            f"longest gap {gaps[around].max() * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name)))
