"""The pointer beside the picture, from a producer of PipeWire over the wire to a client: all right, and no frame."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import punktfunk
from punktfunk.cursor import CursorShape, CursorUpdate
from punktfunk.desktop import DesktopOutput
from punktfunk.desktop.capture import PipeWireScreen, open_capture
from punktfunk.desktop.capture.cursor_reporter import straight
from punktfunk.desktop.pipewire import library
from punktfunk.errors import CapabilityError
from punktfunk.host.desktop import DesktopPool
from punktfunk.media.sources import CursorSource
from punktfunk.media.types import RawFrame
from punktfunk.native.framing import frame
from punktfunk.native.handshake import HostCaps
from punktfunk.native.messages import CursorRenderMode
from punktfunk.units import Mode
from tests.e2e.test_desktop_of_another_kind import CLIENT, Blackboard, host_config
from tests.support.pipewire_producer import CURSOR, DAMAGE, METAS, Producer, Server
from tests.support.waiting import eventually, soon

MODE = Mode(640, 360, 30)
SMALL = Mode(320, 180, 60)
STEPS = 150
KEEPALIVE_S = 10
SHAPES = 6
RGBA = 11
WHITE, BLACK = 235, 16
WHITE_SHAPE = CursorShape(8, 8, 4, 2, b"\xff" * 8 * 8 * 4)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    need_tool: Callable[..., str],
    lack: Callable[[str], None],
) -> Iterator[Server]:
    for program in ("pipewire", "wireplumber", "dbus-daemon"):
        need_tool(program, program)
    try:
        library.load()
    except CapabilityError as error:
        lack(f"{error.cause} ({error.hint})")
    running = Server(tmp_path_factory.mktemp("pw"))
    yield running
    running.close()


class Pointed(Blackboard):
    """A desktop whose output is a producer that tells its pointer beside the picture, to streams that ask for that."""

    def __init__(self, server: Server, producer: Producer) -> None:
        super().__init__(outputs=2)
        self.tells_cursor = True
        self.asked: list[bool] = []
        self._server = server
        self._producer = producer

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        self.asked.append(separate_cursor)
        screen = PipeWireScreen(
            node=self._producer.node,
            remote=self._server.remote,
            keepalive_ms=KEEPALIVE_S * 1000,
            cursor="metadata",
        )
        return DesktopOutput(self.free.pop(), mode, screen)


class Pointer:
    """What a compositor tells of its pointer: bitmaps with premultiplied alpha, and places."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._bitmaps = [self._drawn(number) for number in range(SHAPES)]
        self._looks: int | None = None

    def next(self) -> tuple[bytes, CursorUpdate]:
        """Return the meta of the next step, and what a client is to draw then."""
        draw = self._rng.randrange(10)
        if draw == 0:
            self._looks = None
            return bytes(28), CursorUpdate(visible=False)
        x, y = self._rng.randrange(-9, MODE.width + 9), self._rng.randrange(-9, MODE.height + 9)
        look = self._looks if self._looks is not None and draw > 3 else self._rng.randrange(SHAPES)
        pixels, hot = self._bitmaps[look]
        offset = 0 if look == self._looks else 28
        self._looks = look
        meta = struct.pack("=IIiiiiI", 1, 0, x, y, *hot, offset)
        if offset:
            height, width = pixels.shape[:2]
            meta += struct.pack("=IIIiI", RGBA, width, height, width * 4, 20) + pixels.tobytes()
        shape = CursorShape(pixels.shape[1], pixels.shape[0], *hot, straight(pixels).tobytes())
        return meta, CursorUpdate(True, x, y, shape)

    def _drawn(self, number: int) -> tuple[np.ndarray, tuple[int, int]]:
        width, height = self._rng.randrange(1, 65), self._rng.randrange(1, 65)
        pixels = (
            np.frombuffer(self._rng.randbytes(width * height * 4), np.uint8).reshape(height, width, 4).copy()
        )
        pixels[..., :3] = pixels[..., :3].astype(int) * pixels[..., 3:] // 255
        pixels[0, 0] = (number, 0, 0, 255)
        return pixels, (self._rng.randrange(width), self._rng.randrange(height))


def same(shown: CursorUpdate, wanted: CursorUpdate) -> bool:
    """Return whether a pointer is to be seen as wanted; of one that is not, nothing else counts."""
    return shown == wanted if wanted.visible else not shown.visible


async def shown(producer: Producer, client: punktfunk.Client, meta: bytes, wanted: CursorUpdate) -> None:
    """Show one step, and again if PipeWire loses it, as it does while the cycle before is not over; wait for it."""
    for _ in range(10):
        await asyncio.to_thread(producer.give, metas={CURSOR: meta})
        with contextlib.suppress(pytest.fail.Exception):
            await soon(lambda: same(client.cursor.pointer, wanted), "the pointer", 1.0)
            return
    pytest.fail(f"{wanted} is not shown, but {client.cursor.pointer}")


