"""Pictures and coded video: test card, sources, encoders, decoders.

Not here: capture of a desktop (``desktop``), and how frames travel (``core``, ``host/stream``).

A host needs :func:`open_producer` and its ``produce()``; a client :func:`decoders.open_decoder`, with
:func:`frame_marker.read` and :mod:`quality` to look at what it decoded. What is named here is loaded without FFmpeg and
NumPy, which take longer than all else at the start of a program: they come with the first codec or picture.
"""

from __future__ import annotations

from punktfunk.media.encoders import (
    Encoder,
    EncoderCheck,
    EncoderChoice,
    EncoderConfig,
    EncoderName,
    EncoderWish,
    RateChange,
    available_encoders,
    choose_encoder,
    open_encoder,
)
from punktfunk.media.producer import PRODUCERS, Opener, Producer, VideoProducer, open_producer
from punktfunk.media.sources import (
    FileSpec,
    SourceSpec,
    SyntheticSpec,
    TestCardSpec,
    VideoSource,
    open_source,
)
from punktfunk.media.sources.synthetic import is_test_frame, test_frame
from punktfunk.media.types import AccessUnit, Codec, DecodedFrame, RawFrame, Stamps

__all__ = [
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
    "choose_encoder",
    "is_test_frame",
    "open_encoder",
    "open_producer",
    "open_source",
    "test_frame",
]
