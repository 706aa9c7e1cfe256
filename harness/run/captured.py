"""What the capture of a case says: a second opinion on its ledger, and of a described program's stream what it is.

Where the ends logged the secrets of their sessions, the packets that reached the client's device are opened, frames are
put together by the core's FEC, recovery packets are held against what that makes of the data, and the pictures are
decoded: what a client that leaves nothing was sent. What it made of it stays unknown.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from harness.analysis.definitions import METRICS
from harness.analysis.results import CaseResult, Check, Metric, Status
from harness.dissect import second_opinion
from harness.dissect.access_units import VideoPackets
from harness.dissect.reading import Survey
from harness.run.outside import lossless
from harness.scenario.model import Session
from punktfunk import key_log
from punktfunk.media.synthetic import is_test_frame

KEYS_NAME: Final = "keys.log"
"""Of the file in a case's folder to which its ends log the secrets of their sessions, while it runs."""
VIDEO_NAME: Final = "wire.video"
"""Of the coded video in a case's folder that was put together from its capture."""
EVIDENCE: Final = "frames and FEC on the wire"
PICTURES: Final = "pictures on the wire"


@contextlib.contextmanager
def key_log_in(folder: Path) -> Iterator[Path]:
    """Give the file to which the ends of a case log their sessions' secrets: what the variable names, or one here.

    One here is its owner's alone, made before a less careful program can make it, and removed when the case is over: a
    run's folder can be given away. Whoever wants to keep the secrets names a file by the variable.
    """
    asked = key_log.asked_for()
    if asked is not None:
        yield asked
        return
    path = folder / KEYS_NAME
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def judge(
    result: CaseResult, folder: Path, keys_file: Path | None, spec: Session | None, *, dumped: bool
) -> None:
    """Add to a result what its capture says; a count that contradicts the ledger is a fault of the harness.

    ``spec`` is that of a case that is judged from outside, None for another; ``dumped`` where the client left its
    coded video, which says more than the capture's.
    """
    packets = VideoPackets()
    opinion = second_opinion.of_case(
        folder, result, keys_file or key_log.asked_for(), packets.see if spec else None
    )
    result.checks.append(opinion.check())
    if opinion.broken:
        result.status = Status.FAULT
        result.reason = f"{opinion.broken} (capture.log in its folder says why)"
    elif opinion.disagreements:
        result.status = Status.FAULT
        result.reason = f"the capture contradicts the ledger: {opinion.check().measured}"
    elif spec is not None and opinion.survey is not None:
        _stream(result, folder, spec, opinion.survey, packets, dumped=dumped)


def _stream(
    result: CaseResult, folder: Path, spec: Session, survey: Survey, packets: VideoPackets, *, dumped: bool
) -> None:
    ports = set(result.peers["host"].ports)
    streams = [stream for stream in survey.video if stream.source[1] in ports]
    if not streams:
        return
    stream = streams[0]
    if not stream.readable:
        why = ", ".join(f"{count} {reason}" for reason, count in stream.unread.most_common(3))
        result.outside["wire"] = {"frames": f"unknown: {why}; neither end logged its key"}
        return
    rebuilt = packets.rebuild(stream)
    frames = stream.frames
    whole = [number for number, frame in frames.items() if frame.whole]
    # The host may be ended in the middle of a frame.
    broken = len(frames.keys() - set(whole) - {max(frames, default=0)})
    by_fec = sum(frame.rebuilt > 0 for frame in frames.values() if frame.whole)
    shards = sum(frame.rebuilt for frame in frames.values())
    lost = stream.numbers.missing
    result.outside["wire"] = {
        "frames": f"{len(frames)} seen, {len(whole)} whole, {by_fec} of them by FEC",
        "packets": f"{stream.numbers.distinct} came, {lost} did not, {shards} of data rebuilt by FEC",
        "recovery packets": f"{rebuilt.agreeing} right, {rebuilt.contradicting} wrong",
    }
    if packets.left_out or rebuilt.left_out:
        result.outside["wire"]["left out"] = (
            f"{packets.left_out} packets and {rebuilt.left_out} frames, which were counted and not put together"
        )
    for name, value in (
        ("wire_frames", len(frames)),
        ("wire_frames_whole", len(whole)),
        ("wire_frames_repaired", by_fec),
        ("wire_shards_rebuilt", shards),
    ):
        row = METRICS[name]
        result.metrics[name] = Metric(value=float(value), unit=row.unit, better=row.better)
    _add_evidence(result, EVIDENCE)
    killed = any(event.kill for event in spec.events)
    if rebuilt.agreeing or rebuilt.contradicting:
        result.checks.append(
            Check(
                name="recovery packets are what FEC makes of the data",
                passed=rebuilt.contradicting == 0,
                expected="0 wrong",
                measured=f"{rebuilt.contradicting} of {rebuilt.agreeing + rebuilt.contradicting} wrong",
            )
        )
    if lossless(spec) and not killed:
        result.checks.append(
            Check(
                name="every frame on the wire can be put together",
                passed=broken == 0,
                expected="all",
                measured=f"all but {broken} of {len(frames)}" if broken else f"{len(frames)} frames",
            )
        )
    if rebuilt.units and not spec.streams_pictures:
        _numbered(result, rebuilt.units)
    elif rebuilt.units and not dumped:
        _pictures(result, folder, spec, rebuilt.units, killed=killed)


def _numbered(result: CaseResult, units: Mapping[int, bytes]) -> None:
    """Hold each whole frame against what the synthetic source makes of its number, if FEC gave a part of it or not."""
    wrong = sum(not is_test_frame(number, unit) for number, unit in units.items())
    result.checks.append(
        Check(
            name="every whole frame has the bytes of its number",
            passed=wrong == 0,
            expected="0 wrong",
            measured=f"{wrong} of {len(units)} wrong",
        )
    )


def _pictures(
    result: CaseResult, folder: Path, spec: Session, units: Mapping[int, bytes], *, killed: bool
) -> None:
    """Decode what the client was sent, where it leaves no coded video of its own."""
    from harness.peers.pictures import read_pictures  # FFmpeg, which most cases have no need of

    path = folder / VIDEO_NAME
    path.write_bytes(b"".join(units.values()))
    found = read_pictures(path, spec.media.codec)
    sizes = ", then ".join(found.sizes) or "none"
    result.outside["wire"] |= {
        "pictures": f"{found.read} frames named, {found.missing} missing, {found.unreadable} unreadable",
        "picture size": sizes,
    }
    _add_evidence(result, PICTURES)
    markers = not spec.foreign.get("host") or spec.foreign["host"].markers
    if not markers or killed:
        return
    result.checks.append(
        Check(
            name="pictures on the wire can be decoded and their markers read",
            passed=found.read > 0 and not found.trouble,
            expected="pictures",
            measured=f"{found.read} of {found.decoded} pictures" + f"; {found.trouble}" * bool(found.trouble),
        )
    )
    wanted = f"{spec.media.mode.width}x{spec.media.mode.height}"
    if not any(event.mode for event in spec.events):
        result.checks.append(
            Check(
                name="pictures on the wire have the size that was asked for",
                passed=found.sizes == [wanted],
                expected=wanted,
                measured=sizes,
            )
        )
    if lossless(spec):
        result.checks.append(
            Check(
                name="every frame on the wire has its picture",
                passed=found.missing == 0 and found.unreadable == 0,
                expected="0 missing, 0 unreadable",
                measured=f"{found.missing} missing, {found.unreadable} unreadable",
            )
        )


def _add_evidence(result: CaseResult, what: str) -> None:
    result.outside.setdefault("evidence", []).append(what)
