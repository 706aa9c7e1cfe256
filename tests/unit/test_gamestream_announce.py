"""What a client announces becomes a typed stream, and DESCRIBE says what the encoders make."""

from __future__ import annotations

import pytest

from punktfunk.errors import StatusError
from punktfunk.gamestream.announce import Announced, ColourSpace, parse_announce, require_encryption
from punktfunk.gamestream.describe import ANY_AV1, ANY_HEVC, CodecModes, Description, Encryption, Features
from punktfunk.gamestream.surround import LAYOUTS, SurroundParams, advertised
from punktfunk.media.types import Codec
from punktfunk.units import Mode
from tests.support.gamestream_announce import MODERN, NEEDED, payload


def changed(**values: str) -> Announced:
    """Parse what is needed with other values; a name is the end of the attribute's."""
    attributes = dict(NEEDED)
    for end, value in values.items():
        name = next((known for known in (*NEEDED, *MODERN) if known.endswith(end)), end)
        attributes[name] = value
    return parse_announce(payload(attributes))


@pytest.mark.conformance(46)
def test_every_attribute_that_a_host_honours_is_read_with_its_trailing_blank() -> None:
    assert parse_announce(payload(MODERN)) == Announced(
        mode=Mode(1280, 720, 60), packet_bytes=1392, kbps=8000, slices=4, single_reference=True,
        channels=2, high_quality=False, codec=Codec.HEVC, ten_bit=True, chroma444=True,
        colour_space=ColourSpace.REC2020, full_range=True, budget_kbps=20_000, min_fec=2, packet_ms=10,
        encryption=Encryption.CONTROL_V2 | Encryption.VIDEO, encrypted_control=True, session_pings=True,
        frame_status=True, video_qos=False, audio_qos=False, display_hz_x100=5994, intra_refresh=True,
    )  # fmt: skip


def test_clients_that_say_no_more_than_they_must_get_the_defaults_of_old_ones() -> None:
    assert parse_announce(payload(NEEDED)) == Announced(
        mode=Mode(1280, 720, 60), packet_bytes=1392, kbps=8000, slices=4, single_reference=True,
        channels=2, high_quality=False,
    )  # fmt: skip


@pytest.mark.conformance(46)
@pytest.mark.parametrize("missing", NEEDED)
def test_an_attribute_that_a_stream_cannot_be_without_is_asked_for_with_400(missing: str) -> None:
    with pytest.raises(StatusError) as error:
        parse_announce(payload({name: value for name, value in NEEDED.items() if name != missing}))
    assert error.value.status == 400
    assert missing in error.value.cause or missing.endswith("BitrateKbps")


@pytest.mark.conformance(46)
def test_unknown_attributes_are_left_alone() -> None:
    more = {**NEEDED, "x-nv-video[0].rateControlMode": "4", "x-of-tomorrow": "seven, or so"}
    assert parse_announce(payload(more)) == parse_announce(payload(NEEDED))


@pytest.mark.conformance(46)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("packetSize", "1400"),
        ("packetSize", "240"),
        ("packetSize", "1472"),
        ("packetSize", "-1392"),
        ("clientViewportWd", "0"),
        ("clientViewportHt", "16384"),
        ("maxFPS", "0"),
        ("maxFPS", "sixty"),
        ("numChannels", "4"),
        ("packetDuration", "20"),
        ("bitStreamFormat", "3"),
        ("encoderCscMode", "6"),
        ("configuredBitrateKbps", "99999999999"),
        ("videoEncoderSlicesPerFrame", "0"),
        ("AudioQuality", "2"),
        ("clientViewportWd", "²"),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_400(name: str, value: str) -> None:
    with pytest.raises(StatusError) as error:
        changed(**{name: value})
    assert error.value.status == 400


@pytest.mark.conformance(47)
def test_the_old_flag_alone_asks_for_encrypted_sound() -> None:
    assert changed(**{"x-nv-general.featureFlags": "167"}).encryption is Encryption.AUDIO
    assert changed(**{"x-nv-general.featureFlags": "135"}).encryption == Encryption(0)
    both = changed(**{"x-nv-general.featureFlags": "167", "encryptionEnabled": "1"})
    assert both.encryption == Encryption.CONTROL_V2 | Encryption.AUDIO


def test_frame_rates_in_thousandths_and_odd_widths_are_understood() -> None:
    assert changed(maxFPS="59940").mode == Mode(1280, 720, 60)
    assert changed(maxFPS="1000").mode.refresh_hz == 1000
    assert changed(maxFPS="1001").mode.refresh_hz == 1
    assert changed(clientViewportWd="1365").mode == Mode(1366, 720, 60)


