"""Pictures and coded video: test card, sources, encoders, decoders. No sockets, no desktop.

A host needs :func:`open_producer` and its ``produce()``; a client :func:`open_decoder`, with
:func:`strip.read` and :mod:`quality` to look at what it decoded.
"""

from __future__ import annotations

from punktfunk.media import quality, strip
from punktfunk.media.decoders import Decoder, DecoderStats, open_decoder
from punktfunk.media.encoders import (
    Encoder,
    EncoderChoice,
    EncoderConfig,
    EncoderName,
    EncoderProbe,
    EncoderWish,
    RateChange,
    available_encoders,
    choose_encoder,
    open_encoder,
)
from punktfunk.media.producer import Producer, open_producer
from punktfunk.media.sources import (
    FileSpec,
    SourceSpec,
    SyntheticSpec,
    TestCardSpec,
    VideoSource,
    open_source,
)
from punktfunk.media.sources.synthetic import is_test_frame, test_frame
from punktfunk.media.testcard import TestCard
from punktfunk.media.types import AccessUnit, Codec, DecodedFrame, RawFrame, Stamps

__all__ = [
    "AccessUnit",
    "Codec",
    "DecodedFrame",
    "Decoder",
    "DecoderStats",
    "Encoder",
    "EncoderChoice",
    "EncoderConfig",
    "EncoderName",
    "EncoderProbe",
    "EncoderWish",
    "FileSpec",
    "Producer",
    "RateChange",
    "RawFrame",
    "SourceSpec",
    "Stamps",
    "SyntheticSpec",
    "TestCard",
    "TestCardSpec",
    "VideoSource",
    "available_encoders",
    "choose_encoder",
    "is_test_frame",
    "open_decoder",
    "open_encoder",
    "open_producer",
    "open_source",
    "quality",
    "strip",
    "test_frame",
]
