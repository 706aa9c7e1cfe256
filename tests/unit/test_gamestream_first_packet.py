"""Key pictures of every encoder in GameStream's packets: clients look for their start in the first one alone."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from punktfunk.core._core import FLAG_KEY, FLAG_PICTURE, GameStreamConfig, packetize
from punktfunk.media import Codec, EncoderConfig, EncoderName, RawFrame, open_encoder
from punktfunk.media.bitstream import unit_types
from punktfunk.units import Bitrate, Mode

HEAD_BYTES = 32 + 8
IDR = {Codec.H264: {5}, Codec.HEVC: {19, 20}}
BEFORE = {
    Codec.H264: ([7, 8], {6, 9, 7, 8}),
    Codec.HEVC: ([32, 33, 34], {35, 39, 32, 33, 34}),
}
FILLER = {Codec.H264: 12, Codec.HEVC: 38}


def key_pictures(name: EncoderName) -> list[bytes]:
    """Return the first picture and one that was asked for, of an encoder."""
    config = EncoderConfig(encoder=name, mode=Mode(640, 360, 60), bitrate=Bitrate(5_000_000))
    encoder, found = open_encoder(config), []
    picture = av.VideoFrame(640, 360, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes(n * 2654435761 >> 24 & 255 for n in range(plane.buffer_size)))
    picture.time_base = Fraction(1, 60)
    try:
        for frame in range(3):
            unit = encoder.encode(RawFrame(picture, frame, frame * 16_666_667), key=frame == 2)
            if unit.key:
                found.append(unit.data)
    finally:
        encoder.close()
    return found


@pytest.mark.conformance(55)
@pytest.mark.parametrize("name", [EncoderName.X264, EncoderName.X265, EncoderName.SVT_AV1])
def test_the_first_packet_of_a_key_picture_has_its_parameter_sets_and_the_start_of_its_slice(
    name: EncoderName,
) -> None:
    pictures = key_pictures(name)
    assert len(pictures) == 2
    codec = {EncoderName.X264: Codec.H264, EncoderName.X265: Codec.HEVC}.get(name, Codec.AV1)
    for packet_size in (1024, 1392):
        config = GameStreamConfig(packet_size=packet_size, codec=codec.value)
        for picture in pictures:
            first = packetize(config, picture, 0, FLAG_PICTURE | FLAG_KEY, 1, 0)[0][HEAD_BYTES:]
            assert picture.startswith(first[: len(picture)])
            if codec is Codec.AV1:
                assert unit_types(codec, picture)[:3] == [2, 1, 6]
                assert unit_types(codec, first)[:3] == [2, 1, 6]
                continue
            kinds, (sets, allowed) = unit_types(codec, first), BEFORE[codec]
            assert first.startswith((b"\0\0\1", b"\0\0\0\1"))
            begins = next((at for at, kind in enumerate(kinds) if kind in IDR[codec]), None)
            assert begins is not None, "a client would never see that it is a key picture, and wait for ever"
            assert [kind for kind in kinds[:begins] if kind in sets] == sets
            assert set(kinds[:begins]) <= allowed
            whole = unit_types(codec, picture)
            assert set(whole[begins:]) <= IDR[codec] | {FILLER[codec]}
