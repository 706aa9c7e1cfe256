"""What was found in a capture as JSON, for programs."""

from __future__ import annotations

from typing import Any

from harness.dissect.reading import Survey
from harness.dissect.second_opinion import Opinion
from harness.dissect.streams import Stream
from punktfunk.addresses import written


def document(survey: Survey, opinion: Opinion | None) -> dict[str, Any]:
    """Return a capture's streams and frames, and what it says of a ledger; times are ns, of the capture's clock."""
    found: dict[str, Any] = {
        "capture": str(survey.path),
        "format": survey.format,
        "packets": survey.packets,
        "first_ns": survey.first_ns,
        "last_ns": survey.last_ns,
        "missed": survey.missed,
        "damage": survey.damage,
        "unread": survey.unread,
        "not_udp": dict(survey.others),
        "streams": [_stream(survey, stream) for stream in survey.streams],
        "control": [
            {"time_ns": said.time_ns, "from_host": said.from_host, "text": said.text} for said in survey.said
        ],
    }
    if opinion is not None:
        found["ledger"] = {
            "agrees": not opinion.disagreements,
            "counts": [
                {"what": c.what, "capture": c.capture, "least": c.least, "most": c.most, "agrees": c.agrees}
                for c in opinion.counts
            ],
            "left_out": opinion.left_out,
        }
    return found


def _stream(survey: Survey, stream: Stream) -> dict[str, Any]:
    received = survey.received.get(stream.number)
    return {
        "number": stream.number,
        "from": written(*stream.source),
        "to": written(*stream.destination),
        "kind": str(stream.kind),
        "packets": stream.packets,
        "bytes": stream.total_bytes,
        "wrong_checksum": stream.damaged,
        "missing": stream.numbers.missing,
        "twice": stream.numbers.duplicates,
        "reordered": stream.numbers.reordered,
        "unread": dict(stream.unread),
        "stays_closed": survey.closed.get(stream.number, ""),
        "receiver": None if received is None else received.counters,
        "frames": [
            {
                "number": frame.number,
                "key": frame.key,
                "bytes": frame.frame_bytes,
                "blocks": frame.blocks,
                "k": frame.k,
                "m": frame.m,
                "data": frame.data,
                "recovery": frame.recovery,
                "rebuilt": frame.rebuilt,
                "twice": frame.twice,
                "whole": frame.whole,
                "first_ns": frame.first_ns,
                "last_ns": frame.last_ns,
            }
            for _number, frame in sorted(stream.frames.items())
        ],
    }
