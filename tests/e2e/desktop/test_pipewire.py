"""The consumer of PipeWire's video beside a real server: what a producer gives arrives, and no lie of its harms."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import punktfunk
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import DesktopOutput
from punktfunk.desktop.capture import PipeWireScreen, open_capture
from punktfunk.desktop.pipewire import library
from punktfunk.desktop.pipewire.formats import Wish
from punktfunk.desktop.pipewire.stream import PipeWireStream
from punktfunk.errors import DesktopError, MediaError
from punktfunk.host.desktop import DesktopPool
from punktfunk.media import RawFrame, VideoSource, frame_marker
from punktfunk.units import Mode
from tests.e2e.test_desktop_of_another_kind import CLIENT, Blackboard, host_config, seen
from tests.support.pipewire_producer import CROP, CURSOR, DAMAGE, Producer, Server
from tests.support.waiting import eventually

MODE, OTHER = Mode(320, 180, 60), Mode(480, 270, 60)
WHITE, BLACK = 235, 16


def grey(level: int, mode: Mode = MODE) -> np.ndarray:
    return np.full((mode.height, mode.width, 4), level, np.uint8)


def opened(server: Server, producer: Producer, mode: Mode = MODE, **more: object) -> VideoSource:
    screen = PipeWireScreen(node=producer.node, remote=server.remote, keepalive_ms=1000, **more)  # type: ignore[arg-type]
    return open_capture(screen, mode)


def first(capture: VideoSource) -> RawFrame:
    """Return the picture that a producer gives when it begins."""
    frame = capture.capture()
    assert int(frame.luma.mean()) == WHITE
    return frame


def shown(
    producer: Producer, capture: VideoSource, pixels: np.ndarray | None = None, **more: Any
) -> RawFrame:
    """Give a picture and return what is captured of it; once more where PipeWire loses it.

    What was given before may come late: a first picture that is asked for again, or what was taken for lost.
    """
    taken, began = capture.counters["captured"], monotonic_ns()

    def captured() -> RawFrame | None:
        producer.give(pixels, **more)
        frame = capture.capture()
        is_new = capture.counters["captured"] > taken and frame.captured_ns >= began
        return frame if is_new and frame.captured_ns not in producer.first_stamps else None

    return eventually(captured, "what was given") or pytest.fail("nothing")


def drain(capture: VideoSource) -> None:
    for _ in range(30):
        capture.capture()


def test_pictures_arrive_with_their_time_and_the_newest_is_kept_while_nobody_takes_any(
    server: Server,
) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        frame = first(capture)
        assert (frame.picture.width, frame.picture.height, int(frame.luma.mean())) == (320, 180, WHITE)
        stamps = [producer.given_ns]
        stream = capture._stream  # type: ignore[attr-defined]

        def waits() -> bool:
            return stream._waiting is not None and stream._waiting.stamp_ns == producer.given_ns

        producer.deliver(grey(0), waits)
        left_out = capture.counters["left_out"]
        for number in range(1, 20):  # more than there are buffers: the older ones have to go back
            producer.given_ns = 0  # the one before waits, and is not this one
            producer.deliver(grey(number * 10), waits)
            stamps.append(producer.given_ns)
        assert capture.counters["left_out"] >= left_out + 19, "each but the newest"
        frame = capture.capture()
        assert (frame.captured_ns, frame.frame) == (stamps[-1], 1)
        assert int(frame.luma.mean()) == pytest.approx(BLACK + 190 * 219 / 255, abs=1)
        unstamped = shown(producer, capture, grey(0), pts=0)
        assert stamps[-1] < unstamped.captured_ns <= unstamped.converted_ns, "when it came"
        capture.close()


def test_a_first_picture_that_came_too_early_is_asked_for_again(server: Server) -> None:
    with Producer(server.remote, silent_starts=1) as producer:
        capture = opened(server, producer)
        first(capture)
        capture.close()


def test_a_part_is_cut_out_where_the_producer_says_so_and_scaled_to_the_mode(server: Server) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        first(capture)
        picture = grey(0)
        picture[40:130, 60:220] = 255
        frame = shown(producer, capture, picture, metas={CROP: struct.pack("=iiII", 60, 40, 160, 90)})
        assert (frame.luma.shape, int(frame.luma.min())) == ((180, 320), WHITE)
        capture.close()


def test_a_pointer_that_is_told_beside_the_picture_is_drawn_and_moves_without_one(server: Server) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer, cursor="metadata")
        first(capture)
        bitmap = struct.pack("=IIIiI", 11, 16, 8, 64, 20) + b"\xff" * 16 * 8 * 4
        place = struct.pack("=IIiiiiI", 1, 0, 104, 52, 4, 2, 28)
        frame = shown(producer, capture, grey(0), metas={CURSOR: place + bitmap})
        assert set(frame.luma[50:58, 100:116].ravel()) == {WHITE}
        assert int((frame.luma == WHITE).sum()) == 16 * 8
        frame = shown(producer, capture, metas={CURSOR: struct.pack("=IIiiiiI", 1, 0, 24, 12, 0, 0, 0)})
        assert set(frame.luma[10:18, 20:36].ravel()) == {WHITE}
        assert int((frame.luma == WHITE).sum()) == 16 * 8, "and it is where it was no more"
        assert set(shown(producer, capture, metas={CURSOR: bytes(28)}).luma.ravel()) == {BLACK}
        assert capture.counters["empty"] >= 2
        capture.close()


def test_a_producer_that_resizes_goes_on_being_captured(server: Server) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        first(capture)
        producer.offer(200, 100)
        eventually(lambda: producer.size == (200, 100), "the other size")
        first(capture)
        frame = shown(producer, capture, grey(0, Mode(200, 100, 60)))
        assert (frame.luma.shape, int(frame.luma.mean())) == ((180, 320), BLACK)
        capture.close()


def test_a_capture_in_another_mode_takes_the_stream_over_and_the_producer_follows(server: Server) -> None:
    with Producer(server.remote, any_size=True) as producer:
        former = opened(server, producer, sized=True)
        first(former)
        assert producer.size == (320, 180)
        producer.silent_starts = 1
        later = opened(server, producer, OTHER, sized=True)
        eventually(lambda: producer.size == (480, 270), "the size that is asked for now")
        producer.wait_until_wanted()
        stream = later._stream  # type: ignore[attr-defined]
        producer.deliver(grey(0, OTHER), lambda: stream.counters.received > 1)
        assert int(former.capture().luma.mean()) == WHITE, "what comes now is not for the one before"
        former.close()
        frame = later.capture()
        assert (frame.luma.shape, int(frame.luma.mean())) == ((270, 480), BLACK)
        later.close()


def test_a_capture_that_takes_over_a_screen_that_stands_still_begins_with_what_is_there(
    server: Server,
) -> None:
    with Producer(server.remote) as producer:
        former = opened(server, producer)
        first(former)
        later = opened(server, producer, OTHER)
        former.close()
        frame = later.capture()
        assert (frame.luma.shape, int(frame.luma.mean())) == ((270, 480), WHITE)
        taken = later.counters["captured"]
        eventually(lambda: later.capture() and later.counters["captured"] > taken, "a picture of its own")
        later.close()


@pytest.mark.parametrize(
    "chunk",
    [
        {"size": 1},
        {"offset": 4},
        {"offset": 0xFFFF_FFFF},
        {"stride": 0x7FFF_FFFF},
        {"stride": -1280},
        {"stride": 1279},
        {"flags": library.CHUNK_CORRUPTED},
    ],
)
def test_a_picture_that_is_not_all_there_is_left_out_and_the_next_one_shown(
    server: Server, chunk: dict[str, int]
) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        first(capture)
        producer.deliver(grey(255), lambda: capture.counters["corrupted"] >= 1, chunk=chunk)
        nonsense = {DAMAGE: b"\xff" * 64, CROP: b"\xff" * 16, CURSOR: b"\xff" * 48}
        assert int(shown(producer, capture, grey(0), metas=nonsense).luma.mean()) == BLACK
        capture.close()


def lie(**values: int) -> Callable[[library.Data], None]:
    def told(data: library.Data) -> None:
        for name, value in values.items():
            setattr(data, name, value)

    return told


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (lie(maxsize=1 << 20), "larger than the memory behind it"),
        (lie(maxsize=0xFFFF_FFFF), "a buffer of 4294967295 bytes"),
        (lie(mapoffset=4096), "larger than the memory behind it"),
        (lie(type=3), "were not agreed on"),
    ],
)
def test_a_buffer_that_lies_about_its_memory_ends_the_capture_with_words(
    server: Server, told: Callable[[library.Data], None], words: str
) -> None:
    with Producer(server.remote, lie=told) as producer:
        capture = opened(server, producer)
        with pytest.raises(MediaError, match=words):
            capture.capture()
        capture.close()


def test_a_producer_of_dma_bufs_alone_is_refused_with_the_reason(server: Server) -> None:
    with Producer(server.remote, modifiers=[0]) as producer:
        stream = PipeWireStream(producer.node, Wish.of(MODE, exact=False), remote=server.remote)
        try:
            assert stream.wait(1.0) is None
            refused = stream.silence()  # session managers of Debian 12 do not always tell
        except MediaError as told:
            refused = told
        finally:
            stream.close()
        assert "no pictures that can be taken" in refused.cause
        assert "DMA-BUF" in refused.hint


def test_the_end_of_the_node_and_of_the_server_is_told_and_a_new_capture_works_again(server: Server) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        first(capture)
    with pytest.raises(MediaError, match="has gone") as told:
        drain(capture)
    assert "pipewire" in told.value.hint
    capture.close()

    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        first(capture)
        server.stop()
        with pytest.raises(MediaError, match="PipeWire has ended"):
            drain(capture)
        with pytest.raises(DesktopError, match="does not answer"):
            open_capture(PipeWireScreen(node=1, remote=server.remote), MODE)
        server.start()
        with Producer(server.remote) as anew:

            def captured_again() -> bool:
                again = opened(server, anew)
                try:
                    first(again)
                except MediaError:  # the session manager is not up yet
                    return False
                finally:
                    again.close()
                return True

            eventually(captured_again, "pictures of the server that runs now")
        capture.close()


class Portal(Blackboard):
    """A desktop whose screen is reached by connections that it opens itself."""

    def __init__(self, server: Server, producer: Producer) -> None:
        super().__init__()
        self._server = server
        self._producer = producer
        self.opened: list[str] = []

    def _shown(self, what: str, name: str, mode: Mode) -> DesktopOutput:
        self.done.append(f"{what} {mode}")
        screen = PipeWireScreen(node=self._producer.node, remote="/nowhere", sized=True)
        return DesktopOutput(name, mode, screen, self._open)

    def _open(self) -> int:
        descriptor = self._server.connection()
        self.opened.append(_name(Path(f"/proc/self/fd/{descriptor}")))
        return descriptor


def _name(descriptor: Path) -> str:
    """Return what an open descriptor is of, such as ``socket:[4711]``; "" for one that is open no more."""
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


def card(number: int, width: int, height: int) -> np.ndarray:
    luma = np.full((height, width), 80, np.uint8)
    frame_marker.draw(luma, frame=number, time_us=number)
    return np.repeat(luma[..., None], 4, axis=2)


def test_a_worker_gets_a_connection_that_the_desktop_opens_with_its_order_and_with_each_change_of_mode(
    server: Server,
) -> None:
    mode, other = Mode(640, 360, 30), Mode(960, 540, 30)
    with Producer(server.remote, any_size=True) as producer:
        portal, over = Portal(server, producer), threading.Event()
        pool = DesktopPool(portal)

        def draw() -> None:
            number = 0
            while not over.wait(1 / 30):
                if producer.is_wanted:
                    number += 1
                    producer.give(card(number, *producer.size))

        async def scenario() -> None:
            config = CLIENT.model_copy(update={"mode": mode})
            async with (
                punktfunk.Host(host_config(), desktop=pool) as host,
                punktfunk.Client(f"127.0.0.1:{host.port}", config) as client,
            ):
                await seen(client, 5)
                answer = await client.request_mode(other)
                assert (answer.accepted, answer.mode) == (True, other)
                await seen(client, 5)
                assert producer.size == (960, 540)
                client.stop()
                await client.finished()
                [report] = await host.sessions_over(1)
                assert not report.failed, report.stream_reason
                assert report.handover == ("memory", "x264 imports no DMA-BUFs")

        drawing = threading.Thread(target=draw)
        drawing.start()
        try:
            asyncio.run(asyncio.wait_for(scenario(), 60))
        finally:
            over.set()
            drawing.join()
            pool.close()
    assert len(portal.opened) == 2, "one for the worker, and one for the other mode"
    here = set(map(_name, Path("/proc/self/fd").iterdir()))
    assert not here & set(portal.opened), "and none of them stays here"


def test_a_screen_that_is_not_there_is_not_replaced_by_a_camera(server: Server) -> None:
    with Producer(server.remote) as camera:
        capture = open_capture(PipeWireScreen(node=camera.node + 4321, remote=server.remote), MODE)
        try:
            with pytest.raises(MediaError):
                capture.capture()
        finally:
            capture.close()
        assert library.STREAM_STREAMING not in camera.states


@pytest.mark.parametrize("sealed", [True, False])
def test_only_what_has_changed_is_converted_where_the_producer_says_so_and_no_picture_was_lost(
    server: Server, sealed: bool
) -> None:
    tall = Mode(320, 400, 60)
    with Producer(server.remote, height=400, sealed=sealed) as producer:
        capture = opened(server, producer, tall)
        first(capture)
        picture = grey(255, tall)
        shown(producer, capture, picture, sequence=7)
        picture[10:20] = 0
        damage = {DAMAGE: struct.pack("=iiII", 0, 10, 320, 10)}
        for sequence, partly in ((8, True), (9, True), (11, False)):
            before = capture.counters["partly_converted"]
            frame = shown(producer, capture, picture, sequence=sequence, metas=damage)
            assert set(frame.luma[10:20].ravel()) == {BLACK}
            assert int((frame.luma == WHITE).sum()) == 320 * 390
            assert (capture.counters["partly_converted"] > before) is partly
        capture.close()


def test_buffers_go_back_although_pipewires_loop_has_no_time(server: Server) -> None:
    with Producer(server.remote) as producer:
        capture = opened(server, producer)
        first(capture)
        stream = capture._stream  # type: ignore[attr-defined]
        with stream._locked():  # the loop's own thread waits for this
            for number in range(12):  # more than there are buffers
                before = stream.counters.received
                producer.deliver(grey(number), lambda: stream.counters.received > before)  # noqa: B023
        capture.close()
