"""Pictures and coded video: test card, sources, encoders, decoders.

Not here: capture of a desktop (``desktop``), and how frames travel (``core``, ``host/stream``).

A host needs :func:`open_producer` and its ``produce()``; a client :func:`decoders.open_decoder`, with
:func:`frame_marker.read` and :mod:`quality` to look at what it decoded. What is named here is loaded when first asked
for, and without FFmpeg and NumPy, which take longer than all else at the start of a program: they come with the first
codec or picture.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from punktfunk.media.encoders import HARDWARE as HARDWARE
    from punktfunk.media.encoders import Encoder as Encoder
    from punktfunk.media.encoders import EncoderCheck as EncoderCheck
    from punktfunk.media.encoders import EncoderChoice as EncoderChoice
    from punktfunk.media.encoders import EncoderConfig as EncoderConfig
    from punktfunk.media.encoders import EncoderName as EncoderName
    from punktfunk.media.encoders import EncoderWish as EncoderWish
    from punktfunk.media.encoders import RateChange as RateChange
    from punktfunk.media.encoders import Replacement as Replacement
    from punktfunk.media.encoders import all_encoders as all_encoders
    from punktfunk.media.encoders import available_encoders as available_encoders
    from punktfunk.media.encoders import check_encoder as check_encoder
    from punktfunk.media.encoders import choose_encoder as choose_encoder
    from punktfunk.media.encoders import open_encoder as open_encoder
    from punktfunk.media.producer import PRODUCERS as PRODUCERS
    from punktfunk.media.producer import Opener as Opener
    from punktfunk.media.producer import Producer as Producer
    from punktfunk.media.producer import VideoProducer as VideoProducer
    from punktfunk.media.producer import open_producer as open_producer
    from punktfunk.media.sources import FileSpec as FileSpec
    from punktfunk.media.sources import SourceSpec as SourceSpec
    from punktfunk.media.sources import SyntheticSpec as SyntheticSpec
    from punktfunk.media.sources import TestCardSpec as TestCardSpec
    from punktfunk.media.sources import VideoSource as VideoSource
    from punktfunk.media.sources import open_source as open_source
    from punktfunk.media.synthetic import is_test_frame as is_test_frame
    from punktfunk.media.synthetic import test_frame as test_frame
    from punktfunk.media.types import AccessUnit as AccessUnit
    from punktfunk.media.types import Codec as Codec
    from punktfunk.media.types import DecodedFrame as DecodedFrame
    from punktfunk.media.types import RawFrame as RawFrame
    from punktfunk.media.types import Stamps as Stamps

_LAZY = {
    "AccessUnit": "punktfunk.media.types",
    "Codec": "punktfunk.media.types",
    "DecodedFrame": "punktfunk.media.types",
    "Encoder": "punktfunk.media.encoders",
    "EncoderCheck": "punktfunk.media.encoders",
    "EncoderChoice": "punktfunk.media.encoders",
    "EncoderConfig": "punktfunk.media.encoders",
    "EncoderName": "punktfunk.media.encoders",
    "EncoderWish": "punktfunk.media.encoders",
    "FileSpec": "punktfunk.media.sources",
    "Opener": "punktfunk.media.producer",
    "PRODUCERS": "punktfunk.media.producer",
    "Producer": "punktfunk.media.producer",
    "RateChange": "punktfunk.media.encoders",
    "all_encoders": "punktfunk.media.encoders",
    "Replacement": "punktfunk.media.encoders",
    "HARDWARE": "punktfunk.media.encoders",
    "RawFrame": "punktfunk.media.types",
    "SourceSpec": "punktfunk.media.sources",
    "Stamps": "punktfunk.media.types",
    "SyntheticSpec": "punktfunk.media.sources",
    "TestCardSpec": "punktfunk.media.sources",
    "VideoProducer": "punktfunk.media.producer",
    "VideoSource": "punktfunk.media.sources",
    "available_encoders": "punktfunk.media.encoders",
    "check_encoder": "punktfunk.media.encoders",
    "choose_encoder": "punktfunk.media.encoders",
    "is_test_frame": "punktfunk.media.synthetic",
    "open_encoder": "punktfunk.media.encoders",
    "open_producer": "punktfunk.media.producer",
    "open_source": "punktfunk.media.sources",
    "test_frame": "punktfunk.media.synthetic",
}
__all__ = [
    "HARDWARE",
    "PRODUCERS",
    "AccessUnit",
    "Codec",
    "DecodedFrame",
    "Encoder",
    "EncoderCheck",
    "EncoderChoice",
    "EncoderConfig",
    "EncoderName",
    "EncoderWish",
    "FileSpec",
    "Opener",
    "Producer",
    "RateChange",
    "RawFrame",
    "SourceSpec",
    "Stamps",
    "SyntheticSpec",
    "TestCardSpec",
    "VideoProducer",
    "VideoSource",
    "available_encoders",
    "check_encoder",
    "choose_encoder",
    "is_test_frame",
    "open_encoder",
    "open_producer",
    "open_source",
    "test_frame",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    # Asked for once: the name is looked up in each frame.
    globals()[name] = value
    return value
