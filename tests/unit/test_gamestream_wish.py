"""What a GameStream client announces, and what it chooses of what a host describes."""

from __future__ import annotations

import pytest

from punktfunk.client.gamestream.wish import StreamChoice, StreamWish
from punktfunk.errors import CapabilityError
from punktfunk.gamestream.announce import parse_announce
from punktfunk.gamestream.describe import CodecModes, Description, Encryption
from punktfunk.gamestream.surround import LAYOUTS
from punktfunk.media.types import Codec
from punktfunk.units import Bitrate, Mode

WISH = StreamWish(Mode(1280, 720, 60), Bitrate.from_kbps(20_000))
HOST = Description(hevc=True, av1=False)


def test_a_host_reads_what_is_announced_as_it_was_meant() -> None:
    wish = StreamWish(
        Mode(1920, 1080, 60),
        Bitrate.from_kbps(30_000),
        (Codec.HEVC,),
        channels=6,
        packet_ms=10,
        encryption=Encryption.CONTROL_V2 | Encryption.VIDEO | Encryption.AUDIO,
        slices=4,
    )
    choice = StreamChoice.of(wish, HOST, CodecModes.HEVC)
    read = parse_announce(choice.payload("127.0.0.1", 47998))
    assert read.mode == wish.mode
    assert (read.codec, read.packet_bytes, read.min_fec, read.slices) == (Codec.HEVC, 1360, 2, 4)
    assert (read.budget_kbps, read.kbps, read.channels, read.packet_ms) == (30_000, 24_000, 6, 10)
    assert read.encryption == wish.encryption
    assert read.high_quality
    assert read.session_pings
    assert read.frame_status
    assert read.encrypted_control


def test_encryption_that_the_host_asks_for_is_taken_though_nobody_wanted_it() -> None:
    host = Description(hevc=False, av1=False, requested=Encryption.CONTROL_V2 | Encryption.VIDEO)
    choice = StreamChoice.of(WISH, host, CodecModes.H264)
    assert choice.encryption == Encryption.CONTROL_V2 | Encryption.VIDEO
    assert choice.packet_bytes == WISH.packet_bytes - 32


def test_encryption_that_the_host_cannot_do_is_given_up_but_sound_is_asked_for_by_the_old_flag() -> None:
    both = Encryption.VIDEO | Encryption.AUDIO
    host = Description(hevc=False, av1=False, supported=Encryption.CONTROL_V2)
    choice = StreamChoice.of(StreamWish(WISH.mode, WISH.bitrate, encryption=both), host, CodecModes.H264)
    assert choice.encryption == Encryption.CONTROL_V2
    assert choice.encrypted_sound
    read = parse_announce(choice.payload("127.0.0.1", 47998))
    assert read.encryption == Encryption.CONTROL_V2 | Encryption.AUDIO


@pytest.mark.parametrize(
    ("codecs", "modes", "chosen"),
    [
        ((Codec.AV1, Codec.HEVC, Codec.H264), CodecModes.HEVC | CodecModes.H264, Codec.HEVC),
        ((Codec.HEVC, Codec.H264), CodecModes.H264, Codec.H264),
        ((Codec.H264, Codec.HEVC), CodecModes.HEVC | CodecModes.H264, Codec.H264),
    ],
)
def test_the_first_codec_that_mask_and_description_both_have_is_taken(
    codecs: tuple[Codec, ...], modes: CodecModes, chosen: Codec
) -> None:
    wish = StreamWish(WISH.mode, WISH.bitrate, codecs)
    assert StreamChoice.of(wish, HOST, modes).codec is chosen


def test_a_host_without_the_codec_is_an_error_that_names_it() -> None:
    wish = StreamWish(WISH.mode, WISH.bitrate, (Codec.AV1,))
    with pytest.raises(CapabilityError, match="av1"):
        StreamChoice.of(wish, HOST, CodecModes.H264)


@pytest.mark.parametrize("channels", [2, 6, 8])
@pytest.mark.parametrize("high", [False, True])
def test_sound_is_decoded_by_the_layout_that_this_projects_hosts_encode_it_by(
    channels: int, high: bool
) -> None:
    wish = StreamWish(WISH.mode, WISH.bitrate, channels=channels, high_quality_sound=high)
    assert StreamChoice.of(wish, HOST, CodecModes.H264).layout == LAYOUTS[channels, high].params
