"""Time how late the host's pointer is at a client: told beside the picture, and painted into it.

A producer of PipeWire moves its pointer over a picture that stands still; host and client are on this machine, so that
no network is in the figures. *Told* is from the movement until the client's window could draw it, *painted* until the
picture that shows it is decoded. Where the user's own pointer is over the window neither is to be seen: it has the
host's shape, and is where the user has moved it. The two take turns, in sessions of their own. A movement that is not
seen (PipeWire loses one now and then) is in no figure but the count. Prints figures, judges nothing.

    python tests/bench/cursor.py [--moves 200] [--turns 2] [--mode 1280x720@60]
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
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
        # A picture that is given again would pass for one that shows the movement before.
        self._screen = PipeWireScreen(
            node=producer.node, remote=server.remote, cursor="metadata", keepalive_ms=500
        )

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
    moves_ns = sorted(went.values())
    seen: dict[int, int] = {}
    for made, end in sorted(shown):
        if before := bisect.bisect_right(moves_ns, made):
            seen.setdefault(moves_ns[before - 1], end)
    return [(end - at) / 1e6 for at, end in seen.items()]


def _row(name: str, delays: list[float], moves: int) -> str:
    figures = (
        [f"{figure:8.2f}" for figure in np.percentile(delays, [50, 95, 100])] if delays else ["       -"] * 3
    )
    return f"{name:24}{''.join(figures)}   {len(delays)} of {moves}"


def main() -> None:
    """Print both delays, milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=200, help="of each")
    parser.add_argument("--turns", type=int, default=2, help="sessions that they are shared out among")
    parser.add_argument("--mode", type=Mode.parse, default=Mode(1280, 720, 60))
    options = parser.parse_args()
    delays: dict[bool, list[float]] = {True: [], False: []}
    each = -(-options.moves // options.turns)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            for turn in range(options.turns):
                for told, found in delays.items():
                    kept = Path(folder) / f"{turn}-{told}"
                    kept.mkdir()
                    found.extend(asyncio.run(_delays_ms(server, options.mode, each, kept, told=told)))
        finally:
            server.close()
    print(f"{'pointer, ms':24}     p50     p95     max   movements seen")
    print(_row("told beside the picture", delays[True], each * options.turns))
    print(_row("painted into the picture", delays[False], each * options.turns))


if __name__ == "__main__":
    main()
