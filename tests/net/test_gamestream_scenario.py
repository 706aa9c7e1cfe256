"""GameStream as the wire of a live case: this project's host and client over a lossy link, judged like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.analysis import records
from harness.analysis.results import CaseResult, Status
from harness.run.case import run_case
from harness.run.context import RunContext
from harness.scenario.expand import expand
from tests.support.proven import once_proven

pytestmark = [pytest.mark.root, pytest.mark.timeout(200)]

SCENARIO = """\
protocol: gamestream
media: {source: testcard, mode: 480x96@60, duration: 2 s, bitrate: 2 Mbit/s}
link: {backend: tun, down: {loss: 5 %}}
"""


@pytest.mark.conformance(53)
def test_a_lossy_case_is_streamed_whole_or_explained_and_its_ledger_balances(tmp_path: Path) -> None:
    file = tmp_path / "moonlight.yaml"
    file.write_text(SCENARIO, encoding="utf-8")
    [case] = expand(file).cases
    place = Path()

    def run(folder: Path) -> CaseResult:
        nonlocal place
        place = folder
        return run_case(case, folder, RunContext(run_id="moonlight"))

    result = once_proven(run, lambda result: result.reason, tmp_path)
    assert result.status is Status.PASSED, result.reason
    assert result.protocol == "gamestream"
    ledger = result.ledgers["host_to_client"]
    assert not any(ledger.balances.values())
    # Sound, control and RTSP run over the same link; they are none of the stream's packets.
    assert ledger.counts["other_in"] > 0
    metric = {name: found.value for name, found in result.metrics.items()}
    assert metric["frames_submitted"] == 120
    frames, _ = records.read(place / "frames.parquet")
    pictures = frames["strip_frame"][frames["strip_frame"] >= 0]
    # A client that gets no time for its socket or its decoder says how much it missed.
    assert len(pictures) >= 60 or ledger.counts["kernel_dropped"] + (metric["frames_decoder_late"] or 0) > 0
    # The picture that an access unit became is that which the host coded: frames count from 1, pictures from 0.
    assert np.array_equal(pictures, frames["index"][frames["strip_frame"] >= 0] - 1)
    assert metric["strip_agreement"] == 1
