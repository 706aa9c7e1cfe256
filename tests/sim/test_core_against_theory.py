"""The whole core (packets, codecs, sessions, link model) recovers exactly as often as theory says, on either wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.analysis import agreement, ledger, records, theory
from harness.analysis.code import Code
from harness.analysis.results import CaseResult, Check, Status
from punktfunk.core import _core

SEEDS = {"independent": 20, "bursty": 200}


def simulated(wire: str, pattern: str, fec: int, loss: float, sabotage: str | None) -> CaseResult:
    """Pool the seeds of one cell and hold it against theory; a wire is a scheme of punktfunk/1, or GameStream."""
    chain = theory.bursty(loss, 5)
    spec = (
        {"kind": "gilbert_elliott", "p": chain.p, "r": chain.r}
        if pattern == "bursty"
        else {"kind": "independent", "p": loss}
    )
    sizes, complete = [], 0
    if wire == "gamestream":
        # Small packets, so that few bytes make a frame of two blocks; the other is of one packet.
        stream, frame_bytes = {"gamestream": {"packet_size": 128, "fec_percent": fec}}, [30_000, 100]
        code = Code.gamestream(128, fec)
    else:
        stream = {"stream": {"scheme": wire, "fec_percent": fec, "max_block_shards": 16}}
        frame_bytes, code = [30_000, 10_000], Code(1200, 16, fec)
    for seed in range(SEEDS[pattern]):
        result = _core.simulate(
            json.dumps(
                stream
                | {
                    "link": {"loss": spec, "delay_us": 3000.0},
                    "seed": seed * 7919 + 13,
                    "frames": 20,
                    "frame_bytes": {"kind": "list", "bytes": frame_bytes},
                    "rate_kbps": 20_000,
                    "sabotage": sabotage,
                }
            )
        )
        counts: dict[str, Any] = json.loads(result.ledger_json)
        found = ledger.balances(counts["host"], counts["link"], counts["client"])
        assert found.balanced, found.balances
        assert counts["frames"]["corrupt"] == 0
        sizes.append(agreement.sent_bytes(records.join(*records.split_sim(result.records()))))
        complete += counts["client"]["frames_complete"]
    case = CaseResult(
        id=f"{wire},{pattern},{fec},{loss}",
        scenario="s",
        seed=1,
        protocol="punktfunk/1",
        backend="sim",
        status=Status.PASSED,
    )
    case.theory = agreement.case_theory(sizes, complete, {"loss": spec}, code)
    return case


def sweep(wire: str, pattern: str, sabotage: str | None = None) -> Check:
    cells = [simulated(wire, pattern, fec, loss, sabotage) for fec in (15, 30) for loss in (0.03, 0.08, 0.15)]
    check = agreement.sweep_check(cells)
    assert check is not None
    return check


@pytest.mark.parametrize("pattern", ["independent", "bursty"])
@pytest.mark.parametrize("wire", ["gf8", "gf16", "gamestream"])
def test_frames_of_several_blocks_are_recovered_as_often_as_they_must(wire: str, pattern: str) -> None:
    check = sweep(wire, pattern)
    assert check.passed, check.detail


@pytest.mark.parametrize("pattern", ["independent", "bursty"])
def test_a_core_that_makes_one_recovery_shard_too_few_is_caught(pattern: str) -> None:
    check = sweep("gf16", pattern, sabotage="one_recovery_short")
    assert not check.passed
    assert "above 0.9999" in check.detail


def test_theory_cuts_frames_for_gamestream_as_the_core_does() -> None:
    for frame_bytes in (0, 1, 1368, 1369, 212 * 1376 - 8, 212 * 1376 - 7, 849 * 1376, 4092 * 1376 - 8):
        for percent in (0, 1, 20, 50, 100, 255):
            config = _core.GameStreamConfig(packet_size=1392, fec_percent=percent)
            assert list(Code.gamestream(1392, percent).blocks(frame_bytes)) == _core.geometry(
                config, frame_bytes
            )
