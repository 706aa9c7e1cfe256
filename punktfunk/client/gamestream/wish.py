"""What stream a client wants, and what it announces when it knows what the host can do (gamestream section 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from punktfunk.errors import CapabilityError
from punktfunk.gamestream.describe import NO_FEATURES, CodecModes, Description, Encryption, Features
from punktfunk.gamestream.surround import CHANNEL_MASKS, LAYOUTS, SurroundParams
from punktfunk.media.sound import SoundFormat
from punktfunk.media.types import Codec
from punktfunk.units import Bitrate, Mode

LAN_PACKET_BYTES: Final = 1392
"""``packetSize`` of a wired local network (gamestream section 12.9)."""
ENCRYPTION_BYTES: Final = 32
"""What encrypted video takes of every packet."""
MIN_FEC: Final = 2
"""Recovery packets of a block that every client asks for."""

_BITSTREAMS = {Codec.H264: 0, Codec.HEVC: 1, Codec.AV1: 2}
_BASE_MODES = {Codec.H264: CodecModes.H264, Codec.HEVC: CodecModes.HEVC, Codec.AV1: CodecModes.AV1}


@dataclass(frozen=True, slots=True)
class StreamWish:
    """What a user has set."""

    mode: Mode
    bitrate: Bitrate
    """For everything: video with FEC, sound, headers."""
    codecs: Sequence[Codec] = (Codec.H264,)
    """The preferred one first; the first that the host has is taken."""
    packet_bytes: int = LAN_PACKET_BYTES
    channels: int = 2
    high_quality_sound: bool = True
    packet_ms: Literal[5, 10] = 5
    encryption: Encryption = Encryption.CONTROL_V2
    """What this client wants encrypted; the host may ask for more."""
    slices: int = 1


@dataclass(frozen=True, slots=True)
class StreamChoice:
    """What became of a wish when the host had described itself."""

    wish: StreamWish
    codec: Codec
    encryption: Encryption
    layout: SurroundParams
    features: Features = NO_FEATURES
    """Which input the host takes as it is; stock clients make a mouse of what it does not."""
    invalidation: bool = False
    """Whether the host invalidates reference frames on demand; this client asks for IDR frames in any case."""

    @property
    def sound(self) -> SoundFormat:
        """How sound comes; its bitrate is the host's to choose."""
        layout = self.layout
        return SoundFormat(
            layout.channels,
            layout.streams,
            layout.coupled,
            "".join(map(str, layout.mapping)),
            packet_ms=self.wish.packet_ms,
            continuous=True,
        )

    @property
    def packet_bytes(self) -> int:
        """``packetSize`` as it is announced: less where video is encrypted."""
        return self.wish.packet_bytes - (ENCRYPTION_BYTES if self.encrypted_video else 0)

    @property
    def encrypted_video(self) -> bool:
        """Whether video is encrypted."""
        return bool(self.encryption & Encryption.VIDEO)

    @property
    def encrypted_sound(self) -> bool:
        """Whether sound is encrypted: a client that wants it says so by the old flag too, and a host obeys that."""
        return bool((self.encryption | self.wish.encryption) & Encryption.AUDIO)

    @classmethod
    def of(cls, wish: StreamWish, description: Description, modes: int) -> StreamChoice:
        """Choose codec, encryption and layout of sound; raise ``CapabilityError`` where no codec is left.

        ``modes`` is ``ServerCodecModeSupport``.
        """
        wanted = wish.encryption & description.supported
        return cls(
            wish,
            _codec(wish, description, modes),
            wanted | description.requested,
            _layout(wish, description),
            description.features,
            description.invalidation,
        )

    def payload(self, address: str, video_port: int) -> bytes:
        """Return what ANNOUNCE carries, in the order in which clients write it."""
        wish, resolution = self.wish, self.wish.mode.resolution
        kbps = wish.bitrate.kbps
        nv_kbps = min(kbps * 4 // 5, 100_000)
        audio_flag = 0x20 if self.encrypted_sound else 0
        attributes: dict[str, int | str] = {
            # Pings by session, and word of damaged frames (gamestream section 8.3).
            "x-ml-general.featureFlags": 3,
            "x-ss-general.encryptionEnabled": int(self.encryption),
            "x-ss-video[0].chromaSamplingType": 0,
            "x-nv-video[0].clientViewportWd": resolution.width,
            "x-nv-video[0].clientViewportHt": resolution.height,
            "x-nv-video[0].maxFPS": wish.mode.refresh_hz,
            "x-nv-video[0].packetSize": self.packet_bytes,
            "x-nv-video[0].rateControlMode": 4,
            "x-nv-video[0].timeoutLengthMs": 7000,
            "x-nv-video[0].framesWithInvalidRefThreshold": 0,
            "x-nv-video[0].initialBitrateKbps": nv_kbps,
            "x-nv-video[0].initialPeakBitrateKbps": nv_kbps,
            "x-nv-vqos[0].bw.minimumBitrateKbps": nv_kbps,
            "x-nv-vqos[0].bw.maximumBitrateKbps": nv_kbps,
            "x-ml-video.configuredBitrateKbps": kbps,
            "x-nv-vqos[0].fec.enable": 1,
            "x-nv-vqos[0].videoQualityScoreUpdateTime": 5000,
            "x-nv-vqos[0].qosTrafficType": 5,
            "x-nv-aqos.qosTrafficType": 4,
            "x-nv-general.featureFlags": 135 | audio_flag,
            "x-nv-general.useReliableUdp": 13,
            "x-nv-vqos[0].fec.minRequiredFecPackets": MIN_FEC,
            "x-nv-vqos[0].bllFec.enable": 0,
            "x-nv-vqos[0].drc.enable": 0,
            "x-nv-general.enableRecoveryMode": 0,
            "x-nv-video[0].videoEncoderSlicesPerFrame": wish.slices,
        }
        if self.codec is not Codec.AV1:
            attributes["x-nv-clientSupportHevc"] = int(self.codec is Codec.HEVC)
        attributes |= {
            "x-nv-vqos[0].bitStreamFormat": _BITSTREAMS[self.codec],
            "x-nv-video[0].dynamicRangeMode": 0,
            "x-nv-video[0].maxNumReferenceFrames": 1,
            "x-nv-video[0].clientRefreshRateX100": wish.mode.refresh_hz * 100,
            "x-nv-audio.surround.numChannels": wish.channels,
            "x-nv-audio.surround.channelMask": CHANNEL_MASKS[wish.channels],
            "x-nv-audio.surround.enable": int(wish.channels > 2),
            "x-nv-audio.surround.AudioQuality": int(wish.channels > 2 and wish.high_quality_sound),
            "x-nv-aqos.packetDuration": wish.packet_ms,
            "x-nv-video[0].encoderCscMode": 2,
        }
        kind = "IPv6" if ":" in address else "IPv4"
        head = f"v=0\r\no=android 0 14 IN {kind} {address}\r\ns=NVIDIA Streaming Client\r\n"
        lines = "".join(f"a={name}:{value} \r\n" for name, value in attributes.items())
        return f"{head}{lines}t=0 0\r\nm=video {video_port}  \r\n".encode("ascii")


def _codec(wish: StreamWish, description: Description, modes: int) -> Codec:
    has = {Codec.H264: True, Codec.HEVC: description.hevc, Codec.AV1: description.av1}
    for codec in wish.codecs:
        if has[codec] and modes & _BASE_MODES[codec]:
            return codec
    wanted = ", ".join(str(codec) for codec in wish.codecs)
    raise CapabilityError(f"the host encodes none of: {wanted}", "ask for another --codec")


def _layout(wish: StreamWish, description: Description) -> SurroundParams:
    """Return the layout of a channel count as clients read it: the first is normal quality, the second high."""
    ours = LAYOUTS[wish.channels, wish.high_quality_sound].params
    if wish.channels == 2:
        return ours
    offered = [params for params in description.surround if params.channels == wish.channels]
    if wish.high_quality_sound:
        return offered[1] if len(offered) > 1 else ours
    return offered[0].unscrambled() if offered else ours
