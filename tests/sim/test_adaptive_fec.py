"""Adaptive FEC over simulated links: it may add to what was asked for, and never makes lost frames of repaired ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from punktfunk.core import simulate
from punktfunk.host.stream.adaptive_fec import AdaptiveFec

FRAMES = 600
REPORT_FRAMES = 45
"""Between two loss reports: 750 ms at 60 frames a second."""
ASKED_PERCENT = 20
LOST_FRAME_PPM = 50_000
SEEDS = range(4)


class Run:
    """600 frames of 64 KiB over one link, in stretches of one loss report each."""

    def __init__(self, loss: float, seed: int, fec: AdaptiveFec | None) -> None:
        self.lost_frames = 0
        self.percents: list[int] = []
        percent, sent = ASKED_PERCENT, 0
        for first in range(0, FRAMES, REPORT_FRAMES):
            self.percents.append(percent)
            ledger = _stretch(loss, seed * 1000 + first, min(REPORT_FRAMES, FRAMES - first), percent)
            lost = ledger["frames"]["submitted"] - ledger["frames"]["intact"]
            self.lost_frames += lost
            # The percentage of a stretch changes nothing about the link's draws but their number.
            sent += ledger["host"]["packets_sent"]
            if fec is not None:
                percent = fec.follow(_loss_report_ppm(ledger["client"], lost), sent)


def _stretch(loss: float, seed: int, frames: int, percent: int) -> dict[str, Any]:
    result = simulate(
        json.dumps(
            {
                "stream": {"fec_percent": percent, "shard_bytes": 1408},
                "link": {"loss": {"kind": "independent", "p": loss}},
                "frames": frames,
                "frame_bytes": {"kind": "constant", "bytes": 65_536},
                "seed": seed,
                "records": False,
            }
        )
    )
    ledger: dict[str, Any] = json.loads(result.ledger_json)
    return ledger


def _loss_report_ppm(client: dict[str, int], lost_frames: int) -> int:
    """Return what the client reports of a stretch (punktfunk/1 section 2.4)."""
    recovered = client["data_shards_recovered"]
    share = recovered * 1_000_000 // (client["packets_received"] + recovered)
    return share + (LOST_FRAME_PPM if lost_frames else 0)


@pytest.mark.parametrize("floor", [ASKED_PERCENT, 1], ids=["as asked for", "--fec-min 1"])
@pytest.mark.parametrize("loss", [0.02, 0.05, 0.08])
def test_adaptive_fec_loses_no_more_frames_than_the_percentage_that_was_asked_for(
    loss: float, floor: int
) -> None:
    for seed in SEEDS:
        fixed = Run(loss, seed, None)
        adaptive = Run(loss, seed, AdaptiveFec(ASKED_PERCENT, floor))
        told = f"loss {loss}, seed {seed}: {adaptive.percents}"
        assert adaptive.lost_frames <= fixed.lost_frames, told
        assert min(adaptive.percents) >= ASKED_PERCENT, told


def test_a_clean_link_gets_down_to_the_floor_that_was_named() -> None:
    calm = Run(0.0, 0, AdaptiveFec(ASKED_PERCENT, 8))
    assert (calm.percents[0], calm.percents[-1], calm.lost_frames) == (ASKED_PERCENT, 8, 0)


def test_heavy_loss_is_answered_above_the_floor_and_saves_frames() -> None:
    fixed = sum(Run(0.14, seed, None).lost_frames for seed in SEEDS)
    adaptive = sum(Run(0.14, seed, AdaptiveFec(ASKED_PERCENT, ASKED_PERCENT)).lost_frames for seed in SEEDS)
    assert adaptive < 0.8 * fixed, (adaptive, fixed)
