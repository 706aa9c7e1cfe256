"""Judge a path: what it carries, what it does to packets, and which settings follow from that, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from punktfunk.client.path_figures import BurstFigures, LossPattern, frame_loss
from punktfunk.core._core import recovery_shards

HEADROOM = 0.8
"""Share of the capacity to use: key frames and other traffic need the rest, and a queue never fills."""
FEC_CHOICES = (5, 10, 15, 20, 25, 30, 40, 50)
BEARABLE_FRAME_LOSS = 1e-3
"""Frames that may be lost: one in 1000 is a key frame every 17 s at 60 frames per second."""
_MIN_KBPS = 500
_DELIVERED_SHARE = 0.93
_QUEUE_MS = 20.0
"""A delay that grows by this within one burst is a queue that fills."""
_EXTRA_LOSS = 0.04

LimitedBy = Literal["path", "host", "client", "limit"]


@dataclass(frozen=True, slots=True)
class PathShape:
    """How packets of this session are built. Sizes in bytes; ``fps`` is of the video to judge for."""

    packet_bytes: int
    shard_bytes: int
    fps: int = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a path is good for. ``capacity_kbps`` is of IP packets and, unless ``limited_by`` is path, a lower bound."""

    capacity_kbps: int
    limited_by: LimitedBy
    loss: float
    mean_loss_run: float
    longest_loss_run: int
    bursty: bool
    reordered: float
    delay_p50_ms: float | None
    delay_p99_ms: float | None
    queue_ms: float | None
    """Delay that a full queue of the path adds; None where none was filled."""
    bitrate_kbps: int
    fec_percent: int
    frame_loss: float
    """Expected share of frames that FEC at ``fec_percent`` does not save."""
    sentences: tuple[str, ...]


def saturated(figures: BurstFigures, base_loss: float) -> bool:
    """Return whether a burst met the capacity of the path: less came, or it queued."""
    if figures.loss > base_loss + _EXTRA_LOSS:
        return True
    if figures.delivered_kbps < figures.offered_kbps * (1 - base_loss) * _DELIVERED_SHARE:
        return True
    if figures.delay_ms is None:
        return not figures.packets_received
    return figures.delay_ms[2] - figures.delay_ms[0] > _QUEUE_MS and figures.delay_ms[1] > _QUEUE_MS


def held_back(figures: BurstFigures, wanted_kbps: float) -> bool:
    """Return whether the host sent clearly less than it was asked for."""
    return figures.offered_kbps < wanted_kbps * 0.85


def choose_fec(pattern: LossPattern, shape: PathShape, video_wire_kbps: int) -> tuple[int, float]:
    """Return the least percentage that makes frame loss bearable (or the largest), and the loss it leaves."""
    percent, left = FEC_CHOICES[-1], 1.0
    for percent in FEC_CHOICES:
        data = max(
            1, math.ceil(_payload_kbps(video_wire_kbps, percent, shape) * 125 / shape.fps / shape.shard_bytes)
        )
        spare = recovery_shards(data, percent)
        left = frame_loss(data + spare, spare, pattern.share, pattern.mean_run)
        if left <= BEARABLE_FRAME_LOSS:
            break
    return percent, left


def judge(
    shape: PathShape,
    *,
    capacity_kbps: int,
    limited_by: LimitedBy,
    hold: BurstFigures,
    pattern: LossPattern,
    bursts: Sequence[BurstFigures],
) -> Verdict:
    """Weigh what was measured: ``hold`` is the burst below capacity, ``pattern`` the loss packet by packet."""
    usable = capacity_kbps * HEADROOM
    percent, left = choose_fec(pattern, shape, round(usable))
    bitrate = _round_down(max(_payload_kbps(usable, percent, shape), _MIN_KBPS))
    loss = max(hold.loss, pattern.share)
    full = [f.delay_ms[2] for f in bursts if f.delay_ms is not None and saturated(f, loss)]
    queue_ms = max(full) if full and limited_by == "path" else None
    reordered = hold.packets_reordered / hold.packets_received if hold.packets_received else 0.0
    verdict = Verdict(
        capacity_kbps=capacity_kbps,
        limited_by=limited_by,
        loss=loss,
        mean_loss_run=pattern.mean_run,
        longest_loss_run=pattern.longest,
        bursty=pattern.bursty,
        reordered=reordered,
        delay_p50_ms=None if hold.delay_ms is None else hold.delay_ms[0],
        delay_p99_ms=None if hold.delay_ms is None else hold.delay_ms[1],
        queue_ms=queue_ms,
        bitrate_kbps=bitrate,
        fec_percent=percent,
        frame_loss=left,
        sentences=(),
    )
    return _with_sentences(verdict, hold, pattern)


def _payload_kbps(wire_kbps: float, fec_percent: int, shape: PathShape) -> int:
    return int(wire_kbps * shape.shard_bytes / shape.packet_bytes * 100 / (100 + fec_percent))


def _round_down(kbps: int) -> int:
    """Keep two digits: a recommendation of 61 934 kbit/s pretends to know too much."""
    unit = int(10 ** max(len(str(kbps)) - 2, 0))
    return kbps // unit * unit


def rate(kbps: float) -> str:
    """Write a rate as flags take it."""
    if kbps >= 999_500:
        return f"{kbps / 1e6:.3g} Gbit/s"
    return f"{kbps / 1000:.3g} Mbit/s" if kbps >= 999.5 else f"{kbps:.0f} kbit/s"


def _with_sentences(verdict: Verdict, hold: BurstFigures, pattern: LossPattern) -> Verdict:
    video = rate(verdict.bitrate_kbps)
    lines = [
        f"this path carries {video} of video with {verdict.fec_percent} % FEC; "
        f"recommended: --bitrate '{video}' --fec {verdict.fec_percent}",
        _capacity_sentence(verdict),
        _loss_sentence(verdict, hold, pattern),
    ]
    if verdict.frame_loss > BEARABLE_FRAME_LOSS:
        lines.append(
            f"even so about {100 * verdict.frame_loss:.2g} % of the frames will be lost: "
            "expect freezes until a key frame comes"
        )
    if verdict.reordered > 0:
        lines.append(
            f"the path reorders {100 * verdict.reordered:.2g} % of its packets; "
            "that costs waiting time, not pictures"
        )
    else:
        lines.append("packets arrive in the order they were sent in")
    if verdict.queue_ms is not None and verdict.queue_ms > _QUEUE_MS:
        lines.append(
            f"its queue adds up to {verdict.queue_ms:.0f} ms when it is full: stay below the capacity"
        )
    return replace(verdict, sentences=tuple(lines))


def _capacity_sentence(verdict: Verdict) -> str:
    shown = rate(verdict.capacity_kbps)
    return {
        "path": f"capacity {shown} of IP packets",
        "host": f"capacity at least {shown}: the host could not send more than that",
        "client": f"capacity at least {shown}: this machine dropped packets on receipt beyond it",
        "limit": f"capacity at least {shown}: nothing beyond was tried (--limit)",
    }[verdict.limited_by]


def _loss_sentence(verdict: Verdict, hold: BurstFigures, pattern: LossPattern) -> str:
    if not pattern.lost and verdict.loss == 0:
        return f"no loss in {hold.packets_sent + pattern.packets} packets below capacity"
    share = f"{100 * verdict.loss:.2g} %"
    if verdict.bursty:
        return (
            f"loss in bursts: {share} of the packets, {pattern.mean_run:.1f} in a row on average, "
            f"{pattern.longest} at most"
        )
    return f"scattered loss: {share} of the packets, at most {pattern.longest} in a row"