def test_a_budget_leaves_room_for_recovery_sound_and_headers() -> None:
    assert changed().video_kbps(20, high_quality_sound=False) == 8000
    modern = changed(configuredBitrateKbps="20000")
    # 16000 of 20 % FEC, less 2 x 96 of sound, less 500 of everything else.
    assert modern.video_kbps(20, high_quality_sound=False) == 16_000 - 192 - 500
    assert modern.video_kbps(20, high_quality_sound=True) == 16_000 - 512 - 500
    assert modern.video_kbps(90, high_quality_sound=False) == 4_000 - 192 - 500
    small = changed(configuredBitrateKbps="1000", numChannels="8")
    assert small.video_kbps(0, high_quality_sound=True) == 1000 - 200 - 100


def test_the_budget_stands_in_for_a_bitrate_that_was_not_said() -> None:
    attributes = {name: value for name, value in NEEDED.items() if "bw." not in name}
    assert parse_announce(payload({**attributes, "x-ml-video.configuredBitrateKbps": "1000"})).kbps == 800


def test_a_host_that_wants_encryption_refuses_what_is_not_with_403() -> None:
    require_encryption(changed(encryptionEnabled="6"))
    for mask in "1", "3", "5":
        with pytest.raises(StatusError) as error:
            require_encryption(changed(encryptionEnabled=mask))
        assert error.value.status == 403


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, CodecModes.H264),
        ({"bitStreamFormat": "1"}, CodecModes.HEVC),
        ({"bitStreamFormat": "1", "dynamicRangeMode": "1"}, CodecModes.HEVC_10),
        (
            {"bitStreamFormat": "1", "dynamicRangeMode": "1", "chromaSamplingType": "1"},
            CodecModes.HEVC_444_10,
        ),
        ({"bitStreamFormat": "2", "chromaSamplingType": "1"}, CodecModes.AV1_444),
        ({"dynamicRangeMode": "1"}, None),
    ],
)
def test_codec_depth_and_chroma_make_one_bit_of_serverinfo(
    values: dict[str, str], mode: CodecModes | None
) -> None:
    assert changed(**values).codec_mode == mode


REFERENCE = """a=x-ss-general.featureFlags:3
a=x-ss-general.encryptionSupported:7
a=x-ss-general.encryptionRequested:1
sprop-parameter-sets=AAAAAU
a=rtpmap:98 AV1/90000
a=fmtp:97 surround-params=21101
a=fmtp:97 surround-params=21101
a=fmtp:97 surround-params=642014235
a=fmtp:97 surround-params=660012345
a=fmtp:97 surround-params=85301623457
a=fmtp:97 surround-params=88001234567
"""


@pytest.mark.conformance(43)
def test_the_payload_of_describe_is_the_one_that_clients_are_known_to_take() -> None:
    everything = Description.of(CodecModes(0x7F0301), features=Features(3))
    assert everything.encode().decode() == REFERENCE.replace("\n", "\r\n")
    assert Description.decode(everything.encode()) == everything


@pytest.mark.conformance(43)
@pytest.mark.parametrize("modes", [*CodecModes, CodecModes.H264 | CodecModes.HEVC, CodecModes(0x7F0301)])
def test_markers_of_describe_agree_with_the_codecs_of_serverinfo(modes: CodecModes) -> None:
    text = Description.of(modes).encode()
    assert (b"sprop-parameter-sets=AAAAAU" in text) == bool(modes & ANY_HEVC)
    assert (b"AV1/90000" in text) == bool(modes & ANY_AV1)
    assert b"refPicInvalidation" not in text
    assert text.endswith(b"\n")


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ("642012453", "642012345"),
        ("642014235", "642014523"),
        ("85301245673", "85301234567"),
        ("85301623457", "85301672345"),
    ],
)
def test_normal_quality_is_advertised_as_clients_unscramble_it(said: str, used: str) -> None:
    params, mapping = SurroundParams.parse(said), SurroundParams.parse(used)
    assert params is not None
    assert mapping is not None
    assert params.unscrambled() == mapping
    assert mapping.scrambled() == params


def test_what_clients_use_is_what_the_encoder_was_given() -> None:
    for channels in (6, 8):
        normal, high = (line for line in advertised() if line.channels == channels)
        assert normal.unscrambled() == LAYOUTS[channels, False].params
        assert high == LAYOUTS[channels, True].params


@pytest.mark.parametrize(
    "text",
    ["", "6", "642", "64201234", "6420123455", "642012346", "662012345", "342012345", "64201234a", "441012"],
)
def test_a_layout_that_does_not_add_up_is_none(text: str) -> None:
    assert SurroundParams.parse(text) is None
