"""What a host says that it can do: the codec bits of serverinfo and the lines of DESCRIBE, which have to agree.

The lines look like SDP and are none: clients search them for texts (gamestream section 5.4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntFlag

from punktfunk.gamestream.surround import ADVERTISED, SurroundParams


class CodecModes(IntFlag):
    """``ServerCodecModeSupport``: what the encoders make now (gamestream section 2.2)."""

    H264 = 0x1
    H264_444 = 0x4_0000
    HEVC = 0x100
    HEVC_10 = 0x200
    HEVC_444 = 0x8_0000
    HEVC_444_10 = 0x10_0000
    AV1 = 0x1_0000
    AV1_10 = 0x2_0000
    AV1_444 = 0x20_0000
    AV1_444_10 = 0x40_0000


ANY_HEVC = CodecModes.HEVC | CodecModes.HEVC_10 | CodecModes.HEVC_444 | CodecModes.HEVC_444_10
ANY_AV1 = CodecModes.AV1 | CodecModes.AV1_10 | CodecModes.AV1_444 | CodecModes.AV1_444_10
ANY_10_BIT = CodecModes.HEVC_10 | CodecModes.AV1_10 | CodecModes.HEVC_444_10 | CodecModes.AV1_444_10


class Encryption(IntFlag):
    """What can be encrypted, as DESCRIBE and ANNOUNCE count it."""

    CONTROL_V2 = 1
    VIDEO = 2
    AUDIO = 4


NO_ENCRYPTION = Encryption(0)
ALL_ENCRYPTION = Encryption.CONTROL_V2 | Encryption.VIDEO | Encryption.AUDIO


class Features(IntFlag):
    """What of a client's input a host takes; without a bit the client makes a mouse of it, or drops it."""

    PEN_AND_TOUCH = 1
    PAD_TOUCH_AND_MOTION = 2


NO_FEATURES = Features(0)


_FEATURES = "a=x-ss-general.featureFlags"
_SUPPORTED = "a=x-ss-general.encryptionSupported"
_REQUESTED = "a=x-ss-general.encryptionRequested"
_INVALIDATION = "a=x-nv-video[0].refPicInvalidation"
_HEVC = "sprop-parameter-sets=AAAAAU"
_AV1 = "AV1/90000"
_SURROUND = "a=fmtp:97 surround-params="


@dataclass(frozen=True, slots=True)
class Description:
    """What DESCRIBE answers."""

    hevc: bool
    av1: bool
    features: Features = NO_FEATURES
    supported: Encryption = ALL_ENCRYPTION
    requested: Encryption = Encryption.CONTROL_V2
    invalidation: bool = False
    surround: tuple[SurroundParams, ...] = ADVERTISED
    """The first of a channel count is its normal quality, the second its high one, each as advertised."""

    @classmethod
    def of(
        cls,
        modes: CodecModes,
        *,
        features: Features = NO_FEATURES,
        requested: Encryption = Encryption.CONTROL_V2,
        surround: tuple[SurroundParams, ...] = ADVERTISED,
    ) -> Description:
        """Describe a host whose encoders make ``modes``, so that DESCRIBE agrees with serverinfo."""
        return cls(
            hevc=bool(modes & ANY_HEVC),
            av1=bool(modes & ANY_AV1),
            features=features,
            requested=requested,
            surround=surround,
        )

    def encode(self) -> bytes:
        """Return the payload of the answer."""
        lines = [
            f"{_FEATURES}:{self.features:d}",
            f"{_SUPPORTED}:{self.supported:d}",
            f"{_REQUESTED}:{self.requested:d}",
            *([f"{_INVALIDATION}:1"] if self.invalidation else []),
            *([_HEVC] if self.hevc else []),
            *([f"a=rtpmap:98 {_AV1}"] if self.av1 else []),
            *(f"{_SURROUND}{params}" for params in self.surround),
        ]
        return "".join(f"{line}\r\n" for line in lines).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Description:
        """Read an answer as clients do: what cannot be found is not there; nothing is raised."""
        text = payload.decode("ascii", errors="replace")
        surround = []
        for found in re.finditer(re.escape(_SURROUND) + r"([0-9]{3,11})(?![0-9])", text):
            params = SurroundParams.parse(found[1])
            if params is not None:
                surround.append(params)
        return cls(
            hevc=_HEVC in text,
            av1=_AV1 in text,
            features=Features(_number(text, _FEATURES) & 3),
            supported=Encryption(_number(text, _SUPPORTED) & ALL_ENCRYPTION),
            requested=Encryption(_number(text, _REQUESTED) & ALL_ENCRYPTION),
            invalidation=_INVALIDATION in text,
            surround=tuple(surround[:16]),
        )


def _number(text: str, name: str) -> int:
    found = re.search(re.escape(name) + r":([0-9]{1,9})", text)
    return int(found[1]) if found else 0
