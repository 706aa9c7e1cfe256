"""What Moonlight clients need of a bitstream (gamestream section 7.5), of every encoder that makes it here."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from punktfunk.media import (
    AccessUnit,
    Codec,
    EncoderConfig,
    FileSpec,
    TestCardSpec,
    open_producer,
    open_source,
)
from punktfunk.media.bitstream import slice_start, unit_types, without_user_data
from punktfunk.media.planes import plane_view
from punktfunk.media.types import BT709, Colours
from punktfunk.units import Bitrate, Mode

SETS = {Codec.H264: [7, 8], Codec.HEVC: [32, 33, 34]}
SLICES = {Codec.H264: {5}, Codec.HEVC: {19, 20}}
SMALLEST_PACKET = 256 - 16 - 8
"""Bitstream in the first packet of a frame at the smallest packet size that is taken."""


def pictures(encoder: str, *, slices: int = 1, colours: Colours = BT709) -> tuple[Codec, list[AccessUnit]]:
    """Six pictures, of which the first and the fourth are key frames."""
    config = EncoderConfig(
        encoder=encoder, mode=Mode(640, 368, 60), bitrate=Bitrate(5_000_000), slices=slices, colours=colours
    )
    producer = open_producer(TestCardSpec(), config)
    units = []
    try:
        for number in range(6):
            if number == 3:
                producer.request_key()
            units.append(producer.produce())
        assert producer.codec is not None
        return producer.codec, units
    finally:
        producer.close()


@pytest.mark.conformance(55)
@pytest.mark.parametrize("encoder", ["x264", "x265"])
def test_parameter_sets_and_the_start_of_the_first_slice_are_in_the_first_packet(encoder: str) -> None:
    codec, units = pictures(encoder)
    assert [unit.key for unit in units] == [True, False, False, True, False, False]
    for unit in units:
        assert slice_start(codec, unit.data) + 5 <= SMALLEST_PACKET
        assert unit.data.startswith((b"\0\0\1", b"\0\0\0\1"))
        kinds = unit_types(codec, unit.data)
        if unit.key:
            assert kinds[: len(SETS[codec])] == SETS[codec]
            assert set(kinds[len(SETS[codec]) :]) <= SLICES[codec]
        else:
            assert set(kinds) == {1}


def test_a_temporal_unit_of_av1_has_its_delimiter_and_with_a_key_frame_its_sequence_header() -> None:
    codec, units = pictures("svt-av1")
    kinds = [unit_types(codec, unit.data) for unit in units]
    assert kinds == [[2, 1, 6], [2, 6], [2, 6], [2, 1, 6], [2, 6], [2, 6]]


@pytest.mark.parametrize("slices", [1, 4])
def test_a_picture_of_x264_has_as_many_slices_as_the_client_wants(slices: int) -> None:
    codec, units = pictures("x264", slices=slices)
    for unit in units:
        assert sum(kind in {1, 5} for kind in unit_types(codec, unit.data)) >= slices


@pytest.mark.conformance(60)
@pytest.mark.parametrize("encoder", ["x264", "x265"])
def test_decoders_need_not_wait_for_pictures_out_of_order(encoder: str) -> None:
    codec, units = pictures(encoder)
    decoder = av.CodecContext.create(str(codec), "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_type = "SLICE"  # threads of pictures would hold some back themselves
    decoded = [len(decoder.decode(av.Packet(unit.data))) for unit in units]
    # A decoder that had to reorder would give the first picture with a later one.
    assert decoded[0] + decoded[1] >= 1
    assert sum(decoded) + len(decoder.decode(None)) == len(units)
    assert not decoder.has_b_frames


def test_messages_for_nobody_are_left_out_and_all_else_stays_as_it_is() -> None:
    sps, pps, idr = b"\0\0\0\1\x67abc", b"\0\0\0\1\x68de", b"\0\0\1\x65slice\0\0\1\x65more"
    user, recovery = b"\0\0\1\x06\x05\x03xyz\x80", b"\0\0\1\x06\x06\x01\xc4\x80"
    assert without_user_data(sps + pps + user + idr) == sps + pps + idr
    assert without_user_data(user + sps + user + pps + recovery + idr) == sps + pps + recovery + idr
    assert without_user_data(sps + pps + recovery + idr) == sps + pps + recovery + idr
    assert without_user_data(idr + user) == idr + user, "not behind the first slice"
    assert without_user_data(b"") == b""
    assert without_user_data(b"no start code") == b"no start code"
    assert slice_start(Codec.H264, sps + pps + idr) == len(sps + pps)
    assert slice_start(Codec.H264, sps + b"\0\0\0\1\x65") == len(sps)
    assert slice_start(Codec.H264, sps) == len(sps)


@pytest.mark.conformance(62)
@pytest.mark.parametrize("encoder", ["x264", "x265", "svt-av1"])
@pytest.mark.parametrize(
    ("colours", "said"),
    [
        (Colours("bt601"), (6, 6, 6, 1)),
        (BT709, (1, 1, 1, 1)),
        (Colours("bt709", full_range=True), (1, 1, 1, 2)),
        (Colours("bt2020"), (9, 9, 14, 1)),
    ],
)
def test_the_bitstream_says_in_which_colours_it_is(
    encoder: str, colours: Colours, said: tuple[int, int, int, int]
) -> None:
    codec, units = pictures(encoder, colours=colours)
    decoder = av.CodecContext.create("libdav1d" if codec is Codec.AV1 else str(codec), "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit.data))]
    frame = [*frames, *decoder.decode(None)][0]
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == said


@pytest.mark.conformance(62)
@pytest.mark.parametrize(
    ("colours", "red"),
    [
        # 255 0 0 by the equations of each, limited range and full.
        (Colours("bt601"), (81, 90, 240)),
        (BT709, (63, 102, 240)),
        (Colours("bt709", full_range=True), (54, 99, 255)),
        (Colours("bt601", full_range=True), (76, 85, 255)),
        (Colours("bt2020"), (73, 97, 240)),
    ],
)
def test_pictures_are_made_in_the_colours_that_are_asked_for(
    tmp_path: Path, colours: Colours, red: tuple[int, int, int]
) -> None:
    with av.open(str(tmp_path / "red.png"), "w", format="image2") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (255, 0, 0), np.uint8), format="rgb24")
        file.mux([*stream.encode(picture), *stream.encode(None)])
    source = open_source(FileSpec(path=tmp_path / "red.png", strip=False), Mode(64, 64, 30), colours)
    frame = source.capture()
    source.close()
    middle = [int(plane_view(frame.picture, plane)[16, 16]) for plane in range(3)]
    assert all(abs(a - b) <= 2 for a, b in zip(middle, red, strict=True)), middle