def test_every_shape_and_place_of_a_script_reaches_the_client_and_no_frame_is_sent_for_them(
    server: Server, rng: random.Random
) -> None:
    with Producer(server.remote, width=MODE.width, height=MODE.height) as producer:
        desktop = Pointed(server, producer)
        pool = DesktopPool(desktop)
        pointer = Pointer(rng)

        async def scenario() -> None:
            config = CLIENT.model_copy(update={"mode": MODE, "cursor": "separate", "read_strip": False})
            async with (
                punktfunk.Host(host_config(), desktop=pool) as host,
                punktfunk.Client(f"127.0.0.1:{host.port}", config) as client,
            ):
                assert client.welcome.host_caps == HostCaps.CURSOR
                frames: list[int] = []
                client.on_progress = lambda progress: frames.append(progress.counters["frames_released"])
                await soon(
                    lambda: len(frames) > 1 and frames[-1] == frames[-2] > 0, "a picture that stands still"
                )
                assert desktop.asked == [True]
                drawn: list[CursorUpdate] = []
                client.cursor.on_change = drawn.append
                before, began = frames[-1], time.monotonic()
                script: list[CursorUpdate] = []
                for _ in range(STEPS):
                    meta, wanted = pointer.next()
                    script.append(wanted)
                    await shown(producer, client, meta, wanted)
                reports = len(frames)
                await soon(lambda: len(frames) > reports, "what has come by now")
                lasted = time.monotonic() - began
                still = frames[-1] - before
                assert still <= lasted / KEEPALIVE_S + 1, "those of a picture that stands still"
                print(f"{STEPS} of {STEPS} steps right, {still} frames in {lasted:.1f} s")
                places = [(wanted.x, wanted.y) for wanted in script if wanted.visible]
                went = [(update.x, update.y) for update in drawn if update.visible]
                assert without_repeats(went) == without_repeats(places), (
                    "each place in its turn, and no other"
                )
                shapes = {wanted.shape for wanted in script if wanted.visible}
                assert {update.shape for update in drawn if update.visible} == shapes, "and no other shape"
                [report] = host.live()

                def counted() -> bool:
                    producer.give(np.zeros((MODE.height, MODE.width, 4), np.uint8))
                    given.append(True)
                    return "capture_captured" in report.counters

                given: list[bool] = []
                await soon(counted, "the host's counts, which come with a frame")
                counters = report.counters
                assert counters["capture_cursor_told"] >= len(without_repeats(places))
                begun = producer.states.count(library.STREAM_STREAMING)
                assert counters["capture_captured"] <= begun + len(given), (
                    "of each picture, none of the pointer"
                )
                captured = counters["capture_captured"] + counters["capture_repeated"]
                assert counters["frames_submitted"] == captured
                await painted_again(producer, client, frames)
                client.stop()
                await client.finished()
                [over] = await host.sessions_over(1)
            assert not over.failed, over.stream_reason

        try:
            asyncio.run(asyncio.wait_for(scenario(), 120))
        finally:
            pool.close()


async def painted_again(producer: Producer, client: punktfunk.Client, frames: list[int]) -> None:
    """Have the host paint it, as clients of other authors do: it costs a frame a movement then, and no state."""
    await shown(producer, client, bitmap(8), CursorUpdate(True, 104, 52, WHITE_SHAPE))
    link = client._connection._dialer.link  # type: ignore[union-attr]
    link.send_stream(frame(CursorRenderMode(0).encode()))
    before = frames[-1]

    def gave_a_picture() -> bool:
        producer.give(np.zeros((MODE.height, MODE.width, 4), np.uint8))
        return frames[-1] > before + 1

    await soon(gave_a_picture, "pictures, between which the worker hears of it")
    last, told, moves = frames[-1], client.cursor.pointer, itertools.count()

    def moved() -> bool:
        producer.give(metas={CURSOR: struct.pack("=IIiiiiI", 1, 0, next(moves) % 99, 9, 0, 0, 0)})
        return frames[-1] >= last + 3

    await soon(moved, "frames with the pointer")
    assert client.cursor.pointer == told, "it is told no more"


