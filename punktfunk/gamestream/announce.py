"""What a client announces: the stream that it wants, attribute by attribute (gamestream section 5.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from punktfunk.errors import StatusError, UnitError
from punktfunk.gamestream.describe import ALL_ENCRYPTION, NO_ENCRYPTION, CodecModes, Encryption
from punktfunk.gamestream.surround import CHANNEL_MASKS
from punktfunk.media.types import Codec
from punktfunk.units import Mode

MAX_ATTRIBUTES = 256
"""Clients send some forty."""
MIN_PACKET_BYTES, MAX_PACKET_BYTES = 256, 1456
"""``packetSize``: clients choose 992 to 1392. Below, each packet carries next to nothing and costs as much; above, it
and its headers do not fit 1500 bytes of a network."""
MAX_SLICES = 8
MAX_KBPS = 2_000_000
ENCRYPTED_ENET = 13
_AUDIO_ENCRYPTION = 0x20
_MILLI_FPS_FROM = 1000
_ATTRIBUTE = re.compile(r"a=([^:\s]{1,64}):(.{0,64})")

_CODECS = {0: Codec.H264, 1: Codec.HEVC, 2: Codec.AV1}
_MODES = {
    (Codec.H264, False, False): CodecModes.H264,
    (Codec.H264, False, True): CodecModes.H264_444,
    (Codec.HEVC, False, False): CodecModes.HEVC,
    (Codec.HEVC, True, False): CodecModes.HEVC_10,
    (Codec.HEVC, False, True): CodecModes.HEVC_444,
    (Codec.HEVC, True, True): CodecModes.HEVC_444_10,
    (Codec.AV1, False, False): CodecModes.AV1,
    (Codec.AV1, True, False): CodecModes.AV1_10,
    (Codec.AV1, False, True): CodecModes.AV1_444,
    (Codec.AV1, True, True): CodecModes.AV1_444_10,
}
"""By codec, ten bits and 4:4:4; H.264 is 8-bit only."""


class ColourSpace(IntEnum):
    """The matrix that pictures are coded with, as ``encoderCscMode`` counts."""

    REC601 = 0
    REC709 = 1
    REC2020 = 2


@dataclass(frozen=True, slots=True)
class Announced:
    """The stream that a client wants; defaults are those of clients that do not say."""

    mode: Mode
    """As the client says, its width made even."""
    packet_bytes: int
    """``packetSize``: NV header and bitstream of a packet, already 32 less where video is encrypted."""
    kbps: int
    """What the client gives the encoder, where it does not say its whole budget."""
    slices: int
    single_reference: bool
    channels: int
    high_quality: bool
    """Of surround sound; of stereo, the RTSP ``Host`` tells."""
    codec: Codec = Codec.H264
    ten_bit: bool = False
    chroma444: bool = False
    colour_space: ColourSpace = ColourSpace.REC601
    full_range: bool = False
    budget_kbps: int = 0
    """What the user allows for everything: video, FEC, sound and headers; 0 where the client does not say."""
    min_fec: int = 0
    """Recovery packets of a block at least."""
    packet_ms: int = 5
    """Length of an Opus packet."""
    encryption: Encryption = NO_ENCRYPTION
    """What both ends encrypt; sound is in it too where only the old flag asks for it."""
    encrypted_control: bool = False
    session_pings: bool = False
    """Pings carry the session's payload, and the control connection its connect data."""
    frame_status: bool = False
    """The client tells how each damaged frame came."""
    video_qos: bool = True
    audio_qos: bool = True
    display_hz_x100: int = 0
    intra_refresh: bool = False

    @property
    def codec_mode(self) -> CodecModes | None:
        """The bit of serverinfo for what is asked for; ``None`` where no codec has that."""
        return _MODES.get((self.codec, self.ten_bit, self.chroma444))

    @property
    def channel_mask(self) -> int:
        """The speakers."""
        return CHANNEL_MASKS[self.channels]

    def video_kbps(self, fec_percent: int, *, high_quality_sound: bool) -> int:
        """Return what the video may have, so that with FEC, sound and headers the user's budget holds."""
        if not self.budget_kbps:
            return self.kbps
        budget = self.budget_kbps
        video = budget * (100 - min(fec_percent, 80)) // 100
        sound = self.channels * (256 if high_quality_sound else 96)
        return max(1, video - min(sound, budget // 5) - min(500, budget // 10))


def parse_announce(body: bytes) -> Announced:
    """Read the payload of ANNOUNCE; unknown attributes are left alone.

    Raises ``StatusError`` (400) where one that a stream cannot be without is missing or means nothing.
    """
    return _announced(_attributes(body))


def require_encryption(announced: Announced) -> None:
    """Raise ``StatusError`` (403) unless video and sound are encrypted, for a host whose user wants that."""
    wanted = Encryption.VIDEO | Encryption.AUDIO
    if announced.encryption & wanted != wanted:
        raise StatusError(
            "this host streams encrypted only", "turn on encryption in the client's settings", status=403
        )


def _attributes(body: bytes) -> dict[str, str]:
    found = {}
    for line in body.decode("utf-8", errors="replace").splitlines():
        matched = _ATTRIBUTE.fullmatch(line)
        if matched is not None:
            found[matched[1]] = matched[2].strip()
            if len(found) > MAX_ATTRIBUTES:
                raise StatusError("the client announces too many attributes", status=400)
    return found


def _announced(attributes: Mapping[str, str]) -> Announced:
    read = _Reader(attributes)
    fps = read.needed("x-nv-video[0].maxFPS", 1, 1_000_000)
    width = read.needed("x-nv-video[0].clientViewportWd", 16, 16_384)
    height = read.needed("x-nv-video[0].clientViewportHt", 16, 16_384)
    nv_features = read.number("x-nv-general.featureFlags", 135)
    ml_features = read.number("x-ml-general.featureFlags", 0)
    colours = read.number("x-nv-video[0].encoderCscMode", 0, 5)
    encryption = Encryption(read.number("x-ss-general.encryptionEnabled", 0) & ALL_ENCRYPTION)
    if nv_features & _AUDIO_ENCRYPTION:
        encryption |= Encryption.AUDIO
    budget = read.number("x-ml-video.configuredBitrateKbps", 0)
    return Announced(
        mode=_mode(width, height, fps),
        packet_bytes=_packet_bytes(read),
        kbps=_kbps(read, budget),
        budget_kbps=min(budget, MAX_KBPS),
        slices=min(read.needed("x-nv-video[0].videoEncoderSlicesPerFrame", 1, 255), MAX_SLICES),
        single_reference=read.needed("x-nv-video[0].maxNumReferenceFrames", 0, 255) == 1,
        channels=_channels(read),
        high_quality=bool(read.needed("x-nv-audio.surround.AudioQuality", 0, 1)),
        codec=_CODECS[read.number("x-nv-vqos[0].bitStreamFormat", 0, 2)],
        ten_bit=bool(read.number("x-nv-video[0].dynamicRangeMode", 0, 1)),
        chroma444=bool(read.number("x-ss-video[0].chromaSamplingType", 0, 1)),
        colour_space=ColourSpace(colours >> 1),
        full_range=bool(colours & 1),
        min_fec=read.number("x-nv-vqos[0].fec.minRequiredFecPackets", 0, 255),
        packet_ms=_packet_ms(read),
        encryption=encryption,
        encrypted_control=read.number("x-nv-general.useReliableUdp", 1) == ENCRYPTED_ENET,
        session_pings=bool(ml_features & 2),
        frame_status=bool(ml_features & 1),
        video_qos=bool(read.number("x-nv-vqos[0].qosTrafficType", 5)),
        audio_qos=bool(read.number("x-nv-aqos.qosTrafficType", 4)),
        display_hz_x100=read.number("x-nv-video[0].clientRefreshRateX100", 0),
        intra_refresh=bool(read.number("x-ss-video[0].intraRefresh", 0, 1)),
    )


class _Reader:
    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = attributes

    def number(self, name: str, default: int, most: int = 0xFFFF_FFFF, least: int = 0) -> int:
        text = self._attributes.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal()) or len(text) > 10 or not least <= int(text) <= most:
            raise StatusError(f"the client announces {name}:{text!r}, which means nothing", status=400)
        return int(text)

    def needed(self, name: str, least: int, most: int) -> int:
        if name not in self._attributes:
            raise StatusError(f"the client does not announce {name}", status=400)
        return self.number(name, 0, most, least)


def _mode(width: int, height: int, fps: int) -> Mode:
    hertz = round(fps / 1000) if fps > _MILLI_FPS_FROM else fps
    try:
        return Mode(width + width % 2, height + height % 2, hertz)
    except UnitError as error:
        raise StatusError(f"this host cannot stream that: {error.cause}", status=400) from error


def _packet_bytes(read: _Reader) -> int:
    size = read.needed("x-nv-video[0].packetSize", MIN_PACKET_BYTES, MAX_PACKET_BYTES)
    if size % 16:
        raise StatusError(f"a packet size of {size} is no multiple of 16", status=400)
    return size


def _kbps(read: _Reader, budget: int) -> int:
    names = (
        "x-nv-vqos[0].bw.maximumBitrateKbps",
        "x-nv-video[0].initialPeakBitrateKbps",
        "x-nv-video[0].initialBitrateKbps",
        "x-nv-vqos[0].bw.minimumBitrateKbps",
    )
    said = [rate for rate in (read.number(name, 0) for name in names) if rate]
    if not said and not budget:
        raise StatusError("the client announces no bitrate", status=400)
    return min(said[0] if said else budget * 4 // 5, MAX_KBPS)


def _channels(read: _Reader) -> int:
    channels = read.needed("x-nv-audio.surround.numChannels", 1, 8)
    if channels not in CHANNEL_MASKS:
        raise StatusError(f"sound with {channels} channels is not streamed", status=400)
    return channels


def _packet_ms(read: _Reader) -> int:
    length = read.number("x-nv-aqos.packetDuration", 5)
    if length not in {5, 10}:
        raise StatusError(f"sound in packets of {length} ms is not streamed", status=400)
    return length
