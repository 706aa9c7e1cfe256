"""How pictures reach the encoder: handed on where both ends can, mapped or copied elsewhere, always with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import av
import pytest

from punktfunk import log
from punktfunk.errors import DmaBufError, ImportRefusedError, LayoutError, SourceLostError
from punktfunk.host.live import session_info
from punktfunk.host.notices import handed_over
from punktfunk.host.session_report import SessionReport
from punktfunk.host.stream.messages import HandedOver
from punktfunk.log_ring import LogEntry
from punktfunk.media import EncoderConfig, RawFrame, VideoProducer, open_encoder
from punktfunk.media.conversion import in_memory
from punktfunk.media.dma_buf import (
    IMPLICIT,
    LINEAR,
    NV12,
    PACKED,
    XBGR8888,
    XRGB8888,
    Descriptors,
    DmaBuf,
    DmaBufImports,
    DmaBufPlane,
    format_words,
    fourcc,
)
from punktfunk.media.encoders import Encoder
from punktfunk.media.handover import DmaBufOffers, Handover, Way
from punktfunk.media.planes import plane_view
from punktfunk.media.sources.still import StillSource
from punktfunk.media.types import AccessUnit
from punktfunk.mgmt.live import Handover as HandoverInfo
from punktfunk.units import Mode
from tests.support.memory import memory_file, open_descriptors, opened_since

TILED = (1 << 56) + 2
IMPORTS = DmaBufImports({XRGB8888: (TILED, LINEAR), NV12: (TILED,)})
MODE = Mode(320, 240, 60)


@pytest.fixture
def logged() -> Iterator[list[LogEntry]]:
    entries: list[LogEntry] = []
    log.hand_over(entries.append)
    yield entries
    log.reset()


def test_formats_have_the_numbers_of_drm_and_words_of_their_own() -> None:
    assert (XRGB8888, NV12) == (0x34325258, 0x3231564E)
    assert fourcc("AR24") == 0x34325241
    assert format_words(XRGB8888, LINEAR) == "XR24 linear"
    assert format_words(NV12, IMPLICIT) == "NV12 implicit"
    assert format_words(XBGR8888, TILED) == "XB24 modifier 0x100000000000002"
    assert "\x1b" not in format_words(fourcc("\x1b[0m"), LINEAR)


def test_what_the_encoder_imports_is_handed_on_and_what_it_does_not_is_mapped_where_that_can_be() -> None:
    handover = Handover("encoder", IMPORTS)
    assert handover.decision is None
    assert handover.of_dma_buf(XRGB8888, TILED) is Way.IMPORTED
    assert str(handover.decision) == "imported (encoder imports XR24 modifier 0x100000000000002)"
    assert handover.of_dma_buf(XBGR8888, LINEAR) is Way.MAPPED
    assert str(handover.decision) == "mapped (encoder does not import XB24 linear)"
    assert handover.of_dma_buf(XRGB8888, LINEAR, whole=False) is Way.MAPPED
    assert "a part of them" in str(handover.decision)
    assert handover.of_memory(copied=False) is Way.MEMORY
    assert str(handover.decision) == "memory (the desktop gives no DMA-BUF that encoder imports)"
    assert handover.of_memory(copied=True) is Way.COPIED
    assert str(handover.decision).startswith("copied (its memory could be shortened meanwhile; the desktop")
    assert handover.of_dma_buf(XRGB8888, TILED) is Way.IMPORTED


@pytest.mark.parametrize(
    ("code", "modifier", "whole"),
    [(XBGR8888, TILED, True), (NV12, LINEAR, True), (XBGR8888, IMPLICIT, True), (XRGB8888, TILED, False)],
)
def test_a_layout_that_neither_end_can_read_is_refused_with_both_reasons(
    code: int, modifier: int, whole: bool
) -> None:
    handover = Handover("encoder", IMPORTS)
    with pytest.raises(LayoutError) as refused:
        handover.of_dma_buf(code, modifier, whole=whole)
    assert refused.value.code == "PF551"
    assert f"a processor cannot read {format_words(code, modifier)}" in refused.value.cause
    assert ("does not import" if whole else "a part of them") in refused.value.cause
    assert handover.decision is None


@pytest.mark.parametrize(
    ("imports", "works", "reason"),
    [
        (None, (), "encoder imports no DMA-BUFs"),
        (IMPORTS, ("the pointer is drawn", "the marker is read"), "the pointer is drawn"),
    ],
)
def test_where_nothing_can_be_handed_on_nothing_is_offered_for_it_and_the_reason_is_told(
    imports: DmaBufImports | None, works: Sequence[str], reason: str
) -> None:
    handover = Handover("encoder", imports, works)
    assert handover.offers == DmaBufOffers((), tuple(PACKED))
    assert handover.of_memory(copied=False) is Way.MEMORY
    assert str(handover.decision) == f"memory ({reason})"
    assert handover.of_dma_buf(XRGB8888, LINEAR) is Way.MAPPED
    assert str(handover.decision) == f"mapped ({reason})"


def test_what_does_not_have_to_be_done_any_more_is_no_obstacle() -> None:
    handover = Handover("encoder", IMPORTS, ("the pointer is drawn", "the marker is read"))
    for work, needed, changes in (
        ("the pointer is drawn", True, 0),
        ("the pointer is drawn", False, 1),
        ("the pointer is drawn", False, 1),
        ("something else", True, 1),
        ("something else", False, 1),
    ):
        handover.need(work, needed)
        assert handover.changes == changes
    handover.of_memory(copied=False)
    assert str(handover.decision) == "memory (the marker is read)"
    assert handover.offers.imported == ()
    handover.need("the marker is read", False)
    assert handover.of_dma_buf(XRGB8888, TILED) is Way.IMPORTED
    assert handover.offers.imported == ((XRGB8888, (TILED, LINEAR)), (NV12, (TILED,)))
    handover.need("the pointer is drawn", True)
    with pytest.raises(LayoutError, match="the pointer is drawn, and a processor cannot read"):
        handover.of_dma_buf(XRGB8888, TILED)


def test_what_was_refused_is_offered_no_more() -> None:
    handover = Handover("encoder", IMPORTS)
    assert handover.offers == DmaBufOffers(((XRGB8888, (TILED, LINEAR)), (NV12, (TILED,))), tuple(PACKED)), (
        "in the encoder's order"
    )
    assert handover.of_dma_buf(XRGB8888, LINEAR) is Way.IMPORTED
    assert handover.refusal is None
    assert handover.refuse(XRGB8888, LINEAR, "out of surfaces")
    assert type(handover.refusal) is DmaBufError
    assert "did not import XR24 linear: out of surfaces" in handover.refusal.cause
    assert not handover.refuse(XRGB8888, LINEAR, "again")
    assert handover.refuse(NV12, TILED, "no such surface")
    assert type(handover.refusal) is LayoutError
    assert "no such surface, and a processor cannot read NV12" in handover.refusal.cause
    assert handover.changes == 2
    assert handover.offers.imported == ((XRGB8888, (TILED,)),)
    assert handover.of_dma_buf(XRGB8888, LINEAR) is Way.MAPPED
    assert str(handover.decision) == "mapped (encoder did not import XR24 linear: out of surfaces)"
    assert handover.of_memory(copied=False) is Way.MEMORY
    assert "did not import NV12" in str(handover.decision)
    assert handover.refuse(XRGB8888, LINEAR, "no mmap", mapped=True)
    assert not handover.refuse(XRGB8888, LINEAR, "no mmap", mapped=True)
    assert XRGB8888 not in handover.offers.mapped
    assert (type(handover.refusal), handover.refusal.cause) == (DmaBufError, "no mmap")
    with pytest.raises(LayoutError, match="no mmap"):
        handover.of_dma_buf(XRGB8888, LINEAR)


def test_a_refusal_is_logged_once(logged: list[LogEntry]) -> None:
    handover = Handover("encoder", IMPORTS)
    for _ in range(3):
        handover.refuse(XRGB8888, TILED, "out of surfaces")
        handover.refuse(XRGB8888, LINEAR, "no mmap", mapped=True)
    assert [(entry.event, entry.fields["format"], entry.fields["cause"]) for entry in logged] == [
        ("a DMA-BUF is not imported", "XR24 modifier 0x100000000000002", "out of surfaces"),
        ("a DMA-BUF is not mapped", "XR24 linear", "no mmap"),
    ]


def dma_buf(descriptor: int, *, modifier: int = LINEAR, code: int = XRGB8888, **plane: int) -> DmaBuf:
    memory = Descriptors([descriptor])
    fields = {"offset": 64, "stride": MODE.width * 4 + 32, "size": 1 << 20, **plane}
    return DmaBuf(
        MODE.width, MODE.height, code, modifier, (DmaBufPlane(memory.numbers[0], **fields),), memory
    )


GREY = b"\x80" * (1 << 19)


def test_a_linear_dma_buf_can_be_had_in_memory_and_another_cannot() -> None:
    before = open_descriptors()
    for sealed in (True, False):
        with memory_file(GREY, sealed=sealed) as descriptor:
            picture = dma_buf(descriptor)
            converted = in_memory(picture)
            assert (converted.width, converted.height, converted.format.name) == (320, 240, "yuv420p")
            assert int(plane_view(converted, 0).mean()) == 126
            for wrong, error in (
                (dma_buf(descriptor, modifier=TILED), "cannot read XR24 modifier"),
                (dma_buf(descriptor, code=NV12), "cannot read NV12 linear"),
                (dma_buf(descriptor, stride=MODE.width * 4 - 1), "do not fit"),
                (dma_buf(descriptor, offset=1 << 19), "larger than the memory"),
            ):
                with pytest.raises(Exception, match=error):
                    in_memory(wrong)
                wrong.memory.let_go()
            picture.memory.let_go()
            with pytest.raises(DmaBufError, match="has gone"):
                in_memory(picture)
    assert opened_since(before) == []


class DeviceSource:
    """Gives pictures in DMA-BUFs until its handover has refused them, then in memory; ends after ``pictures``."""

    self_paced = False
    counters: Mapping[str, int] = {}

    def __init__(self, handover: Handover, descriptor: int, pictures: int, **layout: Any) -> None:
        self._handover = handover
        self.buffer = dma_buf(descriptor, **layout)
        self._left = pictures
        self.given = 0

    def capture(self) -> RawFrame:
        if not self._left:
            raise SourceLostError("the desktop has gone")
        self._left -= 1
        self.given += 1
        if self._handover.changes:
            self._handover.of_memory(copied=False)
            return RawFrame(av.VideoFrame(MODE.width, MODE.height, "yuv420p"), self.given, 0)
        self._handover.of_dma_buf(self.buffer.fourcc, self.buffer.modifier)
        return RawFrame(self.buffer, self.given, 0)

    def close(self) -> None:
        self.buffer.memory.let_go()


class Refusing:
    """An encoder that says it imports, and does not."""

    imports = IMPORTS

    def __init__(self) -> None:
        self._encoder = open_encoder(EncoderConfig(mode=MODE))
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        if frame.dma_buf is not None:
            self.refused += 1
            raise ImportRefusedError("out of surfaces")
        return self._encoder.encode(frame, key=key)


def test_an_encoder_that_does_not_import_after_all_gets_the_next_picture_in_memory_as_a_key_frame() -> None:
    with memory_file(GREY, sealed=True) as descriptor:
        encoder = Refusing()
        handover = Handover("refusing", IMPORTS)
        source = DeviceSource(handover, descriptor, 3)
        producer = VideoProducer(source, encoder, handover)  # type: ignore[arg-type]  # the rest by __getattr__
        assert producer.handover is None
        unit = producer.produce()
        assert (unit.frame, unit.key, encoder.refused) == (2, True, 1)
        assert str(producer.handover) == "memory (refusing did not import XR24 linear: out of surfaces)"
        assert not producer.produce().key
        producer.close()


def test_a_refusal_that_helps_nothing_ends_the_stream_and_not_in_a_loop() -> None:
    with memory_file(GREY, sealed=True) as descriptor:
        for handover in (None, Handover("refusing", IMPORTS)):
            source = DeviceSource(Handover("another", IMPORTS), descriptor, 5)
            producer = VideoProducer(source, Refusing(), handover)  # type: ignore[arg-type]
            with pytest.raises(ImportRefusedError):
                producer.produce()
            assert source.given == (1 if handover is None else 2)
            producer.close()


def test_an_encoder_of_pictures_in_memory_refuses_a_dma_buf_with_words() -> None:
    with memory_file(GREY, sealed=True) as descriptor:
        encoder: Encoder = open_encoder(EncoderConfig(mode=MODE))
        assert encoder.imports is None
        frame = RawFrame(dma_buf(descriptor), 7, 0)
        with pytest.raises(DmaBufError, match="frame 7 is in a DMA-BUF"):
            encoder.encode(frame)
        encoder.close()
        assert frame.dma_buf is not None
        frame.dma_buf.memory.let_go()


@pytest.mark.parametrize(("modifier", "luma"), [(LINEAR, 126 // 4 + 12), (TILED, 16 // 4 + 12)])
def test_the_last_picture_of_a_source_that_has_gone_is_shown_as_far_as_it_can_be_read(
    modifier: int, luma: int
) -> None:
    before = open_descriptors()
    with memory_file(GREY, sealed=True) as descriptor:
        buffer = dma_buf(descriptor, modifier=modifier)
        still = StillSource(RawFrame(buffer, 0, 0), "").capture()
        assert set(still.luma.ravel()) == {luma}
        assert set(plane_view(still.picture, 1).ravel()) == {128}
        buffer.memory.let_go()
        assert set(StillSource(RawFrame(buffer, 0, 0), "").capture().luma.ravel()) == {16 // 4 + 12}
    assert opened_since(before) == []


def test_the_way_is_in_the_session_s_report_and_in_the_log_once_whatever_a_desktop_does() -> None:
    lines: list[tuple[str, str]] = []

    class Log:
        def info(self, event: str, **fields: str) -> None:
            assert event == "pictures reach the encoder"
            lines.append((fields["way"], fields["reason"]))

    session: Any = SimpleNamespace(log=Log())
    peer: Any = SimpleNamespace(fingerprint=None, address=("192.0.2.1", 1))
    report = SessionReport(1, peer, MODE, None)
    assert session_info(report, "").handover is None
    for number in [0, 0, *range(20), 0]:
        handed_over(session, report, HandedOver("memory", f"reason {number}"))
    assert lines == [("memory", f"reason {number}") for number in range(8)]
    assert session_info(report, "").handover == HandoverInfo("memory", "reason 0")


def test_a_driver_s_reason_is_cut_off_and_printable() -> None:
    handover = Handover("encoder", IMPORTS)
    handover.refuse(XRGB8888, TILED, "\x1b[31m" + "x" * 10_000)
    handover.of_memory(copied=False)
    assert len(str(handover.decision)) < 300
    assert "\x1b" not in str(handover.decision)
