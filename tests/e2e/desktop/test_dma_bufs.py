"""Pictures in DMA-BUFs, from a producer through the real PipeWire to an encoder; memory files pose as the buffers."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from punktfunk.desktop import capture
from punktfunk.desktop.capture import PipeWireScreen, open_screen
from punktfunk.desktop.capture.pipewire import PipeWireCapture
from punktfunk.desktop.pipewire import library, pictures
from punktfunk.errors import DmaBufError, LayoutError, SourceLostError
from punktfunk.media import Codec, EncoderConfig, Producer, shared_memory
from punktfunk.media.decoders import open_decoder
from punktfunk.media.dma_buf import LINEAR, DmaBufImports
from punktfunk.media.handover import Way
from punktfunk.units import Mode
from tests.support.importing_encoder import BOTH, UPSIDE_DOWN, ImportingEncoder
from tests.support.memory import open_descriptors, opened_since
from tests.support.pipewire_producer import CROP, Server
from tests.support.pipewire_producer import Producer as PipeWireProducer
from tests.support.waiting import eventually

MODE = Mode(320, 180, 60)
LEVELS = (16, 126, 235)
"""Luma of the pictures' upper, middle and lower third."""


def stripes(mode: Mode = MODE, *, modifier: int | None = None) -> np.ndarray:
    """Return a picture that is not the same upside down, as it lies in memory."""
    third = mode.height // 3
    picture = np.zeros((mode.height, mode.width, 4), np.uint8)
    picture[third : 2 * third], picture[2 * third :] = 128, 255
    return picture[::-1] if modifier == UPSIDE_DOWN else picture


class Stream:
    """A producer of access units whose encoder imports, and what a client sees of it."""

    def __init__(self, producer: Producer, encoder: ImportingEncoder) -> None:
        self.producer, self.encoder = producer, encoder
        self._decoder = open_decoder(Codec.H264)

    def shown(self) -> tuple[int, ...]:
        """Produce and decode the next picture; return the luma of its thirds."""
        unit = self.producer.produce()
        decoded = self._decoder.decode(unit.data)
        assert decoded is not None
        luma, third = decoded.luma, MODE.height // 3
        return tuple(int(np.median(luma[at * third + 8 : (at + 1) * third - 8])) for at in range(3))

    @property
    def way(self) -> Way | None:
        return None if self.producer.handover is None else self.producer.handover.way


@pytest.fixture
def opened(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stream]]:
    """Open a stream of a producer; all are closed at the end, and nothing is left open then."""
    streams: list[Stream] = []

    def opener(producer: PipeWireProducer, imports: DmaBufImports | None = BOTH, **screen: Any) -> Stream:
        encoders: list[ImportingEncoder] = []

        def open_encoder(config: EncoderConfig) -> ImportingEncoder:
            encoders.append(ImportingEncoder(config, imports))
            return encoders[-1]

        monkeypatch.setattr(capture, "open_encoder", open_encoder)
        spec = PipeWireScreen(node=producer.node, remote=server.remote, **screen)
        stream = Stream(open_screen(spec, EncoderConfig(mode=MODE)), encoders[0])
        streams.append(stream)
        return stream

    yield opener
    for stream in streams:
        stream.producer.close()