def without_repeats(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [place for number, place in enumerate(places) if not number or place != places[number - 1]]


def test_a_client_that_has_no_window_to_draw_it_in_has_it_painted(server: Server) -> None:
    with Producer(server.remote, width=MODE.width, height=MODE.height) as producer:
        desktop = Pointed(server, producer)
        pool = DesktopPool(desktop)

        async def scenario() -> None:
            config = CLIENT.model_copy(update={"mode": MODE, "read_strip": False})
            async with (
                punktfunk.Host(host_config(), desktop=pool) as serving,
                punktfunk.Client(f"127.0.0.1:{serving.port}", config) as painted,
            ):
                assert painted.welcome.host_caps == 0
                frames: list[int] = []
                painted.on_progress = lambda progress: frames.append(progress.counters["frames_released"])
                await soon(lambda: frames and frames[-1] > 0, "the picture")
                before = frames[-1]
                meta = struct.pack("=IIiiiiI", 1, 0, 30, 20, 0, 0, 28)
                meta += struct.pack("=IIIiI", RGBA, 1, 1, 4, 20) + b"\xff" * 4

                def moved() -> bool:
                    producer.give(metas={CURSOR: meta})
                    return frames[-1] > before

                await soon(moved, "a frame with the pointer", 30)
                assert "cursor" not in painted.datagrams
                painted.stop()
                [report] = await serving.sessions_over(1)
            assert desktop.asked == [False]
            assert report.counters["capture_cursor_told"] == 0

        try:
            asyncio.run(asyncio.wait_for(scenario(), 60))
        finally:
            pool.close()


def bitmap(side: int) -> bytes:
    """A white pointer at (104, 52) whose hot spot is at (4, 2) of it."""
    return (
        struct.pack("=IIiiiiI", 1, 0, 104, 52, 4, 2, 28)
        + struct.pack("=IIIiI", RGBA, side, side, side * 4, 20)
        + b"\xff" * side * side * 4
    )


def test_a_capture_goes_on_waiting_for_a_picture_while_the_pointer_moves(server: Server) -> None:
    with Producer(server.remote) as producer:
        screen = PipeWireScreen(
            node=producer.node, remote=server.remote, keepalive_ms=10_000, cursor="metadata"
        )
        capture = open_capture(screen, SMALL)
        # However long the steps take beside other programs: no frame is due meanwhile.
        capture._keepalive_ns = 10**12  # type: ignore[attr-defined]
        told: list[CursorUpdate] = []
        frames: list[RawFrame] = []
        assert isinstance(capture, CursorSource)
        capture.separate_cursor(told.append)
        assert int(capture.capture().luma.mean()) == WHITE
        told.clear()
        waiting = threading.Thread(target=lambda: frames.append(capture.capture()))
        waiting.start()
        for number in range(40):
            place = struct.pack("=IIiiiiI", 1, 0, number, 2 * number, 0, 0, 0)
            meta = bitmap(8) if number == 0 else place
            wanted = (104, 52) if number == 0 else (number, 2 * number)

            def moved(meta: bytes = meta, wanted: tuple[int, int] = wanted) -> bool:
                producer.give(metas={CURSOR: meta})
                return bool(told) and (told[-1].x, told[-1].y) == wanted

            eventually(moved, f"the pointer at {wanted}")
            assert not frames, "no frame is made of that"
        assert [update.shape is not None for update in told] == [True] + [False] * 39
        white = np.full((180, 320, 4), 255, np.uint8)
        for number in range(12):
            # As Mutter does with a monitor that has no plane for it: the screen is painted anew beneath it.
            under = {DAMAGE: struct.pack("=iiII", 300 - number, 0, 8, 90)} if number % 2 else {}
            tries = itertools.count()

            def repainted(
                under: dict[int, bytes] = under, x: int = 300 - number, tries: Iterator[int] = tries
            ) -> bool:
                place = struct.pack("=IIiiiiI", 1, 0, x, next(tries) % 90, 0, 0, 0)
                producer.give(white, metas={CURSOR: place, **under}, sequence=number)  # noqa: B023
                return told[-1].x == x and capture.counters["unchanged"] > number  # noqa: B023

            eventually(repainted, "the pointer over a picture painted anew")
            assert not frames, "which is the same"
        producer.give(np.zeros((180, 320, 4), np.uint8))
        waiting.join(30)
        assert int(frames[0].luma.max()) == BLACK, "and it is in none of them"
        capture.close()


def test_it_is_painted_into_the_next_frame_where_it_is_too_large_or_nobody_listens_any_more(
    server: Server,
) -> None:
    metas = {**METAS, CURSOR: 28 + 20 + 128 * 128 * 4}
    with Producer(server.remote, metas=metas) as producer:
        screen = PipeWireScreen(node=producer.node, remote=server.remote, keepalive_ms=200, cursor="metadata")
        capture = open_capture(screen, SMALL)
        assert isinstance(capture, CursorSource)
        told: list[CursorUpdate] = []

        def white(given: np.ndarray | None, meta: bytes) -> int:
            producer.give(given, metas={CURSOR: meta})
            return int((capture.capture().luma == WHITE).sum())

        capture.capture()
        black = np.zeros((180, 320, 4), np.uint8)
        eventually(lambda: white(black, bitmap(8)) == 64, "it to be painted")
        capture.separate_cursor(told.append)
        assert int(capture.capture().luma.max()) == BLACK, "at once, though nothing has changed"
        assert told[-1].visible
        eventually(lambda: white(None, bitmap(128)) == 128 * 128, "one that is too large")
        assert not told[-1].visible, "it would be there twice"
        eventually(lambda: white(None, bitmap(8)) == 0, "one that is not")
        assert told[-1].visible
        capture.separate_cursor(None)
        assert int((capture.capture().luma == WHITE).sum()) == 64
        capture.close()
