"""Time how late the host's pointer is at a client: told beside the picture, and painted into it.

A producer of PipeWire moves its pointer over a picture that stands still; host and client are on this machine, so that
no network is in the figures. *Told* is from the movement until the client's window could draw it, *painted* until the
picture that shows it is decoded. Where the user's own pointer is over the window neither is to be seen: it has the
host's shape, and is where the user has moved it. Prints figures, judges nothing.

    python tests/bench/cursor.py [--moves 200] [--mode 1280x720@60]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import punktfunk
from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorUpdate
from punktfunk.desktop import DesktopOutput
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.host.desktop import DesktopPool
from punktfunk.units import Mode
from tests.e2e.test_desktop_of_another_kind import CLIENT, Blackboard, host_config
from tests.support.pipewire_producer import CURSOR, Producer, Server
from tests.support.waiting import soon

_SIDE = 24
_RGBA = 11
_BITMAP = struct.pack("=IIIiI", _RGBA, _SIDE, _SIDE, _SIDE * 4, 20) + b"\xff" * _SIDE * _SIDE * 4


class Pointed(Blackboard):
    """A desktop whose one output is the producer's."""

    def __init__(self, server: Server, producer: Producer) -> None:
        super().__init__()
        self.tells_cursor = True
        self._screen = PipeWireScreen(node=producer.node, remote=server.remote, cursor="metadata")

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        return DesktopOutput(self.free.pop(), mode, self._screen)


def _meta(x: int, y: int) -> bytes:
    return struct.pack("=IIiiiiI", 1, 0, x, y, 0, 0, 28) + _BITMAP


async def _moved(producer: Producer, mode: Mode, moves: int) -> dict[tuple[int, int], int]:
    """Move the pointer, irregularly; return when it went where."""
    went: dict[tuple[int, int], int] = {}
    for number in range(moves):
        await asyncio.sleep(random.uniform(0.03, 0.07))
        place = (number % mode.width, number // mode.width)
        went[place] = monotonic_ns()
        await asyncio.to_thread(producer.give, metas={CURSOR: _meta(*place)})
    await asyncio.sleep(0.5)
    return went


async def _delays_ms(server: Server, mode: Mode, moves: int, folder: Path, *, told: bool) -> list[float]:
    with Producer(server.remote, width=mode.width, height=mode.height) as producer:
        pool = DesktopPool(Pointed(server, producer))
        wishes = {"mode": mode, "cursor": "separate" if told else "painted", "artefacts": folder}
        drawn: dict[tuple[int, int], int] = {}

        def note(pointer: CursorUpdate) -> None:
            drawn.setdefault((pointer.x, pointer.y), monotonic_ns())

        try:
            async with (
                punktfunk.Host(host_config().changed(artefacts=folder / "host"), desktop=pool) as host,
                punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT.model_copy(update=wishes)) as client,
            ):
                frames: list[int] = []
                client.on_progress = lambda progress: frames.append(progress.counters["frames_released"])
                client.cursor.on_change = note
                await soon(lambda: frames and frames[-1] > 0, "the picture")
                went = await _moved(producer, mode, moves)
                client.stop()
                await client.finished()
        finally:
            pool.close()
    if told:
        return [(drawn[place] - at) / 1e6 for place, at in went.items() if place in drawn]
    with np.load(folder / "host" / "records.npz") as records, np.load(folder / "decoded.npz") as decoded:
        captured = dict(zip(records["index"], records["captured_ns"], strict=True))
        ends = zip(decoded["index"], decoded["decode_end_ns"], strict=True)
        shown = [(captured[index], end) for index, end in ends if index in captured]
    first = {place: [end for made, end in shown if made >= at] for place, at in went.items()}
    return [(min(first[place]) - at) / 1e6 for place, at in went.items() if first[place]]


def main() -> None:
    """Print both delays, milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--mode", type=Mode.parse, default=Mode(1280, 720, 60))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            for told in (True, False):
                kept = Path(folder) / ("told" if told else "painted")
                kept.mkdir()
                delays = asyncio.run(_delays_ms(server, options.mode, options.moves, kept, told=told))
                p50, p95, most = np.percentile(delays, [50, 95, 100])
                name = "told beside the picture" if told else "painted into the picture"
                print(
                    f"{name:26} p50 {p50:6.2f}  p95 {p95:6.2f}  max {most:6.2f} ms  ({len(delays)} of {options.moves})"
                )
        finally:
            server.close()


if __name__ == "__main__":
    main()