class Limits:
    """How long a first picture is waited for: two seconds, in place of eleven, once one could not be taken."""

    def __init__(self) -> None:
        self.is_refused = False

    def __iter__(self) -> Iterator[float]:
        late = 0
        while late < 2:
            late += self.is_refused
            yield 1.0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes captures impatient from then on, with a producer whose pictures cannot be taken."""

    def begin() -> None:
        limits, refuse = Limits(), PipeWireCapture._refuse

        def noting(capture: PipeWireCapture, picture: Any, error: DmaBufError) -> None:
            limits.is_refused = True
            refuse(capture, picture, error)

        monkeypatch.setattr(PipeWireCapture, "_refuse", noting)
        monkeypatch.setattr("punktfunk.desktop.capture.pipewire._FIRST_LIMITS_S", limits)

    return begin


@pytest.fixture(autouse=True)
def _nothing_is_left_open(server: Server) -> Iterator[None]:
    with PipeWireProducer(server.remote):
        pass  # what the library opens once and for all
    before = open_descriptors()
    yield
    eventually(lambda: not opened_since(before), "all that was opened is closed again")


def see(stream: Stream, producer: PipeWireProducer, way: Way | None = None, **more: Any) -> None:
    """Give stripes until they are seen, the right way up, and come that way: earlier ones may still be under way."""

    def seen() -> bool:
        producer.give(stripes(modifier=producer.modifier), **more)
        return stream.shown() == pytest.approx(LEVELS, abs=3) and way in {None, stream.way}

    eventually(seen, "stripes")


def settle(stream: Stream, producer: PipeWireProducer) -> None:
    """Give stripes until they are seen, and wait until nothing comes after them that was given before."""

    def settled() -> bool:
        see(stream, producer)
        captured = stream.producer.counters["captured"]
        shown = [stream.shown() for _ in range(10)]
        return stream.producer.counters["captured"] == captured and shown[0] == pytest.approx(LEVELS, abs=3)

    eventually(settled, "stripes that stand still")


def show_until_the_end(stream: Stream, before: Callable[[], object] = lambda: None) -> None:
    """Go on until the source ends, which raises."""
    for _ in range(1000):
        before()
        stream.shown()


def test_what_the_encoder_imports_is_handed_on_without_being_read(
    server: Server, opened: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        pytest.fail("memory was opened to be read")

    monkeypatch.setattr(pictures, "open_memory", fail)
    for order in ([LINEAR, UPSIDE_DOWN], [UPSIDE_DOWN, LINEAR]):
        with PipeWireProducer(server.remote, modifiers=order, memory_too=True) as producer:
            stream = opened(producer)
            see(stream, producer)
            assert producer.chosen == order[:1], "the producer's choice"
            assert stream.way is Way.IMPORTED
            black = np.zeros((MODE.height, MODE.width, 4), np.uint8)
            eventually(
                lambda: producer.give(black, chunk={"size": 0}) or set(stream.shown()) == {16},  # noqa: B023
                "a picture, for the size of a chunk says nothing of a DMA-BUF",
            )
            assert all(frame.dma_buf is not None for frame in stream.encoder.frames)
            stream.producer.close()


def test_a_picture_on_a_screen_that_stands_still_is_given_again_and_its_buffer_not_drawn_into(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, modifiers=[UPSIDE_DOWN]) as producer:
        stream = opened(producer, keepalive_ms=20)

        def stands_still() -> bool:
            settle(stream, producer)
            held, counters = stream.encoder.frames[-1].dma_buf, stream.producer.counters
            for _ in range(4):
                assert stream.shown() == pytest.approx(LEVELS, abs=3)
                if stream.producer.counters["captured"] > counters["captured"]:
                    return False  # one that was given before comes late
                assert stream.encoder.frames[-1].dma_buf is held
            assert stream.producer.counters["repeated"] == counters["repeated"] + 4
            return True

        eventually(stands_still, "a screen that stands still")
        corrupted = stream.producer.counters["corrupted"]

        def is_left_out() -> bool:
            producer.give(np.zeros((180, 320, 4), np.uint8), chunk={"flags": library.CHUNK_CORRUPTED})
            assert stream.shown() == pytest.approx(LEVELS, abs=3), "what is held is not drawn into"
            return stream.producer.counters["corrupted"] > corrupted + 8

        eventually(is_left_out, "pictures that are left out, more than there are buffers")
        for _ in range(20):  # more than there are buffers: each goes back with the next
            see(stream, producer)
        assert 2 <= len(stream.encoder.seen) <= 8


def test_an_encoder_of_pictures_in_memory_gets_them_from_a_producer_that_has_both(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, modifiers=[LINEAR], memory_too=True) as producer:
        stream = opened(producer, None)
        see(stream, producer)
        assert producer.chosen == [None]
        assert str(stream.producer.handover) == "memory (x264 imports no DMA-BUFs)"


@pytest.mark.parametrize("sealed", [True, False])
def test_a_producer_that_has_linear_dma_bufs_alone_is_read_by_the_processor(
    server: Server, opened: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    told: list[int] = []
    kernel = fcntl.ioctl

    def ioctl(descriptor: int, request: int, argument: Any) -> Any:
        told.append(struct.unpack("=Q", argument)[0])
        return kernel(descriptor, request, argument)

    monkeypatch.setattr(shared_memory.fcntl, "ioctl", ioctl)
    with PipeWireProducer(server.remote, modifiers=[UPSIDE_DOWN, LINEAR], sealed=sealed) as producer:
        stream = opened(producer, None)
        see(stream, producer)
        assert producer.chosen == [LINEAR]
        assert str(stream.producer.handover) == "mapped (x264 imports no DMA-BUFs)"
        # The pictures' memory files are no devices, which the kernel says; the others are not mapped at all.
        assert set(told) == ({1, 5} if sealed else set())
        assert told[::2] == [1] * (len(told) // 2)


def test_what_has_to_be_looked_at_or_drawn_into_comes_in_memory(
    server: Server, opened: Callable[..., Stream]
) -> None:
    for screen, reason in (
        ({"cursor": "metadata"}, "the pointer is drawn into the picture"),
        ({"read_marker": True}, "the frame marker is read"),
    ):
        with PipeWireProducer(server.remote, modifiers=[LINEAR], memory_too=True) as producer:
            stream = opened(producer, **screen)
            see(stream, producer)
            assert producer.chosen == [None]
            assert str(stream.producer.handover) == f"memory ({reason})"
            stream.producer.close()


def test_pictures_are_handed_on_while_the_client_draws_the_pointer_and_once_at_most(
    server: Server, opened: Callable[..., Stream]
) -> None:
    """A pointer may be too large for the client now and then, and each change is a new format."""
    with PipeWireProducer(server.remote, modifiers=[UPSIDE_DOWN], memory_too=True) as producer:
        stream = opened(producer, cursor="metadata")
        for listener, chosen in (
            (None, [None]),
            (lambda _: None, [None, UPSIDE_DOWN]),
            (None, [None, UPSIDE_DOWN, None]),
            (lambda _: None, [None, UPSIDE_DOWN, None]),
        ):
            stream.producer.separate_cursor(listener)
            see(stream, producer, Way.MEMORY if chosen[-1] is None else Way.IMPORTED)
            assert producer.chosen == chosen
        assert "the pointer is drawn into the picture" in str(stream.producer.handover)


def test_a_screen_of_another_size_comes_in_memory_and_is_scaled(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(
        server.remote, width=640, height=360, modifiers=[LINEAR], memory_too=True
    ) as producer:
        stream = opened(producer)
        producer.wait_until_wanted()
        stream.shown()
        assert (producer.chosen, producer.size) == ([None], (640, 360))
        assert "gives no DMA-BUF that x264 imports" in str(stream.producer.handover)


def test_a_part_of_the_right_size_is_no_whole_picture(server: Server, opened: Callable[..., Stream]) -> None:
    """An encoder that imports linear DMA-BUFs gets none that is larger than what is to be shown."""
    large = Mode(640, 540, 60)
    with PipeWireProducer(server.remote, width=640, height=540, modifiers=[LINEAR]) as producer:
        stream = opened(producer)
        middle = {CROP: struct.pack("=iiII", 100, 185, 320, 170)}
        lower = {CROP: struct.pack("=iiII", 100, 360, 320, 180)}
        for part, level in ((middle, LEVELS[1]), (lower, LEVELS[2])):

            def seen() -> bool:
                producer.give(stripes(large), metas=part)  # noqa: B023
                return stream.shown() == pytest.approx((level,) * 3, abs=3)  # noqa: B023

            eventually(seen, "the part")
            assert stream.way is Way.MAPPED
        assert all(frame.dma_buf is None for frame in stream.encoder.frames)


def test_what_an_encoder_does_not_import_after_all_comes_the_next_best_way(
    server: Server, opened: Callable[..., Stream]
) -> None:
    """Each refusal has the producer choose again, until there is nothing but memory."""
    with PipeWireProducer(server.remote, modifiers=[UPSIDE_DOWN, LINEAR], memory_too=True) as producer:
        stream = opened(producer)
        stream.encoder.refuses = {UPSIDE_DOWN}
        see(stream, producer, Way.IMPORTED)
        assert producer.chosen == [UPSIDE_DOWN, LINEAR]
        stream.encoder.refuses = {UPSIDE_DOWN, LINEAR}
        see(stream, producer, Way.MEMORY)
        assert producer.chosen == [UPSIDE_DOWN, LINEAR, None]
        assert str(stream.producer.handover) == "memory (x264 did not import XR24 linear: out of surfaces)"


def test_a_linear_dma_buf_that_is_not_imported_is_mapped_where_the_producer_has_no_memory(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, modifiers=[LINEAR]) as producer:
        stream = opened(producer)
        stream.encoder.refuses = {LINEAR}
        see(stream, producer, Way.MAPPED)
        assert str(stream.producer.handover) == "mapped (x264 did not import XR24 linear: out of surfaces)"


def test_a_layout_that_nobody_can_read_is_refused_with_the_reason(
    server: Server, opened: Callable[..., Stream], impatient: Callable[[], None]
) -> None:
    impatient()
    with PipeWireProducer(server.remote, modifiers=[UPSIDE_DOWN]) as producer:
        stream = opened(producer)
        stream.encoder.refuses = {UPSIDE_DOWN}
        with pytest.raises(SourceLostError) as lost:
            stream.shown()
        assert isinstance(lost.value.__cause__, LayoutError)
        assert "x264 did not import XR24 modifier" in lost.value.cause
        assert "a processor cannot read XR24 modifier" in lost.value.cause
        assert "copy its pictures into memory" in lost.value.hint


def test_a_part_of_a_picture_that_only_the_encoder_could_read_is_asked_for_in_memory(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, modifiers=[UPSIDE_DOWN], memory_too=True) as producer:
        stream = opened(producer, keepalive_ms=10)
        see(stream, producer)
        part = {CROP: struct.pack("=iiII", 0, 60, 320, 60)}

        def cut() -> bool:
            producer.give(stripes(), metas=part)
            return stream.shown() == pytest.approx((LEVELS[1],) * 3, abs=3)

        eventually(cut, "the part of the picture")
        assert producer.chosen == [UPSIDE_DOWN, None]
        assert "a part of them is shown" in str(stream.producer.handover)


def test_a_part_of_a_linear_picture_is_cut_out_by_the_processor_and_the_whole_handed_on_again(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, modifiers=[LINEAR]) as producer:
        stream = opened(producer)
        see(stream, producer)
        source = stream.producer._source  # type: ignore[attr-defined]
        assert source._held is not None
        see(stream, producer, Way.MAPPED, metas={CROP: struct.pack("=iiII", 1, 1, 318, 178)})
        assert source._held is None, "nothing is kept back that is not needed"
        see(stream, producer, Way.IMPORTED)
        assert producer.chosen == [LINEAR]


def test_a_mapping_that_fails_is_refused_and_memory_asked_for(
    server: Server,
    opened: Callable[..., Stream],
    monkeypatch: pytest.MonkeyPatch,
    impatient: Callable[[], None],
) -> None:
    opener = shared_memory.open_memory

    def fails(*arguments: Any, dma_buf: bool = False) -> Any:
        if dma_buf:
            raise DmaBufError("a DMA-BUF of the desktop cannot be mapped: No such device")
        return opener(*arguments)

    monkeypatch.setattr(pictures, "open_memory", fails)
    with PipeWireProducer(server.remote, modifiers=[LINEAR], memory_too=True) as producer:
        stream = opened(producer)
        stream.encoder.refuses = {LINEAR}
        see(stream, producer, Way.MEMORY)
        stream.producer.close()  # the next node may get the same number
    impatient()
    with PipeWireProducer(server.remote, modifiers=[LINEAR]) as producer:
        stream = opened(producer, None)
        with pytest.raises(SourceLostError, match="No such device"):
            stream.shown()


def test_a_producer_that_goes_leaves_its_last_picture_and_no_descriptor(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, modifiers=[LINEAR]) as producer:
        stream = opened(producer, keepalive_ms=20)
        settle(stream, producer)
    with pytest.raises(SourceLostError, match="has gone"):
        show_until_the_end(stream)
    assert stream.producer.hold()
    dark = tuple(level // 4 + 12 for level in LEVELS)
    eventually(lambda: stream.shown() == pytest.approx(dark, abs=4), "the last picture, dark")
    assert stream.producer.handover is None


def test_memory_that_could_be_shortened_is_copied_and_its_end_is_told(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, sealed=False) as producer:
        stream = opened(producer)
        see(stream, producer)
        assert stream.way is Way.COPIED
        assert "could be shortened" in str(stream.producer.handover)
        producer.shorten()
        with pytest.raises(SourceLostError, match="became shorter"):
            show_until_the_end(stream, lambda: producer.give(None, chunk={"size": 320 * 180 * 4}))


def test_a_capture_in_another_mode_takes_over_what_is_handed_on_and_gives_all_back(
    server: Server, opened: Callable[..., Stream]
) -> None:
    with PipeWireProducer(server.remote, any_size=True, modifiers=[LINEAR]) as producer:
        former = opened(producer, sized=True)
        see(former, producer)
        later = opened(producer, None, sized=True)
        assert later.shown()
        former.shown()
        former.producer.close()
        see(later, producer, Way.MAPPED)
