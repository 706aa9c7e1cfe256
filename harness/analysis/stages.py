"""The stages of the frame path and how long it spends in each: spans between two stamps of the frame records.

:data:`WATERFALL` names spans that follow each other without a gap, so that they add up to the total; the
other spans look at a part more closely (pacing, reassembly) or sum several up (transport).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis.records import NULL, Records

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Span:
    """The time from one stamp to another."""

    name: str
    begin: str
    end: str
    description: str


SPANS: Final = (
    Span("transport", "captured_ns", "complete_ns", "capture to the complete access unit at the client"),
    Span("glass_to_glass", "captured_ns", "presented_ns", "capture to the picture on the client's screen"),
    Span("capture_to_decoded", "captured_ns", "decode_end_ns", "capture to the decoded picture"),
    Span(
        "sealed_to_complete", "sealed_ns", "complete_ns", "the sealed frame to its completion at the client"
    ),
    Span("convert", "captured_ns", "converted_ns", "colour conversion and copies before the encoder"),
    Span("encode_wait", "converted_ns", "encode_begin_ns", "waiting for the encoder"),
    Span("encode", "encode_begin_ns", "encode_end_ns", "the encoder"),
    Span("seal", "encode_end_ns", "sealed_ns", "cutting into shards, FEC and AEAD at the host"),
    Span("queue", "sealed_ns", "sent_first_ns", "the sender's queue, up to the frame's first packet"),
    Span("network", "sent_first_ns", "recv_first_ns", "one-way delay of the frame's first packet"),
    Span("assembly", "recv_first_ns", "complete_ns", "first packet to complete frame: pacing, FEC, assembly"),
    Span("release", "complete_ns", "released_ns", "a complete frame waiting for its turn"),
    Span("decode", "released_ns", "decode_end_ns", "the client's queue and decoder"),
    Span("present", "decode_end_ns", "presented_ns", "waiting for the screen"),
    Span("pacing", "sent_first_ns", "sent_last_ns", "first to last packet of a frame at the sender"),
    Span("host_processing", "captured_ns", "sent_last_ns", "capture to the last packet that the host sent"),
    Span("reassembly", "recv_last_ns", "complete_ns", "opening, FEC and reassembly after the last packet"),
)
"""Every span that has metrics, by name ``<span>_p50`` and so on."""

BY_NAME: Final = {span.name: span for span in SPANS}

WATERFALL: Final = (
    "convert",
    "encode_wait",
    "encode",
    "seal",
    "queue",
    "network",
    "assembly",
    "release",
    "decode",
    "present",
)
"""Spans that follow each other from capture to screen; the ones that were measured add up."""


def lengths_ms(records: Records, span: Span) -> FloatArray:
    """Return a span's length for every frame in ms, nan where one of its stamps is missing.

    ``reassembly`` is nan where a frame went on receiving (recovery shards) after it was complete.
    """
    begin, end = records[span.begin], records[span.end]
    both = (begin != NULL) & (end != NULL)
    if span.name == "reassembly":
        both &= end >= begin
    result: FloatArray = np.where(both, (end - begin) / 1e6, np.nan)
    return result


def durations_ms(records: Records, span: Span) -> FloatArray:
    """Return a span's length for every frame that has one, in ms, in the order of the frames."""
    lengths = lengths_ms(records, span)
    return lengths[~np.isnan(lengths)]


def marker_lengths_ms(records: Records) -> FloatArray:
    """Return the camera-free glass-to-glass time of every frame in ms, nan where it could not be read.

    It is the decode end minus the time drawn into the picture.
    """
    both = (records["strip_time_us"] != NULL) & (records["decode_end_ns"] != NULL)
    result: FloatArray = np.where(
        both, (records["decode_end_ns"] - records["strip_time_us"] * 1000) / 1e6, np.nan
    )
    return result


def marker_latency_ms(records: Records) -> FloatArray:
    """Return the camera-free glass-to-glass time of every frame that has one, in ms."""
    lengths = marker_lengths_ms(records)
    return lengths[~np.isnan(lengths)]


def waterfall_ms(records: Records, q: float = 0.5) -> dict[str, float]:
    """Return each stage of the waterfall that was measured, at the quantile ``q`` in ms.

    The stages are those of :func:`split`, so a stage that was not stamped is part of the next one that was.
    """
    from harness.analysis.stats import percentile

    found = {}
    for name, values in split(records).items():
        value = percentile(values, q)
        if value is not None:
            found[name] = value
    return found


def split(records: Records) -> dict[str, FloatArray]:
    """Cut the way of every fully stamped frame at the stamps that exist, in ms per stage.

    A stamp counts as existing when most decodable, complete frames have it; a missing one lengthens the next
    stage. The stages of one frame add up to the time from its first to its last stamp.
    """
    ends = [BY_NAME[WATERFALL[0]].begin, *(BY_NAME[name].end for name in WATERFALL)]
    delivered = (records["complete_ns"] != NULL) & (records["decodable"] != 0)
    present = [
        stamp for stamp in ends if delivered.any() and np.mean(records[stamp][delivered] != NULL) > 0.5
    ]
    whole = delivered.copy()
    for stamp in present:
        whole &= records[stamp] != NULL
    named = {BY_NAME[name].end: name for name in WATERFALL}
    return {
        named[end]: (records[end][whole] - records[begin][whole]) / 1e6
        for begin, end in itertools.pairwise(present)
    }
